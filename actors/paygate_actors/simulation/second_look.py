"""Whether an answer was given on the newest state: what was durable before the question counts.

Where a payment did not move between a question and its answer, there is one state that the answer
can have been given on, whichever node gave it. What a read shows must be that state, and what a
refusal says must be so of it.
"""

from collections.abc import Awaitable, Callable, Mapping

from paygate_actors import operating
from paygate_actors.draft import Context, Draft
from paygate_actors.messages import CapturePayment, RefundPayment, ReversePayment
from paygate_actors.record import Payment
from paygate_actors.simulation.doors import (
    AGAIN,
    Heard,
    Operation,
    PaymentHeard,
    ReadPayment,
    Refused,
    Wish,
)
from paygate_actors.simulation.tracing import Violation
from paygate_actors.views import payment_view


async def asked(
    wish: Wish, *, ask: Callable[[Wish], Awaitable[Heard]], payments: Mapping[str, Payment]
) -> Heard:
    """Ask, and look at what was heard. Raises `Violation`, and what `ask` raises."""
    if not isinstance(wish, ReadPayment | CapturePayment | RefundPayment | ReversePayment):
        return await ask(wish)
    before = payments.get(wish.payment_id)
    heard = await ask(wish)
    if before is None or payments[wish.payment_id] is not before:
        return heard
    if isinstance(heard, PaymentHeard) and heard.status != payment_view(before).status:
        raise Violation(
            "what was durable is told by every node",
            f"{heard.status}, not {payment_view(before).status}",
            subject=before.id,
        )
    if isinstance(wish, ReadPayment) or not isinstance(heard, Refused) or heard.code in AGAIN:
        return heard
    if _allowed(before, wish):
        raise Violation("a command is decided on what was durable", heard.code, subject=before.id)
    return heard


def _allowed(payment: Payment, command: Operation) -> bool:
    """Whether the command is done on this state; under a key of its own, which it has not used."""
    ctx = Context(now_us=payment.updated_at_us)
    draft = Draft(payment.id, payment, ctx.now_us)
    match command:
        case CapturePayment():
            answer = operating.capture(draft, command, None, ctx)
        case RefundPayment():
            answer = operating.refund(draft, command, None, ctx)
        case ReversePayment():
            answer = operating.reverse(draft, command, None, ctx)
    return answer.refusal is None
