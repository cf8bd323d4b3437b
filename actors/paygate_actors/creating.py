"""A payment's creation, and the intent of each attempt at its money. Pure."""

from paygate_actors import events as e
from paygate_actors.draft import Context, Draft
from paygate_actors.messages import Failure, FraudCheck
from paygate_actors.route import Route

FRAUD_BLOCKED = Failure(code="fraud_blocked", message="The fraud rules block this payment.")


def create(
    payment_id: str, created: e.PaymentCreated, check: FraudCheck, *, review: bool, ctx: Context
) -> Draft:
    """A new payment: created, scored, and the first attempt intended or the block recorded.

    `ctx.routes` must name a provider unless the check blocks; `ctx.route` says why that one.
    """
    draft = Draft(payment_id, None, ctx.now_us, epoch=ctx.epoch)
    draft.add(created)
    draft.add(
        e.FraudScored(
            score_milli=check.score_milli,
            risk_level=check.risk_level,
            factors=check.factors,
            blocked=check.blocked,
            review=review and not check.blocked,
            static_only=check.static_only,
        )
    )
    if check.blocked:
        draft.move("failed", failure=FRAUD_BLOCKED)
    else:
        attempt(draft, ctx.routes[0], ctx, route=ctx.route)
        draft.move("charge_started")
    return draft


def attempt(draft: Draft, provider: str, ctx: Context, *, route: Route | None = None) -> None:
    """Intend an attempt at the money at this provider; `route` says why there."""
    payment = draft.payment
    held = payment.created.capture_method == "manual"
    review = payment.fraud is not None and payment.fraud.review
    draft.start_call(
        payment.txns[0].id,
        "authorize" if held or review else "charge",
        provider=provider,
        amount_minor=payment.created.amount_minor,
        prepares=provider in ctx.two_steps,
        route=route,
    )
