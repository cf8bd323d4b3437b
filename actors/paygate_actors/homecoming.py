"""Payers who come back from a provider's page, for the providers that must be told of it.

Anybody on the internet can open the door: an adapter lets only those through whom it sent away,
and so many at a time as a person's patience allows. What comes of it goes the way of webhooks.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, cast

import structlog

from paygate_actors.guarding import guarded
from paygate_actors.inbox import Inbox
from paygate_actors.messages import Refusal
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.providers.base import Returned, ReturningProvider, SignatureInvalid
from paygate_actors.providers.last_look import only_while

# Payers of one provider who stand at the door now; a flood of them is no payers. It is refused
# (503) and not sent on with a kind word: whoever is one must come again for their payment's sake.
WAITING_MAX: Final = 256

# An operator who takes a provider off for a while is not done within seconds.
OFF_RETRY_S: Final = 60

_NOBODY: Final = Refusal(code="provider_not_found", detail="No such provider.")
_STRANGER: Final = Refusal(code="signature_invalid", detail="This address was not written here.")
_FULL: Final = Refusal(
    code="overloaded", detail="Too many come back at once; open the page again.", retry_after_s=1
)

_OFF: Final = Refusal(
    code="provider_silent",
    detail="Nothing is sent to this provider at present; open the page again later.",
    retry_after_s=OFF_RETRY_S,
)

_log = structlog.get_logger("paygate.homecoming")


class Homecoming:
    """The door. Where a provider needs not be told, it is a page with a kind word.

    A provider is told only while `may_act` says yes: that may move money.
    """

    def __init__(
        self, *, desk: ProviderDesk, inbox: Inbox, may_act: Callable[[], bool] = lambda: True
    ) -> None:
        self._desk = desk
        self._inbox = inbox
        self._may_act = may_act
        self._waiting: Counter[str] = Counter()

    async def receive(self, provider_id: str, query: Mapping[str, str]) -> str | Refusal:
        """Tell the provider; where the payer goes on to, empty: nowhere."""
        desk = self._desk.get(provider_id)
        if desk is None:
            return _NOBODY
        if not desk.adapter.capabilities.returns:
            return ""
        if not desk.is_active:
            return _OFF
        if self._waiting[provider_id] >= WAITING_MAX:
            return _FULL
        self._waiting[provider_id] += 1
        try:
            async with asyncio.timeout(desk.adapter.capabilities.deadline_s):
                with only_while(self._may_act):
                    back = await cast("ReturningProvider", desk.adapter).returned(query)
        except SignatureInvalid:
            return _STRANGER
        except TimeoutError:
            # The payment is as open as it was: the webhook tells, or its time runs out.
            back = Returned()
        except Exception as error:  # noqa: BLE001 - an adapter may be a stranger's
            _log.error("payer_not_understood", provider=provider_id, error=type(error).__name__)
            return _STRANGER
        finally:
            self._waiting[provider_id] -= 1
        if back.events:
            taken = await guarded(self._inbox.take(provider_id, back.events))
            if isinstance(taken, Refusal):
                _log.warning("payer_s_news_not_stored", provider=provider_id, code=taken.code)
        return back.url or ""
