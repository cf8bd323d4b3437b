"""The kinds of provider that a simulated world may have, and their adapters.

All speak the sandbox's protocol, so that its real adapter takes part. What differs is what real
providers differ in: whether an object is made before it is confirmed, whether what happened can be
looked up, and whether a key keeps a request from being done twice.
"""

from typing import Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from paygate_actors.outcomes import Declined, Outcome, Preparation, Prepared, Unknown
from paygate_actors.providers.base import ChargeCall
from paygate_actors.providers.http_client import Answered, Broken, HttpClient, NotSent
from paygate_actors.providers.sandbox import SandboxProvider, charge_outcome, finding_outcome
from paygate_actors.providers.sandbox_wire import charge_body, decode_trouble

Kind = Literal[
    "one_step",  # as the sandbox does it: keys and look-ups
    "two_steps",  # an object is prepared, and read by its id with no lag
    "two_steps_with_cvv",  # the same, and a card is charged with its CVV alone
    "blind",  # there is no look-up: the same key sent again is the question
    "keyless",  # it takes no keys: a request that is sent twice is done twice
]
# What is special is worth seeing often, and the plain kind more often than any.
KINDS: Final[tuple[Kind, ...]] = (
    "one_step",
    "one_step",
    "one_step",
    "one_step",
    "two_steps",
    "two_steps",
    "two_steps_with_cvv",
    "blind",
    "keyless",
)

UNCONFIRMED: Final = "unconfirmed"
"""What a provider of two steps says of an object that nobody has confirmed."""

_OK: Final = 200
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class PreparationBody(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the first step asks for; no card, so that it is the same whenever it is asked again."""

    amount_minor: int
    currency: str
    reference: str


class PreparedAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was made, under which key."""

    id: str
    idempotency_key: str


class BlindProvider(SandboxProvider):
    """An account where nothing can be looked up."""

    async def find(self, key: str) -> Outcome:
        """Say that nobody can know."""
        return Unknown(reason="not_visible", detail="it has no look-up")


class TwoStepSandbox(SandboxProvider):
    """An account where an object is made first and confirmed then."""

    async def prepare(self, call: ChargeCall) -> Preparation:
        """Make the object; the same call makes one."""
        asked = PreparationBody(
            amount_minor=call.amount.minor, currency=call.amount.currency, reference=call.key
        )
        key = f"{call.key}-prepare"
        exchange = await self._post("preparations", key, msgspec.json.encode(asked))
        match exchange:
            case NotSent(detail=detail):
                return Declined(code="not_sent", message=detail, retryable=True, conclusive=False)
            case Broken(reason=reason, detail=detail):
                return Unknown(reason=reason, detail=detail)
            case Answered(status=status, body=body) if status == _OK:
                return _read_prepared(body, key)
            case Answered(status=status) if status == _TOO_MANY:
                return Declined(code="too_many_requests", retryable=True, conclusive=False)
            case Answered(status=status):
                reason = "server_error" if status >= _SERVER_ERROR else "garbage"
                return Unknown(reason=reason, detail=f"HTTP {status}")

    async def charge(self, call: ChargeCall) -> Outcome:
        """Confirm what was prepared."""
        assert call.prepared_id is not None, "nothing is confirmed that was not prepared"
        noun = f"charges/{quote(call.prepared_id, safe='')}"
        return charge_outcome(await self._post(noun, call.key, charge_body(call)), call)

    async def find(self, key: str, provider_txn_id: str | None = None) -> Outcome:
        """What became of the call; with the object's id it is read at once."""
        if provider_txn_id is None:
            return await super().find(key)
        named = quote(provider_txn_id, safe="")
        path = f"{self._path}/objects/{named}/operations/{quote(key, safe='')}"
        exchange = await self._client.send("GET", path, deadline_s=self.capabilities.deadline_s)
        if isinstance(exchange, Answered) and exchange.status == _NOT_FOUND:
            return _read_standing(exchange.body, provider_txn_id)
        return finding_outcome(exchange, key)


def adapter_of(
    kind: Kind,
    *,
    id: str,  # noqa: A002  # the protocol's own name for it
    webhook_secret: str,
    client: HttpClient,
    ask_max_s: float,
) -> SandboxProvider:
    """Make the adapter of an account of this kind; a world asks no further apart than that."""
    made = {
        "two_steps": TwoStepSandbox,
        "two_steps_with_cvv": TwoStepSandbox,
        "blind": BlindProvider,
    }
    adapter = made.get(kind, SandboxProvider)(
        id=id, name=id, url="http://simulated.invalid", webhook_secret=webhook_secret, client=client
    )
    can = adapter.capabilities
    adapter.capabilities = msgspec.structs.replace(
        can,
        ask_max_s=ask_max_s,
        steps=2 if isinstance(adapter, TwoStepSandbox) else 1,
        takes_no_cvv=kind != "two_steps_with_cvv",
        finds=kind != "blind",
        key_window_s=0.0 if kind == "keyless" else can.key_window_s,
    )
    return adapter


def _read_prepared(body: bytes, key: str) -> Preparation:
    try:
        answer = msgspec.json.decode(body, type=PreparedAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown(reason="garbage")
    if answer.idempotency_key != key:
        return Unknown(reason="garbage", detail="the answer to another request")
    return Prepared(provider_txn_id=answer.id)


def _read_standing(body: bytes, named: str) -> Outcome:
    try:
        code = decode_trouble(body).error.code
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown(reason="garbage")
    match code:
        case "unconfirmed":
            return Unknown(reason="not_visible", provider_txn_id=named)
        case "charge_cancelled":
            return Declined(code="cancelled", provider_txn_id=named)
        case _:
            return Unknown(reason="not_visible")
