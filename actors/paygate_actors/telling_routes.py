"""Why a payment goes where it goes, in plain words, for operators."""

from typing import Final

from paygate_actors.route import Aside, Behind, LeftOut, Route, RoutedBy

_BY: Final[dict[RoutedBy, str]] = {
    "priority": "by priority",
    "weight": "by weight",
    "success_rate": "by success rate",
    "cost": "by cost",
    "pin": "the only one that may have it",
}

_WHY: Final[dict[LeftOut | Behind, str]] = {
    "inactive": "is switched off",
    "no_charges": "takes no new charges",
    "currency": "does not take the currency",
    "amount": "cannot take the amount exactly",
    "method": "does not take the payment method",
    "cvv": "wants a CVV",
    "three_d_secure": "cannot ask the payer who they are",
    "not_configured": "is not configured",
    "circuit_open": "does badly now",
    "told_to_wait": "wants to be left alone",
    "full": "has no place",
}


def routed_by(route: Route) -> str:
    """What follows the name of the provider: the rule, its reasons, and who else there was."""
    parts = [_BY[route.by]]
    if route.rule is not None:
        parts[0] = f"rule {route.rule!r}, {parts[0]}"
    if route.explored:
        parts.append("to learn how it does")
    elif 0 < route.share_milli < 1_000:  # noqa: PLR2004  # all of them
        parts.append(f"as {route.share_milli / 10:g} % of such payments")
    if route.three_d_secure:
        parts.append("the payer must prove who they are")
    if len(route.order) > 1:
        parts.append(f"then {', '.join(route.order[1:])}")
    parts += _asides(route.left_out, "left out")
    parts += _asides(route.behind, "put last")
    return f": {'; '.join(parts)}"


def _asides(asides: tuple[Aside, ...], what: str) -> list[str]:
    named = [f"{aside.provider} {_WHY[aside.why]}" for aside in asides]
    return [f"{what}: {', '.join(named)}"] if named else []
