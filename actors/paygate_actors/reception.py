"""What happens to a webhook before it is an event: whose it is, who signed it, what it says.

The checks come in one order: unknown provider, keys to verify with, signature, body, account. An
adapter may be somebody else's code: whatever it raises over hostile bytes is a refusal, and never
an error of ours. What was not signed leaves nothing behind, and costs no disk.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import structlog

from paygate_actors.guarding import guarded
from paygate_actors.homecoming import Homecoming
from paygate_actors.inbox import Inbox
from paygate_actors.key_names import KeyNames
from paygate_actors.messages import Refusal
from paygate_actors.provider_desk import Desk, ProviderDesk
from paygate_actors.providers.base import (
    EVENTS_A_BODY_MAX,
    AnotherAccount,
    BodyInvalid,
    KeyFetchingProvider,
    KeysUnavailable,
    ProviderEvent,
    SignatureInvalid,
)
from paygate_actors.raw_webhooks import raw_webhook
from paygate_engine.journal import Journal
from paygate_engine.stores.base import AuditEntry, Unit
from paygate_engine.system import ActorSystem

# A certificate is one small file; a provider waits some ten seconds for our 200.
FETCH_S: Final = 5.0
# Webhooks whose keys are being looked for at once, each with its body: 16 MB. Adapters bound those
# that name what nobody knows far below this, so that these never shut out the others.
FETCHES_MAX: Final = 256

_NOT_SIGNED: Final = Refusal(code="signature_invalid", detail="Not signed by this provider.")
_UNREADABLE: Final = Refusal(code="malformed_body", detail="The event cannot be read.")
_ANOTHER: Final = Refusal(
    code="another_account", detail="The event is not about the account that is configured here."
)
_NO_KEYS: Final = Refusal(
    code="provider_silent",
    detail="What the signature is checked with could not be fetched; nothing was done.",
    retry_after_s=30,
)
_NOBODY: Final = Refusal(code="provider_not_found", detail="No such provider.")
_FULL: Final = Refusal(
    code="overloaded", detail="Too many events are on their way; nothing was done.", retry_after_s=1
)

_log = structlog.get_logger("paygate.webhooks")


class Reception:
    """Takes webhooks in. `refused` counts refusals by provider and code, for the metrics page.

    `homecoming` takes in what payers bring back, for the providers that must be told of it.
    """

    def __init__(
        self,
        *,
        system: ActorSystem,
        desk: ProviderDesk,
        journal: Journal,
        inbox: Inbox,
        key_names: KeyNames,
        oldest_message_s_max: float,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._system = system
        self._desk = desk
        self._journal = journal
        self._inbox = inbox
        self._key_names = key_names
        self._oldest_message_s_max = oldest_message_s_max
        self._fetches = 0
        self.homecoming = Homecoming(desk=desk, inbox=inbox, may_act=may_act)
        self.refused: Counter[tuple[str, str]] = Counter()

    def admits(self, provider_id: str) -> Refusal | None:
        """None where an event would find a place; asked before its body is read.

        There is none either while payments are behind with what they were told already.
        """
        behind = self._system.oldest_wait_s() > self._oldest_message_s_max
        if not (behind or self._inbox.full):
            return None
        if self._desk.get(provider_id) is not None:  # names that anybody makes up are not counted
            self.refused[provider_id, _FULL.code] += 1
        return _FULL

    def reply(self, provider_id: str) -> str:
        """The body of the 200 that this provider wants; empty: it wants none of its own."""
        desk = self._desk.get(provider_id)
        return "" if desk is None else desk.adapter.capabilities.webhook_reply

    async def receive(
        self, provider_id: str, headers: Mapping[str, str], body: bytes
    ) -> Refusal | None:
        """Take the events of a webhook in; None once all of them are durable."""
        desk = self._desk.get(provider_id)
        if desk is None:
            return _NOBODY
        refusal = await self._received(desk, headers, body)
        if refusal is not None:
            self.refused[provider_id, refusal.code] += 1
        return refusal

    async def _received(
        self, desk: Desk, headers: Mapping[str, str], body: bytes
    ) -> Refusal | None:
        refusal = await self._verified(desk, headers, body)
        if refusal is not None:
            return refusal
        verified_us = self._system.clock.now_us()
        provider_id = desk.config.id
        try:
            events = _parsed(desk, headers, body)
        except AnotherAccount:
            return await self._another_account(provider_id)
        except BodyInvalid as error:
            # The name alone: the text of a decoding error may quote what came.
            why = type(error.__cause__ or error).__name__
            _log.warning("webhook_unreadable", provider=provider_id, error=why)
            return _UNREADABLE
        raw = raw_webhook(provider_id, headers, body, read=events, verified_us=verified_us)
        taken = await guarded(self._inbox.take(provider_id, events, raw))
        if isinstance(taken, Refusal):
            return taken
        await self._key_names.keep(desk)
        return None

    async def _verified(
        self, desk: Desk, headers: Mapping[str, str], body: bytes
    ) -> Refusal | None:
        adapter = desk.adapter
        try:
            if adapter.capabilities.fetches_keys:
                await self._fetch(cast("KeyFetchingProvider", adapter), headers)
            adapter.verify(headers, body, now_us=self._system.clock.now_us())
        except SignatureInvalid:
            return _NOT_SIGNED
        except (KeysUnavailable, TimeoutError):
            _log.error("webhook_keys_unavailable", provider=desk.config.id)
            return _NO_KEYS
        except Exception as error:  # noqa: BLE001 - see the module: an adapter may be a stranger's
            _log.error("webhook_not_verified", provider=desk.config.id, error=type(error).__name__)
            return _NOT_SIGNED
        return None

    async def _fetch(self, adapter: KeyFetchingProvider, headers: Mapping[str, str]) -> None:
        if self._fetches >= FETCHES_MAX:
            raise KeysUnavailable("too many fetches are under way")
        self._fetches += 1
        try:
            async with asyncio.timeout(FETCH_S):
                await adapter.fetch_keys(headers)
        finally:
            self._fetches -= 1

    async def _another_account(self, provider_id: str) -> Refusal:
        # Signed by the provider, so somebody set a webhook up for the wrong account, or shares a
        # secret among several: a person must look, and the audit must show it.
        _log.critical("webhook_of_another_account", provider=provider_id)
        entry = AuditEntry(
            at_us=self._system.clock.now_us(),
            who=f"provider:{provider_id}",
            what="refused event of another account",
            stream=provider_id,
        )
        noted: Any = await guarded(self._journal.append_wait(Unit(audit=(entry,))))
        return noted if isinstance(noted, Refusal) else _ANOTHER


def _parsed(desk: Desk, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
    """The events. Raises `BodyInvalid`, and `AnotherAccount`."""
    try:
        events = desk.adapter.parse(headers, body)
    except BodyInvalid:
        raise
    except Exception as error:
        raise BodyInvalid(f"the adapter failed with {type(error).__name__}") from error
    if len(events) > EVENTS_A_BODY_MAX:
        raise BodyInvalid(f"more than {EVENTS_A_BODY_MAX} events in one body")
    return events
