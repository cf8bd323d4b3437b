"""What the doors take in: one Struct a body, which also makes its schema in the API's document.

Every field may be missing or, after a fault of type, left out (see `decode`); what is required is
in `REQUIRED`, for the checks and the document alike. `null` is the same as leaving a field out.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from paygate_actors.credentials import NETWORK_ID_CHARS_MAX, TOKEN_CHARS_MAX
from paygate_actors.routing_config import CONCURRENCY_MAX, PRIORITY_MAX, WEIGHT_MAX
from paygate_http.wire import wire_name

# Bounds on text, in characters: generous beside what providers carry on, small beside the body.
DESCRIPTION_MAX = 1_000
REASON_MAX = 500
URL_MAX = 2_048
NAME_MAX = 200
METADATA_KEYS_MAX = 50
METADATA_KEY_MAX = 40
METADATA_VALUE_MAX = 500
IDEMPOTENCY_KEY_MAX = 255
EVENT_NAME_MAX = 64
# More names than there are: a filter that lists them all is none.
EVENT_NAMES_MAX = 50

CARD_TYPES = ("card", "credit_card", "debit_card")

_MONEY: Mapping[str, Any] = {"type": "number", "exclusiveMinimum": 0, "examples": [100.00]}

Amount = Annotated[
    Raw,
    Meta(
        description="Major units, with at most the currency's decimals. Read exactly.",
        extra_json_schema=dict(_MONEY),
    ),
]
Text = Annotated[str, Meta(max_length=NAME_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX)]
IdempotencyKey = Annotated[
    str,
    # Its length is judged with the header's, in `requests`, and by the same code.
    Meta(
        description="Printable ASCII; the header Idempotency-Key wins over it.",
        extra_json_schema={"minLength": 1, "maxLength": IDEMPOTENCY_KEY_MAX},
    ),
]


class PaymentMethodBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """How the payer pays. Cards need number and expiry, wallets walletID, tokens token.

    `provider_token` is what a provider itself keeps: it needs the provider's id and its token.
    """

    type: (
        Literal["card", "credit_card", "debit_card", "wallet", "token", "provider_token"] | None
    ) = None
    card_number: Annotated[str, Meta(max_length=64, examples=["4242424242424242"])] | None = None
    expiry_month: Annotated[int, Meta(examples=[12])] | None = None
    expiry_year: Annotated[int, Meta(examples=[2099])] | None = None
    cvv: Annotated[str, Meta(max_length=8, examples=["123"])] | None = None
    holder_name: Annotated[str, Meta(examples=["Jane Doe"])] | None = None
    wallet_id: Annotated[str, Meta(min_length=1, max_length=NAME_MAX)] | None = None
    token: Annotated[str, Meta(min_length=1, max_length=TOKEN_CHARS_MAX)] | None = None
    provider: Annotated[str, Meta(min_length=1, max_length=NAME_MAX)] | None = None

    def __repr__(self) -> str:
        # It holds a card number or a token until the checks have sealed it.
        return "<payment method>"


class InitiationBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Who starts the payment. A merchant who does says why, and no payer can be asked then.

    `networkTransactionID`: the card network's id of the payer's own payment that this one follows;
    for a token of ours it is known where the payer agreed that the card is kept.
    """

    by: Literal["customer", "merchant"] | None = None
    reason: Literal["unscheduled", "recurring", "installment"] | None = None
    network_transaction_id: (
        Annotated[str, Meta(min_length=1, max_length=NETWORK_ID_CHARS_MAX)] | None
    ) = None


class AddressBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A billing address; for US and CA the state and the zip code are checked."""

    street: Text | None = None
    city: Text | None = None
    state: Text | None = None
    zip_code: Text | None = None
    country: (
        Annotated[
            str, Meta(description="ISO 3166-1 alpha-2, upper case.", examples=["US"], max_length=2)
        ]
        | None
    ) = None


class PaymentBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A payment to be made, or to be scored."""

    amount: Amount | UnsetType = UNSET
    currency: Annotated[str, Meta(description="ISO 4217, upper case.", examples=["USD"])] | None = (
        None
    )
    payment_method: PaymentMethodBody | None = None
    billing_address: AddressBody | None = None
    metadata: dict[str, str] | None = None
    idempotency_key: IdempotencyKey | None = None
    capture_method: Literal["automatic", "manual"] | None = None
    description: Annotated[str, Meta(max_length=DESCRIPTION_MAX)] | None = None
    provider: Annotated[str, Meta(min_length=1, max_length=NAME_MAX)] | None = None
    return_url: Annotated[str, Meta(max_length=URL_MAX)] | None = None
    customer_ip: Annotated[str, Meta(max_length=64, description="The payer's address.")] | None = (
        None
    )
    initiation: InitiationBody | None = None
    store_credential: (
        Annotated[
            bool, Meta(description="The payer agreed that the method is kept for later payments.")
        ]
        | None
    ) = None
    three_d_secure: (
        Annotated[
            Literal["automatic", "required"],
            Meta(description="`required`: the payer must prove who they are."),
        ]
        | None
    ) = None


class CaptureBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Capture what is held; without an amount all of it."""

    amount: Amount | UnsetType = UNSET
    idempotency_key: IdempotencyKey | None = None


class RefundBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Give back; without an amount all that is left."""

    amount: Amount | UnsetType = UNSET
    reason: Reason | None = None
    idempotency_key: IdempotencyKey | None = None


class ReverseBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Undo the whole; `orRefund`: as a refund where the provider has settled already."""

    reason: Reason | None = None
    or_refund: bool | None = None
    idempotency_key: IdempotencyKey | None = None


class ReviewBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An operator's decision on held funds."""

    decision: Literal["approve", "decline"] | None = None
    note: Reason | None = None


class StatusBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An operator's correction; `force` asserts it against the provider's answer."""

    status: Literal["success", "failed", "cancelled"] | None = None
    reason: Reason | None = None
    force: bool | None = None


class NotChargedBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Why an operator holds a charge for not made."""

    reason: Reason | None = None


class GiveBackBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Why an operator has it given back again."""

    reason: Reason | None = None


class SeenBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """What a person found; `upToSeq`: the newest of the concerns that were looked at."""

    note: Reason | None = None
    up_to_seq: Annotated[int, Meta(ge=1)] | None = None


class SwitchesBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """The switches of a provider and how it is used; what is left out stays as it is.

    `concurrency`: so many calls at a time.
    """

    is_active: bool | None = None
    accepts_charges: bool | None = None
    priority: Annotated[int, Meta(ge=0, le=PRIORITY_MAX)] | None = None
    weight: Annotated[int, Meta(ge=0, le=WEIGHT_MAX)] | None = None
    concurrency: Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX)] | None = None


EventName = Annotated[
    str, Meta(max_length=EVENT_NAME_MAX, examples=["payment.succeeded", "refund.*"])
]
Events = Annotated[
    list[EventName],
    Meta(max_length=EVENT_NAMES_MAX, description="Types or `subject.*`; none: all events."),
]


class WebhookEndpointBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Where webhooks are to go: a public https URL."""

    url: Annotated[str, Meta(max_length=URL_MAX)] | None = None
    events: Events | None = None
    description: Annotated[str, Meta(max_length=REASON_MAX)] | None = None


class WebhookChangeBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """What is to be other; what is left out stays. `enabled` true sends what had to wait."""

    url: Annotated[str, Meta(max_length=URL_MAX)] | None = None
    events: Events | None = None
    description: Annotated[str, Meta(max_length=REASON_MAX)] | None = None
    enabled: bool | None = None


REQUIRED: Final[Mapping[type[Struct], tuple[str, ...]]] = {
    PaymentMethodBody: ("type",),
    AddressBody: ("country",),
    InitiationBody: ("by",),
    PaymentBody: ("amount", "currency", "paymentMethod"),
    CaptureBody: (),
    RefundBody: (),
    ReverseBody: (),
    ReviewBody: ("decision", "note"),
    StatusBody: ("status", "reason"),
    NotChargedBody: ("reason",),
    SeenBody: ("note",),
    SwitchesBody: (),
    WebhookEndpointBody: ("url",),
    WebhookChangeBody: (),
}
