"""How those outside reach the gateway: what they wish for, and what they can hear.

A `Door` stands before one life of the process. `FrontDoor` hands wishes to the front as they are;
the HTTP edge brings one that makes real requests of them (`paygate_http.simulated_door`).
"""

from collections.abc import Iterable
from typing import Final, Literal, Protocol, assert_never, get_args

from msgspec import Struct

from paygate_actors.config import Config
from paygate_actors.desk_messages import AskAgain, DeskEntry, GiveBack, MarkNotCharged, MarkSeen
from paygate_actors.front_protocol import Front
from paygate_actors.messages import (
    ApiKey,
    Caller,
    CapturePayment,
    Filters,
    FraudCheck,
    PaymentPage,
    PaymentReply,
    PaymentView,
    ProcessPayment,
    RefundPayment,
    Refusal,
    ReversePayment,
    ReviewPayment,
    ScoreRequest,
    SetTransactionStatus,
    TransactionReply,
)
from paygate_actors.payment_methods import CardMethod
from paygate_engine.clock import Clock

Spoil = Literal[
    "truncated",
    "nan",
    "not_utf8",
    "wrong_type",
    "too_precise",
    "zero",
    "unknown_currency",
    "wrong_digit",
    "expired",
    "untyped",
    "too_large",
    "long_key",
    "no_caller",
    "unknown_caller",
    "wrong_role",
]
SPOILS: tuple[Spoil, ...] = get_args(Spoil)


OPERATOR: Final = Caller(role="operator", merchant="", key_id="key_operator")


class ReadPayment(Struct, frozen=True, kw_only=True):
    """Show one payment."""

    caller: Caller
    payment_id: str


class ListPayments(Struct, frozen=True, kw_only=True):
    """Show a page of payments."""

    caller: Caller
    cursor: str | None
    limit: int


class CheckFraud(Struct, frozen=True, kw_only=True):
    """Score this, and make nothing."""

    command: ProcessPayment


class SpoiltRequest(Struct, frozen=True, kw_only=True):
    """A request that something is wrong with."""

    command: ProcessPayment
    spoil: Spoil


class Notice(Struct, frozen=True, kw_only=True):
    """A webhook, from whoever says that he is the provider."""

    provider: str
    headers: dict[str, str]
    body: bytes


Operation = CapturePayment | RefundPayment | ReversePayment
Correction = ReviewPayment | SetTransactionStatus
DeskWish = AskAgain | MarkNotCharged | GiveBack | MarkSeen
Wish = (
    ProcessPayment
    | Operation
    | Correction
    | DeskWish
    | ReadPayment
    | ListPayments
    | CheckFraud
    | SpoiltRequest
    | Notice
)


class PaymentHeard(Struct, frozen=True, kw_only=True):
    """A payment, as a client is told of it. `over`: it has been processed, for all that is known.

    What an operator asserts is shown as its status, and is not over: truth may still come.
    """

    id: str
    status: str
    amount_minor: int
    over: bool
    token: str | None


class TransactionHeard(Struct, frozen=True, kw_only=True):
    """A transaction, as a client is told of it."""

    id: str
    payment_id: str
    amount_minor: int


class PageHeard(Struct, frozen=True, kw_only=True):
    """A page of a list: the ids on it, and where the next one begins."""

    ids: tuple[str, ...]
    next_cursor: str | None


class ScoreHeard(Struct, frozen=True, kw_only=True):
    """A score in thousandths."""

    score_milli: int


class EntryHeard(Struct, frozen=True, kw_only=True):
    """A payment as it is on the operators' desk now."""

    payment_id: str


class Received(Struct, frozen=True, kw_only=True):
    """A webhook was taken in."""


class Refused(Struct, frozen=True, kw_only=True):
    """It was not done; `code` says why."""

    code: str


Heard = PaymentHeard | TransactionHeard | PageHeard | ScoreHeard | EntryHeard | Received | Refused


class Door(Protocol):
    """The way in, of one life of the process."""

    async def ask(self, wish: Wish) -> Heard:
        """Ask the gateway."""
        ...


class Doors(Protocol):
    """Makes the doors of a world. `parses`: they read requests, so that these may be spoilt."""

    @property
    def parses(self) -> bool:
        """Whether a `SpoiltRequest` can be asked."""
        ...

    def config(self, config: Config) -> Config:
        """Add what the doors need to the gateway's configuration."""
        ...

    def keys(self, callers: Iterable[Caller]) -> tuple[ApiKey, ...]:
        """The keys that must be stored for these callers."""
        ...

    def open(self, front: Front, config: Config, clock: Clock) -> Door:
        """Make the door of a life that has begun."""
        ...


class FrontDoors:
    """Doors without an edge."""

    parses = False

    def config(self, config: Config) -> Config:
        """Nothing is added."""
        return config

    def keys(self, callers: Iterable[Caller]) -> tuple[ApiKey, ...]:
        """Nobody needs a key."""
        del callers
        return ()

    def open(self, front: Front, config: Config, clock: Clock) -> Door:
        """The front itself."""
        del config, clock
        return FrontDoor(front)


class FrontDoor:
    """Asks the front, after what an edge asks before: whether it is open, and takes more."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def ask(self, wish: Wish) -> Heard:
        """Ask the front."""
        front = self._front
        if front.readiness() is not None:
            return Refused(code="not_ready")
        match wish:
            case ProcessPayment():
                refused = front.admits()
                return heard(await front.process(wish) if refused is None else refused)
            case CapturePayment() | RefundPayment() | ReversePayment():
                return heard(await self._operate(wish))
            case ReviewPayment():
                return heard(await front.review(wish))
            case SetTransactionStatus():
                return heard(await front.set_status(wish))
            case AskAgain() | MarkNotCharged() | GiveBack() | MarkSeen():
                return heard(await self._at_the_desk(wish))
            case ReadPayment():
                return heard(await front.payment(wish.caller, wish.payment_id))
            case ListPayments():
                filters = Filters(cursor=wish.cursor, limit=wish.limit)
                return heard(await front.payments(wish.caller, filters))
            case CheckFraud():
                command = wish.command
                return heard(await front.check_fraud(command.caller, _score_request(command)))
            case Notice():
                refusal = await front.webhook(wish.provider, wish.headers, wish.body)
                return Received() if refusal is None else heard(refusal)
            case SpoiltRequest():
                raise TypeError("only an edge reads requests")
            case _:
                assert_never(wish)

    async def _operate(self, wish: Operation) -> TransactionReply | Refusal:
        match wish:
            case CapturePayment():
                return await self._front.capture(wish)
            case RefundPayment():
                return await self._front.refund(wish)
            case ReversePayment():
                return await self._front.reverse(wish)
            case _:
                assert_never(wish)

    async def _at_the_desk(self, wish: DeskWish) -> DeskEntry | Refusal:
        match wish:
            case AskAgain():
                return await self._front.ask_again(wish)
            case MarkNotCharged():
                return await self._front.mark_not_charged(wish)
            case GiveBack():
                return await self._front.give_back(wish)
            case MarkSeen():
                return await self._front.mark_seen(wish)
            case _:
                assert_never(wish)


Said = (
    PaymentReply | TransactionReply | PaymentView | PaymentPage | FraudCheck | DeskEntry | Refusal
)


def heard(said: Said) -> Heard:
    """What a client makes of an answer."""
    match said:
        case PaymentReply(payment=view) | (PaymentView() as view):
            return PaymentHeard(
                id=view.id,
                status=view.status,
                amount_minor=view.amount_minor,
                over=view.processed_at_us is not None and not view.in_doubt,
                token=view.method.token,
            )
        case TransactionReply(transaction=txn):
            return TransactionHeard(
                id=txn.id, payment_id=txn.payment_id, amount_minor=txn.amount_minor
            )
        case PaymentPage():
            ids = tuple(view.id for view in said.items)
            return PageHeard(ids=ids, next_cursor=said.next_cursor)
        case FraudCheck():
            return ScoreHeard(score_milli=said.score_milli)
        case DeskEntry():
            return EntryHeard(payment_id=said.payment_id)
        case Refusal():
            return Refused(code=said.code)
        case _:
            assert_never(said)


AGAIN: Final = frozenset({"outcome_unknown", "overloaded", "not_ready", "rate_limited"})
"""Whoever hears one of these asks again later."""


def _score_request(command: ProcessPayment) -> ScoreRequest:
    return ScoreRequest(
        merchant=command.caller.merchant,
        amount=command.amount,
        has_card=isinstance(command.method, CardMethod),
        number_valid=True,
        expired=False,
    )
