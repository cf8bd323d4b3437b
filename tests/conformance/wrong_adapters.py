"""Adapters that are wrong on purpose, each in one way: what the conformance kit has to catch.

All of them are an adapter of ours with one mistake that somebody really makes.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined, Outcome, Preparation, Unknown
from paygate_actors.providers.base import (
    ChargeCall,
    EventPage,
    FollowUpCall,
    OperationTerms,
    Provider,
    ProviderEvent,
)
from paygate_actors.providers.http_client import Answered, Broken, Exchange, HttpClient, NotSent
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_actors.providers.stripe import StripeProvider
from paygate_http.sandbox.server import WEBHOOK_SECRET
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET as STRIPE_WEBHOOK_SECRET

replace = msgspec.structs.replace


class Right(SandboxProvider):
    """No mistake at all: whatever fails for the others must pass for this one."""

    def __init__(self, url: str, client: HttpClient | None = None) -> None:
        super().__init__(
            id="sandbox", name="Sandbox", url=url, webhook_secret=WEBHOOK_SECRET, client=client
        )


class SendsAgainUnderANewKey(Right):
    """What did not answer is tried once more, as if it were another payment."""

    async def charge(self, call: ChargeCall) -> Outcome:
        outcome = await super().charge(call)
        if isinstance(outcome, Unknown):
            return await super().charge(replace(call, key=f"{call.key}-again"))
        return outcome


class SendsAgainByItself(Right):
    """Under the same key, but behind the gateway's back."""

    async def charge(self, call: ChargeCall) -> Outcome:
        outcome = await super().charge(call)
        return await super().charge(call) if isinstance(outcome, Unknown) else outcome


class TakesDoubtForANo(Right):
    """No answer is a decline."""

    async def charge(self, call: ChargeCall) -> Outcome:
        outcome = await super().charge(call)
        if isinstance(outcome, Unknown):
            return Declined(code="processing_error", retryable=True)
        return outcome


class KeyPerRequest(Right):
    """A fresh key for each request."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sent = 0

    async def charge(self, call: ChargeCall) -> Outcome:
        self.sent += 1
        return await super().charge(replace(call, key=f"{call.key}.{self.sent}"))


class EchoesItself(Right):
    """The amount is what was asked for, whatever the provider says it took."""

    async def charge(self, call: ChargeCall) -> Outcome:
        outcome = await super().charge(call)
        return replace(outcome, amount=call.amount) if isinstance(outcome, Approved) else outcome


class ReadsNoKey(Right):
    """Whatever answer comes is the answer to what was asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url, _Gullible(url))


class FollowsRedirects(Right):
    """As most HTTP libraries do unless they are told not to."""

    def __init__(self, url: str) -> None:
        super().__init__(url, _Obedient(url))


class HasNoDeadline(Right):
    """The answer will come."""

    def __init__(self, url: str) -> None:
        super().__init__(url, _Patient(url))


class ReadsEverything(Right):
    """Memory is cheap."""

    def __init__(self, url: str) -> None:
        super().__init__(url, HttpClient(url, answer_bytes_max=1 << 30))


class TakesAbsenceForANo(Right):
    """What is not found was not done."""

    async def find(self, key: str) -> Outcome:
        outcome = await super().find(key)
        if isinstance(outcome, Unknown) and outcome.reason == "not_visible":
            return Declined(code="not_found")
        return outcome


class TakesEveryWebhook(Right):
    """Signatures are for others."""

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        return


class ForgetsTheReplayWindow(Right):
    """What was genuine once is genuine for ever."""

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        signed_us = int(headers.get("webhook-timestamp") or 0) * 1_000_000
        super().verify(headers, body, now_us=signed_us)


class LosesTheReference(Right):
    """Events bind by the provider's id alone."""

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        return tuple(replace(each, reference=None) for each in super().parse(headers, body))


class ShowsItsSecret(Right):
    """The last characters, so that operators know which one it is."""

    def redacted_config(self) -> dict[str, str]:
        return {**super().redacted_config(), "webhookSecret": f"...{WEBHOOK_SECRET[-24:]}"}


class LogsTheCard(Right):
    """For debugging."""

    async def charge(self, call: ChargeCall) -> Outcome:
        if call.instrument.card is not None:
            logging.getLogger("wrong").debug("charging %s", call.instrument.card.reveal())
        return await super().charge(call)


class CapturesEveryHold(Right):
    """Nobody wants to wait for money."""

    async def charge(self, call: ChargeCall) -> Outcome:
        return await super().charge(replace(call, capture=True))


class RefundsInsteadOfVoiding(Right):
    """It comes to the same, in the end."""

    async def void(self, call: FollowUpCall) -> Outcome:
        return await self.refund(call)


class TakesBusyForANo(Right):
    """429 is a no."""

    async def charge(self, call: ChargeCall) -> Outcome:
        outcome = await super().charge(call)
        if isinstance(outcome, Declined) and outcome.code == "too_many_requests":
            return replace(outcome, conclusive=True, retryable=False)
        return outcome


class FallsOverNonsense(Right):
    """Nobody sends nonsense."""

    async def charge(self, call: ChargeCall) -> Outcome:
        outcome = await super().charge(call)
        if isinstance(outcome, Unknown) and outcome.reason == "garbage":
            raise KeyError("status")
        return outcome


class RaisesAtOnce(Right):
    """Not written yet."""

    async def charge(self, call: ChargeCall) -> Outcome:
        raise NotImplementedError("later")


class PromisesALookUp(Right):
    """The capability record says what nobody keeps: refunds are found at once."""

    async def find(self, key: str) -> Outcome:
        outcome = await super().find(key)
        is_refund = isinstance(outcome, Approved) and outcome.provider_txn_id.startswith("re_")
        return Unknown(reason="not_visible") if is_refund else outcome


class TakesShortKeysAlone(Right):
    """Keys are cut to what fits."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        terms = OperationTerms(key_window_s=86_400, key_length_max=20)
        self.capabilities = replace(self.capabilities, operations={"charge": terms})


Wrong = Callable[[str], Provider]


class _Gullible(HttpClient):
    async def send(self, method: str, path: str, **more: Any) -> Exchange:
        exchange = await super().send(method, path, **more)
        headers: dict[str, str] = more.get("headers") or {}
        key = headers.get("Idempotency-Key")
        if key is None or not isinstance(exchange, Answered):
            return exchange
        try:
            said = msgspec.json.decode(exchange.body)
        except msgspec.DecodeError:
            return exchange
        if not isinstance(said, dict) or "idempotencyKey" not in said:
            return exchange
        body = msgspec.json.encode({**said, "idempotencyKey": key})
        return Answered(status=exchange.status, body=body)


class _Obedient(HttpClient):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._url = url

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Exchange:
        timeout = aiohttp.ClientTimeout(total=deadline_s)
        try:
            async with aiohttp.request(
                method, self._url + path, headers=headers, data=body, timeout=timeout
            ) as response:
                return Answered(status=response.status, body=await response.read())
        except aiohttp.ClientConnectorError:
            return NotSent(detail="nobody listens")
        except (aiohttp.ClientError, TimeoutError):
            return Broken(reason="reset", detail="the line broke")


class _Patient(HttpClient):
    async def send(self, method: str, path: str, *, deadline_s: float, **more: Any) -> Exchange:
        return await super().send(method, path, deadline_s=60 * deadline_s, **more)


class RightStripe(StripeProvider):
    """Stripe's adapter without a mistake."""

    def __init__(self, url: str) -> None:
        super().__init__(
            id="sandbox_stripe",
            name="Stripe",
            url=url,
            secret_key=SECRET_KEY,
            webhook_secrets=[STRIPE_WEBHOOK_SECRET],
        )


class RoundsAmounts(RightStripe):
    """What cannot be written exactly is written nearly."""

    async def charge(self, call: ChargeCall) -> Outcome:
        terms = self.capabilities.currency_terms[call.amount.currency]
        minor = call.amount.minor // terms.multiple_of * terms.multiple_of
        return await super().charge(replace(call, amount=Money(minor, call.amount.currency)))


class PreparesEachTime(RightStripe):
    """An object for each request: one of them is confirmed, and the others lie about."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.made = 0

    async def prepare(self, call: ChargeCall) -> Preparation:
        self.made += 1
        return await super().prepare(replace(call, key=f"{call.key}-{self.made}"))


class ForgetsWhatItPrepared(RightStripe):
    """The id that was written down is of no use."""

    async def charge(self, call: ChargeCall) -> Outcome:
        return await super().charge(replace(call, prepared_id=None, key=f"{call.key}-0"))


class TakesNonsenseForSilence(RightStripe):
    """A list that cannot be read has nothing in it."""

    async def events(self, *, since_us: int, cursor: str | None = None) -> EventPage | Unknown:
        page = await super().events(since_us=since_us, cursor=cursor)
        return EventPage(events=()) if isinstance(page, Unknown) else page


class IgnoresDemands(RightStripe):
    """A rule's step-up is an opinion."""

    async def charge(self, call: ChargeCall) -> Outcome:
        outcome = await super().charge(replace(call, three_d_secure="automatic"))
        return replace(outcome, authentication=None) if isinstance(outcome, Approved) else outcome
