"""What the desk gives out: one Struct an answer, and how it is made of what the gateway says."""

from typing import Literal

from msgspec import Struct

from paygate_actors.desk_messages import (
    Ahead,
    CallStanding,
    DeskAction,
    DeskEntry,
    Explanation,
    OpenCall,
)
from paygate_actors.events import Verb
from paygate_actors.messages import PaymentStatus
from paygate_actors.money import Money
from paygate_actors.rfc3339 import time_text
from paygate_http.replies import Amount, Time
from paygate_http.wire import wire_name


class OpenCallReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A call that its provider has not settled.

    `asks`, `asking`, `lastAnswer` and `nextCheckAt` tell of the running process alone. Merchants
    read null in `key`, `asks`, `lastAnswer`, `keyWindowEndsAt` and `canResend`.
    """

    transaction_id: str
    operation: Verb
    provider: str
    key: str | None
    amount: Amount
    state: CallStanding
    started_at: Time
    asks: int | None
    asking: bool
    last_answer: str | None
    next_check_at: Time | None
    key_window_ends_at: Time | None
    can_resend: bool | None
    asserted: bool


class ConcernReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Why a person should look, since which event of the payment."""

    seq: int
    code: str
    detail: str
    at: Time


class DeskEntryReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A payment on the desk; `actions` are those that can be taken now."""

    payment_id: str
    merchant: str
    status: PaymentStatus
    in_doubt: bool
    attention: str | None
    amount: Amount
    currency: str
    since: Time
    concerns: list[ConcernReply]
    calls: list[OpenCallReply]
    actions: list[DeskAction]


class DeskListReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """What is in doubt or asks for a person, the newest payment first."""

    data: list[DeskEntryReply]
    has_more: bool
    next_cursor: str | None


class ReasonReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An event that decided where the payment is, in plain words."""

    seq: int
    at: Time
    text: str


class StepReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """What happens next and who does it; `at` null: nobody can say when."""

    action: str
    by: Literal["paygate", "provider", "payer", "merchant", "operator", "nobody"]
    at: Time | None
    text: str


class ExplanationReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Why a payment is where it is, what comes next, and which calls are not settled."""

    payment_id: str
    status: PaymentStatus
    in_doubt: bool
    attention: str | None
    why: list[ReasonReply]
    next: list[StepReply]
    calls: list[OpenCallReply]


def entry_reply(entry: DeskEntry) -> DeskEntryReply:
    """Show a payment on the desk."""
    return DeskEntryReply(
        payment_id=entry.payment_id,
        merchant=entry.merchant,
        status=entry.status,
        in_doubt=entry.in_doubt,
        attention=entry.attention,
        amount=Money(entry.amount_minor, entry.currency).to_decimal(),
        currency=entry.currency,
        since=time_text(entry.since_us),
        concerns=[
            ConcernReply(seq=each.seq, code=each.code, detail=each.detail, at=time_text(each.at_us))
            for each in entry.concerns
        ],
        calls=[_call(call, entry.currency) for call in entry.calls],
        actions=list(entry.actions),
    )


def explanation_reply(found: Explanation) -> ExplanationReply:
    """Show an explanation."""
    return ExplanationReply(
        payment_id=found.payment_id,
        status=found.status,
        in_doubt=found.in_doubt,
        attention=found.attention,
        why=[
            ReasonReply(seq=each.seq, at=time_text(each.at_us), text=each.text)
            for each in found.why
        ],
        next=[_step(each) for each in found.ahead],
        calls=[_call(call, found.currency) for call in found.calls],
    )


def _step(step: Ahead) -> StepReply:
    return StepReply(action=step.action, by=step.by, at=_time(step.at_us), text=step.text)


def _call(call: OpenCall, currency: str) -> OpenCallReply:
    return OpenCallReply(
        transaction_id=call.transaction_id,
        operation=call.operation,
        provider=call.provider,
        key=call.key,
        amount=Money(call.amount_minor, currency).to_decimal(),
        state=call.standing,
        started_at=time_text(call.started_at_us),
        asks=call.asks,
        asking=call.asking,
        last_answer=call.last_answer,
        next_check_at=_time(call.next_check_us),
        key_window_ends_at=_time(call.key_window_ends_us),
        can_resend=call.can_resend,
        asserted=call.asserted,
    )


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else time_text(at_us)
