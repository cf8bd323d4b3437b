"""The adapter of the sandbox provider: one verb, one HTTP request, one `Outcome`.

It treats the sandbox as it would treat a stranger: nothing that comes back is taken for what it
should be before it was checked, and what cannot be understood is `Unknown`.
"""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from paygate_actors.money import Money
from paygate_actors.outcomes import ActionRequired, Approved, Declined, Outcome, Pending, Unknown
from paygate_actors.providers.base import (
    BodyInvalid,
    Capabilities,
    ChargeCall,
    FollowUpCall,
    ProviderEvent,
)
from paygate_actors.providers.failed_lookup import failed_lookup
from paygate_actors.providers.http_client import (
    CONNECTIONS_MAX,
    Answered,
    Broken,
    Exchange,
    HttpClient,
    NotSent,
)
from paygate_actors.providers.intelligible import Unintelligible, intelligible
from paygate_actors.providers.retry_after import paused
from paygate_actors.providers.sandbox_wire import (
    Answer,
    Finding,
    NextAction,
    Verb,
    charge_body,
    decode_answer,
    decode_finding,
    decode_trouble,
    follow_up_body,
    microseconds,
    read_event,
)
from paygate_actors.providers.webhook_signature import WebhookSignature

DEADLINE_S: Final = 2.0

_OK: Final = 200
_DECLINED: Final = 402
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500

# Another provider may succeed: the fault was between this one and the issuer.
_RETRYABLE: Final = frozenset({"processing_error", "api_error"})
# Refused unlooked at: this request did nothing, an earlier one under the same key may have.
_UNLOOKED_AT: Final = frozenset({"invalid_request", "idempotency_key_missing", "not_found"})
_KNOWN_EVENTS: Final = frozenset(
    {
        "payment.succeeded",
        "payment.failed",
        "payment.cancelled",
        "payment.authorized",
        "refund.succeeded",
        "refund.failed",
        "dispute.opened",
        "dispute.closed",
    }
)
_MESSAGE_CHARS_MAX: Final = 200


class SandboxProvider:
    """One account of a sandbox at `url`. Raises `ValueError` for an unusable url or secret.

    `client` is the way there: a simulator's, or by default its own.
    """

    kind = "sandbox"

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the protocol's own name for it
        name: str,
        url: str,
        webhook_secret: str,
        void_window_s: float = 86_400,
        connections_max: int = CONNECTIONS_MAX,
        client: HttpClient | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a provider's url must be http://HOST[:PORT] or https://HOST[:PORT]")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a provider's url must not carry a password: operators may see it")
        self.id = id
        self.name = name
        self.capabilities = Capabilities(
            deadline_s=DEADLINE_S,
            key_window_s=24 * 3_600,
            find_lag_s=2.0,
            ask_first_s=0.5,
            ask_max_s=5.0,
            asks_per_s=500.0,
            void_window_s=void_window_s,
            provider_tokens=True,
        )
        self._url = url.rstrip("/")
        self._path = f"/providers/{quote(id, safe='')}"
        self._signature = WebhookSignature(webhook_secret)
        self._client = client or HttpClient(self._url, connections_max=connections_max)

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge or hold; the same call again under the same key does it once."""
        return charge_outcome(await self._post("charges", call.key, charge_body(call)), call)

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Capture what was held, in whole or in part; the rest is released."""
        return await self._follow_up("captures", "capture", call)

    async def void(self, call: FollowUpCall) -> Outcome:
        """Undo the whole charge; `already_settled` says that only a refund is possible now."""
        return await self._follow_up("voids", "void", call)

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Give back a part or the whole of what was captured."""
        return await self._follow_up("refunds", "refund", call)

    async def find(self, key: str) -> Outcome:
        """What became of the call with this key. A look-up that fails says nothing: `Unknown`."""
        path = f"{self._path}/operations/{quote(key, safe='')}"
        exchange = await self._client.send("GET", path, deadline_s=DEADLINE_S)
        return finding_outcome(exchange, key)

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check the Standard Webhooks signature. Raises `SignatureInvalid`."""
        self._signature.check(headers, body, now_us=now_us)

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Read a verified webhook, which is one event. Raises `BodyInvalid`."""
        try:
            event = read_event(body, event_id=headers["webhook-id"], provider_id=self.id)
        except KeyError as error:
            raise BodyInvalid("the webhook has no id") from error
        except (ValueError, RecursionError) as error:
            raise BodyInvalid(f"the webhook cannot be read: {error}") from error
        if event.event_type in _KNOWN_EVENTS and not event.provider_txn_id:
            raise BodyInvalid("the webhook names no transaction")
        if event.event_type == "dispute.closed" and event.dispute_won is None:
            raise BodyInvalid("the closed dispute has no outcome")
        # As the answer would have said, so that an event that overtakes it decides the same.
        return (msgspec.structs.replace(event, retryable=event.reason in _RETRYABLE),)

    def redacted_config(self) -> dict[str, str]:
        """The url and the deadline; the webhook secret is nobody's business."""
        return {"url": self._url, "deadlineS": str(DEADLINE_S), "webhookSecret": "[redacted]"}

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        await self._client.close()

    async def _follow_up(self, noun: str, verb: Verb, call: FollowUpCall) -> Outcome:
        body = follow_up_body(call, of_the_whole=verb == "void")
        exchange = await self._post(noun, call.key, body)
        return _outcome(
            exchange,
            lambda body: _read_answer(
                body, verb=verb, key=call.key, charge_id=call.provider_txn_id
            ),
        )

    async def _post(self, noun: str, key: str, body: bytes) -> Exchange:
        return await self._client.send(
            "POST",
            f"{self._path}/{noun}",
            deadline_s=DEADLINE_S,
            headers={"Idempotency-Key": key, "Content-Type": "application/json"},
            body=body,
        )


def charge_outcome(exchange: Exchange, call: ChargeCall) -> Outcome:
    """What the exchange of a charge or a hold came to."""
    verb: Verb = "charge" if call.capture else "authorize"
    return _outcome(exchange, lambda body: _read_answer(body, verb=verb, key=call.key))


def finding_outcome(exchange: Exchange, key: str) -> Outcome:
    """What the exchange of a look-up came to. One that fails says nothing."""
    return paused(exchange, _finding(exchange, key))


def _finding(exchange: Exchange, key: str) -> Outcome:
    match exchange:
        case Answered(status=200, body=body):
            return intelligible(lambda: _read_finding(body, key=key))
        case _:
            return failed_lookup(exchange)


def _outcome(exchange: Exchange, read: Callable[[bytes], Outcome]) -> Outcome:
    return paused(exchange, _meaning(exchange, read))


def _meaning(exchange: Exchange, read: Callable[[bytes], Outcome]) -> Outcome:
    match exchange:
        case NotSent(detail=detail):
            return Declined(code="not_sent", message=detail, retryable=True, conclusive=False)
        case Broken(reason=reason, detail=detail):
            return Unknown(reason=reason, detail=detail)
        case Answered(status=status, body=body) if status == _OK:
            return intelligible(lambda: read(body))
        case Answered(status=status) if status == _TOO_MANY:
            return Declined(code="too_many_requests", retryable=True, conclusive=False)
        case Answered(status=status) if status >= _SERVER_ERROR:
            return Unknown(reason="server_error", detail=f"HTTP {status}")
        case Answered(status=status, body=body):
            return intelligible(lambda: _read_trouble(body, status=status))


def _read_answer(body: bytes, *, verb: Verb, key: str, charge_id: str | None = None) -> Outcome:
    answer = decode_answer(body)
    if answer.idempotency_key != key or answer.operation != verb:
        raise Unintelligible
    if charge_id is not None and answer.charge_id != charge_id:
        raise Unintelligible
    match answer.status:
        case "succeeded":
            return Approved(
                provider_txn_id=answer.id,
                amount=Money(answer.amount_minor, answer.currency),
                captured=answer.captured,
                network_txn_id=answer.network_txn_id,
                authentication=answer.authentication,
            )
        case "pending":
            return _pending(answer, answer.id)
        case "requires_action":
            return _action_required(answer.id, answer.next_action)
        case _:
            raise Unintelligible


def _read_finding(body: bytes, *, key: str) -> Outcome:
    finding = decode_finding(body)
    txn_id = finding.provider_txn_id
    if finding.idempotency_key != key:
        raise Unintelligible
    match finding.status:
        case "succeeded" if txn_id is not None:
            return Approved(
                provider_txn_id=txn_id,
                amount=Money(finding.amount_minor, finding.currency),
                captured=finding.captured,
                network_txn_id=finding.network_txn_id,
                authentication=finding.authentication,
            )
        case "pending":
            return _pending(finding, txn_id)
        case "requires_action" if txn_id is not None:
            return _action_required(txn_id, finding.next_action)
        case "failed":
            code = finding.decline_code or "declined"
            return _declined(code, message="", provider_txn_id=txn_id)
        case "cancelled":
            return Declined(code="cancelled", provider_txn_id=txn_id)
        case _:
            raise Unintelligible


def _read_trouble(body: bytes, *, status: int) -> Outcome:
    trouble = decode_trouble(body).error
    message = trouble.message[:_MESSAGE_CHARS_MAX]
    match trouble.code:
        case "idempotency_error":
            return Unknown(reason="key_known", detail=message)
        case "idempotency_in_progress":
            return Unknown(reason="in_progress", detail=message)
        case "operation_pending":
            # What is under way ends some day, and then the same call may succeed.
            return Declined(code=trouble.code, message=message, retryable=True, conclusive=False)
        case code if code in _UNLOOKED_AT:
            return Declined(code=code, message=message, conclusive=False)
        case code if status == _DECLINED or code == "already_settled":
            return _declined(code, message=message, provider_txn_id=trouble.provider_txn_id)
        case _:
            raise Unintelligible


def _declined(code: str, *, message: str, provider_txn_id: str | None) -> Declined:
    # The sandbox speaks our own codes; a real provider's adapter has a table here.
    return Declined(
        code=code,
        message=message,
        decline_code=code,
        retryable=code in _RETRYABLE,
        provider_txn_id=provider_txn_id,
    )


def _pending(said: Answer | Finding, txn_id: str | None) -> Pending:
    by = said.expected_by
    return Pending(
        provider_txn_id=txn_id, expected_by_us=microseconds(by) if by is not None else None
    )


def _action_required(txn_id: str, action: NextAction | None) -> ActionRequired:
    if action is None:
        raise Unintelligible
    return ActionRequired(
        provider_txn_id=txn_id,
        url=action.url,
        expires_at_us=microseconds(action.expires_at),
    )
