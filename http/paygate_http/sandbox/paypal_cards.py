"""What pays at PayPal, judged: cards by number, saved ones by name, and the words of declines."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from paygate_actors.brands import brand_of
from paygate_actors.card import normalise_number
from paygate_http.sandbox.cards import Verdict, judge_card
from paygate_http.sandbox.paypal_errors import BAD, UNPROCESSABLE, PayPalTrouble
from paygate_http.sandbox.paypal_records import Shown
from paygate_http.sandbox.presence import Presence, asked_of, present
from paygate_http.sandbox.wire import ProviderId

SAVED: Final = {
    "vault_ok": "4242424242424242",
    "vault_declined": "4000000000000002",
}
"""Cards (and wallets) that the account has saved from the start, by their vault ids."""

_RESPONSE_CODES: Final = {
    "card_declined": "5100",
    "insufficient_funds": "5120",
    "lost_card": "9520",
    "stolen_card": "9520",
    "expired_card": "5400",
    "incorrect_cvc": "5110",
    "processing_error": "8000",
    "authentication_failed": "7710",
    "authentication_required": "5650",
}
_BRANDS: Final = {
    "visa": "VISA",
    "mastercard": "MASTERCARD",
    "amex": "AMEX",
    "discover": "DISCOVER",
    "jcb": "JCB",
    "maestro": "MAESTRO",
    "unionpay": "CHINA_UNION_PAY",
}

_CARD_NUMBER: Final = re.compile(rb'"number"\s*:\s*"[0-9]{9,15}(?P<last4>[0-9]{4})"')
_Text = Annotated[str, Meta(min_length=1, max_length=300)]


class _Network(Struct, frozen=True):
    id: Annotated[str, Meta(min_length=9, max_length=36)]


class _Stored(Struct, frozen=True, kw_only=True):
    payment_initiator: Literal["CUSTOMER", "MERCHANT"]
    payment_type: Literal["ONE_TIME", "RECURRING", "UNSCHEDULED"]
    usage: Literal["FIRST", "SUBSEQUENT", "DERIVED"] = "DERIVED"
    previous_network_transaction_reference: _Network | None = None


class _Verification(Struct, frozen=True):
    method: str = "SCA_WHEN_REQUIRED"


class _Attributes(Struct, frozen=True):
    verification: _Verification = _Verification()


class _Context(Struct, frozen=True):
    return_url: Annotated[str, Meta(max_length=4_000)] | None = None


class _Card(Struct, frozen=True, kw_only=True):
    number: Annotated[str, Meta(pattern="^[0-9]{13,19}$")] | None = None
    expiry: Annotated[str, Meta(pattern="^[0-9]{4}-(0[1-9]|1[0-2])$")] | None = None
    security_code: Annotated[str, Meta(pattern="^[0-9]{3,4}$")] | None = None
    name: _Text | None = None
    vault_id: _Text | None = None
    stored_credential: _Stored | None = None
    attributes: _Attributes = _Attributes()
    experience_context: _Context = _Context()

    def __repr__(self) -> str:
        return "<card>"


class _Wallet(Struct, frozen=True, kw_only=True):
    vault_id: _Text | None = None
    email_address: _Text | None = None
    experience_context: _Context = _Context()


class _Agreement(Struct, frozen=True):
    id: _Text
    type: Literal["BILLING_AGREEMENT"]


class Source(Struct, frozen=True, kw_only=True):
    """What pays, as requests name it: one of the three."""

    card: _Card | None = None
    paypal: _Wallet | None = None
    token: _Agreement | None = None

    @property
    def return_url(self) -> str | None:
        """Where the payer comes back to."""
        context = (self.card or self.paypal or _Card()).experience_context
        return context.return_url


class Judged(Struct, frozen=True, kw_only=True):
    """What the instrument does, and what may be shown of it."""

    verdict: Verdict
    shown: Shown
    named: bool = False


def read_source(content: Any) -> Source | None:
    """Read what pays; None where nothing is named. Raises `PayPalTrouble`."""
    if content is None:
        return None
    try:
        source = msgspec.convert(content, Source)
    except msgspec.ValidationError as error:
        raise PayPalTrouble(BAD, "INVALID_PARAMETER_SYNTAX", field="/payment_source") from error
    if [source.card, source.paypal, source.token].count(None) != 2:  # noqa: PLR2004 - of three
        raise PayPalTrouble(UNPROCESSABLE, "ONLY_ONE_PAYMENT_SOURCE_ALLOWED")
    return source


def last4_in(body: bytes) -> str | None:
    """Give the last four digits of the card that a body names; None where it names none.

    Asked before the body is read, because a fault may strike before anybody reads it.
    """
    found = _CARD_NUMBER.search(body)
    return found["last4"].decode() if found is not None else None


def judge(source: Source, *, provider: ProviderId) -> Judged:
    """Say what the instrument does. Raises `PayPalTrouble` for one that cannot pay like this."""
    if source.card is not None:
        return _judge_card(source.card, provider=provider)
    saved = source.paypal.vault_id if source.paypal is not None else None
    if source.token is not None:
        saved = source.token.id
    if saved is None:
        raise PayPalTrouble(UNPROCESSABLE, "ORDER_NOT_APPROVED")
    verdict = judge_card(_saved(saved), provider=provider)
    return Judged(verdict=verdict, shown=Shown(kind="paypal"))


def response_code(code: str) -> str:
    """Give the processor's response code for a decline of the sandbox."""
    return _RESPONSE_CODES.get(code, "5100")


def _judge_card(card: _Card, *, provider: ProviderId) -> Judged:
    stored = card.stored_credential
    by_merchant = stored is not None and stored.payment_initiator == "MERCHANT"
    if by_merchant and card.security_code is not None:
        raise PayPalTrouble(UNPROCESSABLE, "MERCHANT_INITIATED_WITH_SECURITY_CODE")
    if by_merchant and stored is not None and stored.usage == "FIRST":
        raise PayPalTrouble(UNPROCESSABLE, "INCOMPATIBLE_PARAMETER_VALUE")
    number = card.number
    if card.vault_id is not None:
        number = _saved(card.vault_id)
    elif number is None:
        raise PayPalTrouble(UNPROCESSABLE, "CARD_NUMBER_REQUIRED")
    elif normalise_number(number) is None:
        raise PayPalTrouble(BAD, "INVALID_PARAMETER_VALUE", field="/payment_source/card/number")
    if card.expiry is None and card.vault_id is None:
        raise PayPalTrouble(UNPROCESSABLE, "CARD_EXPIRY_REQUIRED")
    reference = stored.previous_network_transaction_reference if stored is not None else None
    presence = Presence(
        initiator="merchant" if by_merchant else "customer",
        store=stored is not None and stored.usage == "FIRST",
        network_txn_id=reference.id if reference is not None else None,
        step_up=card.attributes.verification.method in ("SCA_ALWAYS", "3D_SECURE"),
    )
    verdict = present(judge_card(number, provider=provider), asked_of(number), presence)
    brand = _BRANDS.get(brand_of(number), "VISA")
    shown = Shown(kind="card", brand=brand, last4=number[-4:], name=card.name)
    return Judged(verdict=verdict, shown=shown, named=presence.named)


def _saved(id_: str) -> str:
    number = SAVED.get(id_)
    if number is None:
        raise PayPalTrouble(UNPROCESSABLE, "TOKEN_ID_NOT_FOUND")
    return number
