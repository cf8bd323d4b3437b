"""How a payment stands on the desk: what is listed, and what may be done about it. Pure.

The committed half; how a call is pursued right now is known to its payment's pursuer alone.
"""

from paygate_actors.desk_messages import (
    CallStanding,
    ConcernView,
    DeskAction,
    DeskEntry,
    OpenCall,
)
from paygate_actors.giving_back import owed
from paygate_actors.record import IN_DOUBT, Call, Payment
from paygate_actors.sums import asserted, in_doubt, unclear, unresolved
from paygate_actors.views import payment_view


def listed(payment: Payment) -> bool:
    """Whether it is on the desk: a call in doubt, or something that a person should look at."""
    return in_doubt(payment) or bool(payment.unseen)


def desk_entry(payment: Payment) -> DeskEntry:
    """The entry as the journal alone tells it."""
    view = payment_view(payment)
    calls = unclear(payment)
    since_us = [call.started_at_us for call in calls] + [each.at_us for each in payment.unseen]
    return DeskEntry(
        payment_id=payment.id,
        merchant=view.merchant,
        status=view.status,
        amount_minor=view.amount_minor,
        currency=view.currency,
        since_us=min(since_us, default=payment.updated_at_us),
        in_doubt=view.in_doubt,
        attention=view.attention,
        concerns=tuple(
            ConcernView(seq=each.seq, code=each.code, at_us=each.at_us, detail=each.detail)
            for each in payment.unseen
        ),
        calls=tuple(open_call(payment, call) for call in calls),
        actions=_actions(payment),
    )


def open_calls(payment: Payment) -> tuple[OpenCall, ...]:
    """Every call that its provider has not settled, the oldest first."""
    return tuple(open_call(payment, call) for call in unresolved(payment))


def open_call(payment: Payment, call: Call) -> OpenCall:
    """One of them."""
    return OpenCall(
        transaction_id=call.transaction_id,
        operation=call.verb,
        provider=call.provider,
        key=call.key,
        amount_minor=call.amount_minor,
        standing=_standing(call),
        started_at_us=call.started_at_us,
        asserted=asserted(payment, call),
    )


def doubtful_charge(payment: Payment) -> Call | None:
    """The attempt at the money whose outcome is not known: there is one at a time."""
    return next((call for call in payment.calls if call.charges and call.in_doubt), None)


def _actions(payment: Payment) -> tuple[DeskAction, ...]:
    actions: list[DeskAction] = []
    if unresolved(payment):
        actions.append("ask_again")
    charge = doubtful_charge(payment)
    if charge is not None and not asserted(payment, charge):
        actions.append("mark_not_charged")
    if owed(payment) is not None:
        actions.append("give_back")
    if any(concern.code != IN_DOUBT for concern in payment.unseen):
        actions.append("seen")
    return tuple(actions)


def _standing(call: Call) -> CallStanding:
    if call.state == "action" and not call.in_doubt:
        return "requires_action"
    if call.state == "pending":
        return "pending"
    return "in_doubt" if call.in_doubt else "sending"
