"""New routing rules over payments that were made: what would go elsewhere, and what is known of it.

Nobody knows how a provider that was not asked would have answered. So approvals are counted only
where the new rules send a payment to the provider that did answer, each such answer weighted by
how much more or less often the new rules would have asked for it (importance weights, by the
chances that each route recorded); and how much of the new rules' doing that covers is said beside
every figure. Rules that send payments where none has ever gone are covered by nothing, and say so.

Only the first attempt of a payment is judged: what follows depends on how it was answered. All
providers are taken to do well: a replay asks about rules, not about bad days. Pure and bounded:
each payment is added up and forgotten.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from paygate_actors.record import Call, Payment
from paygate_actors.route import Route
from paygate_actors.route_order import MILLI, cost_micro
from paygate_actors.routing import Candidate, Facts, decide, facts_kept, fits
from paygate_actors.routing_config import Routing
from paygate_actors.success_rates import SuccessRates

Verdict = Literal["approved", "declined"]

# Which ends of a first attempt say nothing about the provider's payers.
_NO_VERDICT: Final = frozenset({"not_sent", "too_many_requests", "card_not_in_vault", "cancelled"})
NOBODY: Final = "(nobody)"
_NO_CHANCE: Final[Mapping[str, int]] = {}


class Change(Struct, frozen=True, kw_only=True):
    """So many payments went to `was` first and would go to `now`."""

    was: str
    now: str
    payments: int


class Costs(Struct, frozen=True, kw_only=True):
    """What approved charges of one currency cost, in millionths of a minor unit.

    As they went, and as they would go if they were approved there too.
    """

    currency: str
    payments: int
    was_micro: int
    now_micro: int


class Report(Struct, frozen=True, kw_only=True):
    """What a replay found. Rates and shares are thousandths; None: nothing to tell it from.

    `undecided`: the rules ask for more of a card's number than was kept. `refused`: nobody would
    take them. `judged`: first attempts that ended with a provider's yes or no; `approval`: how
    many of them with a yes. `coverage`: how much of what the new rules would do history can speak
    about. `expected_approval`: under the new rules, within that coverage; `samples`: as good as so
    many even answers. `cost_coverage`: of the approved payments, those whose costs are known.
    """

    payments: int
    undecided: int
    refused: int
    changed: int
    changes: tuple[Change, ...]
    by_rule: dict[str, int]
    judged: int
    approval_milli: int | None
    coverage_milli: int | None
    expected_approval_milli: int | None
    samples: int
    costs: tuple[Costs, ...]
    cost_coverage_milli: int | None


class RoutingReplay:
    """Adds payments up, the oldest first; `candidates` are the providers under the new rules."""

    def __init__(self, routing: Routing, candidates: Sequence[Candidate]) -> None:
        self._routing = routing
        self._candidates = candidates
        self._rates = SuccessRates(routing.window)
        self._counts: Counter[str] = Counter()
        self._changes: Counter[tuple[str, str]] = Counter()
        self._by_rule: Counter[str] = Counter()
        self._covered_milli = 0
        self._weights = self._weights_squared = self._weighted_approvals = 0.0
        self._costs: dict[str, list[int]] = {}

    def add(self, payment: Payment) -> None:
        """Judge one payment that was made; one that was blocked, and never routed, is left out."""
        attempts = [call for call in payment.calls if call.charges]
        if not attempts:
            return
        first = attempts[0]
        facts = facts_kept(payment)
        self._counts["payments"] += 1
        if _undecided(self._routing, facts):
            self._counts["undecided"] += 1
            return
        decision = decide(self._routing, facts, self._candidates, rate=self._rates.milli)
        now = NOBODY if decision is None else decision.route.order[0]
        rule = "" if decision is None else decision.route.rule or ""
        self._by_rule[rule or "(by priority)"] += decision is not None
        self._counts["refused"] += decision is None
        if now != first.provider:
            self._changes[first.provider, now] += 1
        self._judge(payment.route, first, _NO_CHANCE if decision is None else decision.chances)
        verdict = _verdict(first)
        if verdict is not None:
            # As if the new rules had been in force, and had heard what was heard.
            self._rates.learn(rule, first.provider, approved=verdict == "approved")
        if verdict == "approved" and decision is not None:
            self._cost(facts, was=first.provider, now=now)

    def report(self) -> Report:
        """What was found so far."""
        counts = self._counts
        judged = counts["judged"]
        approved = counts["approved"]
        known = self._weights > 0
        return Report(
            payments=counts["payments"],
            undecided=counts["undecided"],
            refused=counts["refused"],
            changed=sum(self._changes.values()),
            changes=tuple(
                Change(was=was, now=now, payments=payments)
                for (was, now), payments in sorted(
                    self._changes.items(), key=lambda item: (-item[1], item[0])
                )
            ),
            by_rule=dict(sorted(self._by_rule.items())),
            judged=judged,
            approval_milli=MILLI * approved // judged if judged else None,
            coverage_milli=self._covered_milli // judged if judged else None,
            expected_approval_milli=(
                round(MILLI * self._weighted_approvals / self._weights) if known else None
            ),
            samples=round(self._weights**2 / self._weights_squared) if known else 0,
            costs=tuple(
                Costs(currency=currency, payments=payments, was_micro=was, now_micro=now)
                for currency, (payments, was, now) in sorted(self._costs.items())
            ),
            cost_coverage_milli=MILLI * counts["costed"] // approved if approved else None,
        )

    def _judge(self, route: Route | None, first: Call, chances: Mapping[str, int]) -> None:
        verdict = _verdict(first)
        if verdict is None:
            return
        self._counts["judged"] += 1
        self._counts["approved"] += verdict == "approved"
        # Before routes were recorded there was one order, and no chance in it.
        was_milli = MILLI if route is None else max(1, route.share_milli)
        chance = chances.get(first.provider, 0)
        # What went by chance speaks, over many payments, for each target that had one.
        spoken_of = {first.provider} if route is None or was_milli == MILLI else {*route.order}
        self._covered_milli += sum(chances.get(provider, 0) for provider in spoken_of)
        weight = chance / was_milli
        self._weights += weight
        self._weights_squared += weight * weight
        self._weighted_approvals += weight * (verdict == "approved")

    def _cost(self, facts: Facts, *, was: str, now: str) -> None:
        costs = self._routing.costs
        was_micro = cost_micro(costs.get(was), facts.amount)
        now_micro = cost_micro(costs.get(now), facts.amount)
        if was_micro is None or now_micro is None:
            return
        self._counts["costed"] += 1
        sums = self._costs.setdefault(facts.amount.currency, [0, 0, 0])
        for place, more in enumerate((1, was_micro, now_micro)):
            sums[place] += more


def _undecided(routing: Routing, facts: Facts) -> bool:
    """Whether a rule that may be the first to fit asks for digits that were not kept."""
    for rule in routing.rules:
        if fits(rule.when, facts):
            return False
        kept = facts.bin or ""
        longer = any(prefix.startswith(kept) and prefix != kept for prefix in rule.when.bin)
        has_number = facts.created.method.last4 is not None
        if longer and has_number:
            without = msgspec.structs.replace(rule.when, bin=())
            if fits(without, facts):
                return True
    return False


def _verdict(call: Call) -> Verdict | None:
    if call.state == "approved":
        return "approved"
    if call.state == "declined" and call.declined is not None and call.declined not in _NO_VERDICT:
        return "declined"
    return None
