"""Why a payment is where it is, what comes next and who must act. Pure: the same words each time.

The journal says why; what comes is read from the folded payment, and from how its calls are
pursued. Merchants hear the same story without keys, counts and operators' business.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from paygate_actors import events as e
from paygate_actors.desk import open_calls
from paygate_actors.desk_messages import Ahead, Explanation, OpenCall, Told
from paygate_actors.evolving import evolve
from paygate_actors.giving_back import owed
from paygate_actors.money import Money
from paygate_actors.projection import look_at_us
from paygate_actors.pursuit import KEY_WINDOW_MARGIN_S, US_PER_S
from paygate_actors.record import IN_DOUBT, Payment
from paygate_actors.states import FINAL
from paygate_actors.sums import expected_by_us, left_to_refund
from paygate_actors.telling import CONCERNS, VERBS, told
from paygate_actors.views import payment_view
from paygate_engine.stores.base import Event

Audience = Literal["merchant", "operator"]

# What decided about a payment fits a screen or two; of more, the first and the newest are shown.
WHY_MAX: Final = 50
# Transactions of which each step tells where the money is; of others only what is still open does.
_TELLING: Final = frozenset({"capture", "reverse", "stray", "return", "chargeback"})
# Steps that tell how long the provider remembers a key: the gateway's own business.
_OF_KEY_WINDOW: Final = frozenset({"send_again", "key_forgotten"})


def explain(
    stream: Sequence[Event],
    calls: Sequence[OpenCall],
    *,
    now_us: int,
    in_doubt_flag_us: int,
    audience: Audience,
) -> Explanation:
    """Explain the payment of these events, at least one. `calls`: as its actor pursues them.

    A call that the journal knows to be settled by now is left out, one that it alone knows is
    shown without how it is pursued.
    """
    history = [(event, e.decode(event.kind, event.body)) for event in stream]
    payment: Payment | None = None
    for event, recorded in history:
        payment = evolve(payment, recorded, id=event.stream, at_us=event.at_us, epoch=event.epoch)
    assert payment is not None, "a payment begins with an event"
    live = {call.key: call for call in calls}
    current = tuple(live.get(call.key, call) for call in open_calls(payment))
    view = payment_view(payment)
    return Explanation(
        payment_id=payment.id,
        currency=view.currency,
        status=view.status,
        in_doubt=view.in_doubt,
        attention=view.attention,
        why=_why(payment, history, audience),
        ahead=tuple(_ahead(payment, current, now_us, in_doubt_flag_us, audience)),
        calls=current if audience == "operator" else tuple(map(_public, current)),
    )


def _why(
    payment: Payment, history: list[tuple[Event, e.PaymentEvent]], audience: Audience
) -> tuple[Told, ...]:
    moves = [event.seq for event, recorded in history if isinstance(recorded, e.Moved)]
    newest_move = moves[-1] if moves else 0
    currency = payment.created.currency
    why = [
        Told(
            seq=event.seq,
            at_us=event.at_us,
            text=_sentence(told(recorded, currency=currency, keys=audience == "operator")),
        )
        for event, recorded in history
        if event.seq == newest_move or _decides(payment, event.seq, recorded)
    ]
    return tuple(why if len(why) <= WHY_MAX else [why[0], *why[1 - WHY_MAX :]])


def _decides(payment: Payment, seq: int, event: e.PaymentEvent) -> bool:
    """Whether the event is a reason for where the payment is now."""
    match event:
        case e.PaymentCreated() | e.Reviewed():
            return True
        case e.FraudScored():
            return event.blocked or event.review
        case e.CallStarted() | e.CallApproved() | e.CallDeclined():
            call = payment.call(event.key)
            return call is not None and (call.charges or call.unresolved)
        case e.CallPrepared() | e.CallInDoubt() | e.CallPending() | e.ActionRequested():
            call = payment.call(event.key)
            return call is not None and call.unresolved
        case e.TransactionOpened() | e.TransactionSettled():
            txn = payment.txn(event.id)
            return txn is not None and (txn.type in _TELLING or txn.status == "pending")
        case e.StatusAsserted():
            txn = payment.txn(event.transaction_id)
            return txn is not None and txn.asserted is not None
        case e.AttentionRaised():
            return any(concern.seq == seq for concern in payment.unseen)
        case e.Moved() | e.CredentialNoted() | e.AttentionCleared():
            return False


def _ahead(
    payment: Payment,
    calls: Sequence[OpenCall],
    now_us: int,
    in_doubt_flag_us: int,
    audience: Audience,
) -> Iterator[Ahead]:
    steps = [
        *(step for call in calls for step in _of_call(payment, call, now_us, in_doubt_flag_us)),
        *_of_status(payment),
        *_of_transactions(payment),
        *_of_concerns(payment),
        *_of_what_is_kept(payment),
    ]
    if audience == "merchant":
        steps = [
            step
            for step in steps
            if step.action not in _OF_KEY_WINDOW
            and (step.by != "operator" or step.action == "review")
        ]
    if steps:
        yield from steps
    elif payment.status in FINAL:
        yield Ahead(action="nothing", by="nobody", text=_over(payment))


def _of_call(
    payment: Payment, call: OpenCall, now_us: int, in_doubt_flag_us: int
) -> Iterator[Ahead]:
    what = f"the {VERBS[call.operation]} of {_money(call.amount_minor, payment)}"
    who = f"the provider {call.provider}"
    match call.standing:
        case "sending":
            if not call.asking:
                yield _next_check(call, f"{what} has not left yet, and is sent to {who}")
            else:
                text = f"{who} has {what}; its answer is awaited"
                yield _ahead_of("answer", "provider", text)
        case "in_doubt":
            yield from _of_doubt(call, who, what, now_us)
        case "pending":
            expected_us = expected_by_us(payment)
            text = f"{who} takes its time over {what}, and says when it is done"
            yield _ahead_of("answer", "provider", text, expected_us)
            yield _next_check(call, f"{who} is asked, should its message get lost")
        case "requires_action":
            yield _next_check(call, f"{who} is asked, should its message get lost")
    flag_us = call.started_at_us + in_doubt_flag_us
    given_up = call.asserted and call.operation in ("charge", "authorize")
    unclear = call.standing in ("sending", "in_doubt") and not given_up
    if unclear and now_us < flag_us and not _raised(payment):
        text = f"a person is called if it is not known by then what became of {what}"
        yield _ahead_of("call_a_person", "paygate", text, flag_us)


def _of_doubt(call: OpenCall, who: str, what: str, now_us: int) -> Iterator[Ahead]:
    if call.asking:
        text = f"{who} is being asked what became of {what}"
        yield _ahead_of("look_up", "provider", text)
    else:
        yield _next_check(call, f"{who} is asked what became of {what}")
    ends_us = call.key_window_ends_us
    if ends_us is None:
        text = f"{who} is not configured any more: find the call in its own records"
        yield _ahead_of("decide", "operator", text)
        return
    if call.can_resend:
        until_us = ends_us - round(KEY_WINDOW_MARGIN_S * US_PER_S)
        text = (
            "what a look-up does not see is sent again under the same key, which does it once at"
            " the most; not after this time"
        )
        yield _ahead_of("send_again", "paygate", text, until_us)
    if now_us < ends_us:
        text = f"{who} forgets the key; from then on nothing is sent again under it"
        yield _ahead_of("key_forgotten", "provider", text, ends_us)
    elif not call.asserted:
        text = (
            f"{who} has forgotten the key: find {what} in its own records, and say what"
            " became of it"
        )
        yield _ahead_of("decide", "operator", text)


def _of_status(payment: Payment) -> Iterator[Ahead]:
    until_us = payment.expires_at_us
    match payment.status:
        case "requires_action":
            yield _ahead_of("confirm", "payer", "the payer confirms the payment", until_us)
            text = "a payment that was not confirmed by then is cancelled"
            yield _ahead_of("expire", "paygate", text, until_us)
        case "review":
            yield _ahead_of("review", "operator", "a person approves or declines", until_us)
            text = "funds that nobody decided about by then are given free"
            yield _ahead_of("expire", "paygate", text, until_us)
        case "authorized":
            text = "the merchant captures the funds, or reverses the payment"
            yield _ahead_of("capture", "merchant", text)
            text = "the provider is asked whether the hold still stands; it ends it when it likes"
            yield _ahead_of("look_up", "paygate", text, look_at_us(payment))
        case _:
            pass


def _of_transactions(payment: Payment) -> Iterator[Ahead]:
    under_way = {call.transaction_id for call in payment.calls if call.unresolved}
    for txn in payment.txns[1:]:
        if txn.status != "pending" or txn.id in under_way:
            continue
        if txn.type == "reverse":
            text = "the reverse waits until the charge is decided, and is done then"
            yield _ahead_of("reverse", "paygate", text)
        elif txn.type == "chargeback":
            text = f"the dispute over {_money(txn.amount_minor, payment)} is decided"
            yield _ahead_of("dispute", "provider", text)


def _of_concerns(payment: Payment) -> Iterator[Ahead]:
    for concern in payment.unseen:
        text = f"a person looks: {CONCERNS.get(concern.code, concern.code)}"
        yield _ahead_of("look", "operator", text)


def _of_what_is_kept(payment: Payment) -> Iterator[Ahead]:
    if owed(payment) is not None:
        yield _ahead_of("give_back", "operator", "an operator has it given back again")


def _over(payment: Payment) -> str:
    left = left_to_refund(payment) if payment.status == "success" else 0
    more = f" {_money(left, payment)} can still be refunded." if left else ""
    return f"Nothing is awaited.{more}"


def _raised(payment: Payment) -> bool:
    return any(concern.code == IN_DOUBT for concern in payment.concerns)


def _next_check(call: OpenCall, text: str) -> Ahead:
    return _ahead_of("look_up", "paygate", text, call.next_check_us)


def _ahead_of(
    action: str,
    by: Literal["paygate", "provider", "payer", "merchant", "operator"],
    text: str,
    at_us: int | None = None,
) -> Ahead:
    return Ahead(action=action, by=by, text=_sentence(text), at_us=at_us)


def _public(call: OpenCall) -> OpenCall:
    # A merchant sees that it is asked about and when; how is the gateway's own business.
    return msgspec.structs.replace(
        call, key=None, asks=None, last_answer=None, key_window_ends_us=None, can_resend=None
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _money(minor: int, payment: Payment) -> str:
    return str(Money(minor, payment.created.currency))
