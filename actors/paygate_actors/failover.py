"""Whether a payment that was declined is tried at another provider, and at which. Pure.

Only after a definite non-charge: what is not known is never asked here. Never once the payer has
been involved: he would be asked for the same thing twice. Never after a hard decline, whatever the
provider thinks of it: schemes fine those who go on. What lay between the provider and the issuer
may go elsewhere; what the issuer said softly only where the rule that routed the payment names the
code, and within the limits for the payment and for its card.
"""

from collections.abc import Sequence

from paygate_actors.decline_codes import DECLINE_CODES
from paygate_actors.draft import ATTEMPTS_MAX, Context
from paygate_actors.outcomes import Declined
from paygate_actors.record import Call, Payment
from paygate_actors.routing_config import SOFT_DECLINES


def next_provider(payment: Payment, call: Call, said: Declined, ctx: Context) -> str | None:
    """Where the payment goes next after `call` was declined and folded in; None: nowhere."""
    if not _may_go_elsewhere(payment, said, ctx):
        return None
    return untried(payment, ctx.routes, call.provider)


def untried(payment: Payment, routes: Sequence[str], *tried: str) -> str | None:
    """The next of these providers that the payment could be tried at, whatever was said; or None.

    `tried`: at which it was, beside those of its attempts.
    """
    attempts = [other for other in payment.calls if other.charges]
    asked_payer = any(other.url is not None for other in attempts)
    if asked_payer or payment.created.provider_pin or len(attempts) >= ATTEMPTS_MAX:
        return None
    known = {other.provider for other in attempts} | set(tried)
    return next((provider for provider in routes if provider not in known), None)


def is_soft(payment: Payment, code: str) -> bool:
    """Whether the rule that routed the payment lets this decline be tried elsewhere."""
    route = payment.route
    return route is not None and code in SOFT_DECLINES and code in route.retry_declines


def _may_go_elsewhere(payment: Payment, said: Declined, ctx: Context) -> bool:
    known = DECLINE_CODES.get(said.code)
    if known is not None and known.kind == "hard":
        return False
    if said.retryable:
        return True
    if not said.conclusive or not is_soft(payment, said.code):
        return False
    assert payment.route is not None, "a soft decline is one that a route names"
    declined = [call.declined for call in payment.calls if call.charges and call.declined]
    retried = sum(is_soft(payment, code) for code in declined) - 1  # the one that is decided about
    return retried < payment.route.retries_max and ctx.soft_retries > 0
