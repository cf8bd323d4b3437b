"""What is said over the sandbox's wire: requests, answers, times. All amounts are minor units.

The sandbox shares no code with the adapter that calls it: two readers of one document find each
other's mistakes, one reader does not.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

ProviderId = Literal[
    "sandbox", "sandbox_backup", "sandbox_stripe", "sandbox_adyen", "sandbox_paypal"
]
PROVIDERS: tuple[ProviderId, ...] = ("sandbox", "sandbox_backup")
"""The accounts that speak this protocol; the others speak that of the provider in their name."""

Verb = Literal["charge", "authorize", "capture", "refund", "void"]

# A larger body is no payment: the longest legal one is some 2 KiB.
BODY_BYTES_MAX = 64 * 1024

# Far over the gateway's own bound (99,999,999.99): the sandbox refuses nonsense, not policy.
_AmountMinor = Annotated[int, Meta(gt=0, le=10**15)]
_Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
_Text = Annotated[str, Meta(max_length=2_000)]
_Id = Annotated[str, Meta(min_length=1, max_length=255)]

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_CAPITALS = re.compile(r"(Id|Url|Ip)(?=$|[A-Z])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def wire_name(name: str) -> str:
    """Turn `provider_txn_id` into `providerTxnID`: camelCase, abbreviations in capitals."""
    first, *rest = name.split("_")
    camel = first + "".join(part.capitalize() for part in rest)
    return _CAPITALS.sub(lambda found: found.group().upper(), camel)


def time_text(at_us: int) -> str:
    """Write UTC microseconds as RFC 3339 with `Z` and six decimals."""
    moment = _EPOCH + timedelta(microseconds=at_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def is_key(text: str) -> bool:
    """Tell whether the text may be an idempotency key: 1 to 255 visible ASCII characters."""
    return _KEY.fullmatch(text) is not None


class Wire(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A JSON object of the wire; unknown fields of requests are ignored."""


class CardBody(Wire, frozen=True, kw_only=True):
    """A card in clear, as every provider is given it. Never kept: see `teller`."""

    number: Annotated[str, Meta(pattern="^[0-9]{13,19}$")]
    cvv: Annotated[str, Meta(pattern="^[0-9]{3,4}$")] | None = None
    expiry_month: Annotated[int, Meta(ge=1, le=12)] | None = None
    expiry_year: Annotated[int, Meta(ge=2000, le=9999)] | None = None
    holder_name: _Text | None = None

    def __repr__(self) -> str:
        return "<card>"


class WalletBody(Wire, frozen=True, kw_only=True):
    """A digital wallet by its id."""

    id: _Id


class TokenBody(Wire, frozen=True, kw_only=True):
    """What this provider keeps of a payer, by its token; no number is sent then."""

    id: _Id

    def __repr__(self) -> str:
        return "<token>"


class ChargeBody(Wire, frozen=True, kw_only=True):
    """Charge (`capture`) or hold. Exactly one of `card`, `wallet` and `token` is given.

    `store`: the payer agreed that the credential is kept. `network_transaction_id`: of the payer's
    own charge that one by the merchant follows. `three_d_secure` `required`: a step-up is demanded.
    """

    amount_minor: _AmountMinor
    currency: _Currency
    capture: bool
    reference: _Id | None = None
    card: CardBody | None = None
    wallet: WalletBody | None = None
    token: TokenBody | None = None
    description: _Text | None = None
    return_url: _Text | None = None
    customer_ip: Annotated[str, Meta(max_length=64)] | None = None
    initiator: Literal["customer", "merchant"] = "customer"
    reason: Literal["unscheduled", "recurring", "installment"] | None = None
    store: bool = False
    network_transaction_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    three_d_secure: Literal["automatic", "required"] = "automatic"

    def __post_init__(self) -> None:
        if [self.card, self.wallet, self.token].count(None) != 2:  # noqa: PLR2004 - of three
            raise ValueError("exactly one of card, wallet and token must be given")
        if self.initiator == "merchant" and (self.store or self.three_d_secure == "required"):
            raise ValueError("a charge by the merchant finds no payer to agree or to confirm")


class FollowUpBody(Wire, frozen=True, kw_only=True):
    """Capture, void or refund of a charge. None as amount: all of it."""

    provider_txn_id: _Id
    amount_minor: _AmountMinor | None = None
    currency: _Currency | None = None
    reference: _Id | None = None


# Made once: building a decoder costs more than using it.
decode_charge = msgspec.json.Decoder(ChargeBody).decode
"""Read a charge. Raises `msgspec.DecodeError`, whose text names fields and never values."""
decode_follow_up = msgspec.json.Decoder(FollowUpBody).decode
"""Read a capture, void or refund. Raises `msgspec.DecodeError`."""


class NextAction(Wire, frozen=True, kw_only=True):
    """Where the payer confirms, and until when (RFC 3339)."""

    type: Literal["redirect"] = "redirect"
    url: str
    expires_at: str


class Answer(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What a call did. `id` is the object's: the refund's own for refunds, else the charge's."""

    id: str
    operation: Verb
    status: str
    amount_minor: int
    currency: str
    idempotency_key: str
    reference: str
    charge_id: str
    captured: bool = False
    next_action: NextAction | None = None
    expected_by: str | None = None
    network_transaction_id: str | None = None
    authentication: str | None = None


class Finding(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What a look-up by idempotency key says."""

    provider: str
    operation: Verb
    idempotency_key: str
    status: str
    provider_txn_id: str | None
    amount_minor: int
    currency: str
    charge_id: str | None = None
    captured: bool = False
    decline_code: str | None = None
    next_action: NextAction | None = None
    expected_by: str | None = None
    network_transaction_id: str | None = None
    authentication: str | None = None


class Trouble(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """Why a call did nothing. `code` is stable; `message` never repeats what was sent."""

    code: str
    message: str
    provider_txn_id: str | None = None


class TroubleAnswer(Wire, frozen=True, kw_only=True):
    """An answer of 400 and above."""

    error: Trouble


def trouble(code: str, message: str, *, provider_txn_id: str | None = None) -> bytes:
    """Give the body of an error answer."""
    return msgspec.json.encode(
        TroubleAnswer(error=Trouble(code=code, message=message, provider_txn_id=provider_txn_id))
    )
