"""In which order able providers are tried, and how likely each was to be the first. Pure.

What looks like chance is a hash of the payment's id: the same payment is put in the same order
whenever it is looked at, and over many payments the hashes are as even as dice.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from paygate_actors.money import Money
from paygate_actors.routing_config import Cost, Routing, Rule

MILLI: Final = 1_000
_MILLION: Final = 1_000_000

Rate = Callable[[str, str], int]
"""How often a rule's target approves, in thousandths: (rule, provider) -> rate."""


class Ordered(NamedTuple):
    """Providers, best first; `chances` in thousandths of being the first, those without left out.

    `explored`: the first is not the one that does best.
    """

    order: list[str]
    chances: dict[str, int]
    explored: bool = False


def ordered(
    rule: Rule,
    able: list[str],
    *,
    routing: Routing,
    payment_id: str,
    amount: Money,
    weights: Mapping[str, int],
    rate: Rate,
) -> Ordered:
    """Put these in the order of the rule; they come as it names them, or by priority.

    `weights` are the providers' own, for targets that have none.
    """
    if len(able) < 2:  # noqa: PLR2004  # one is in order by itself
        return _certain(able)
    match rule.by:
        case "priority":
            return _certain(able)
        case "weight":
            return _by_weight(rule, able, payment_id, weights)
        case "success_rate":
            return _by_rate(rule, able, routing, payment_id, rate)
        case "cost":
            costs = {id_: cost_micro(routing.costs.get(id_), amount) for id_ in able}
            return _certain(sorted(able, key=lambda id_: (costs[id_] is None, costs[id_] or 0)))


def cost_micro(cost: Cost | None, amount: Money) -> int | None:
    """What a charge of this amount costs, in millionths of a minor unit; None: not known."""
    if cost is None:
        return None
    fixed = cost.fixed_minor.get(amount.currency) if cost.fixed_minor else 0
    return None if fixed is None else amount.minor * cost.rate_ppm + fixed * _MILLION


def _certain(order: list[str]) -> Ordered:
    return Ordered(order, dict.fromkeys(order[:1], MILLI))


def _by_weight(rule: Rule, able: list[str], payment_id: str, weights: Mapping[str, int]) -> Ordered:
    own = {target.provider: target.weight for target in rule.targets}
    heavy = {id_: weights[id_] if (given := own.get(id_)) is None else given for id_ in able}
    left, order = list(able), list[str]()
    while left:
        upto = list(accumulate(heavy[id_] for id_ in left))
        drawn = _chance(payment_id, f"weight {rule.name} {len(order)}", max(upto[-1], 1))
        # With no weight left at all, the last one is taken: any will do.
        order.append(left.pop(min(bisect_right(upto, drawn), len(left) - 1)))
    whole = sum(heavy.values())
    if not whole:
        return _certain(order)
    return Ordered(order, {id_: MILLI * heavy[id_] // whole for id_ in able if heavy[id_]})


def _by_rate(rule: Rule, able: list[str], routing: Routing, payment_id: str, rate: Rate) -> Ordered:
    order = sorted(able, key=lambda id_: -rate(rule.name, id_))
    best = order[0]
    # Every target may be the one that is explored, the best too: each has a chance that is known.
    each_milli = routing.exploration_milli // len(able)
    chances = {id_: each_milli for id_ in able if each_milli}
    chances[best] = MILLI - each_milli * (len(able) - 1)
    place = _chance(payment_id, f"explore {rule.name}", MILLI)
    tried = sorted(able)[place // each_milli] if place < each_milli * len(able) else best
    order.remove(tried)
    return Ordered([tried, *order], chances, tried != best)


def _chance(payment_id: str, what: str, below: int) -> int:
    """A number from 0 to `below`, exclusive, that only the payment and the question decide."""
    digest = hashlib.blake2b(f"{payment_id}/{what}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % below
