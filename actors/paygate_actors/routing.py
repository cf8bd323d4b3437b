"""Decides where a new payment goes: the first rule that fits, its targets, and their order. Pure.

The same payment, rules, candidates and rates give the same route: what looks like chance is a hash
of the payment's id, so that a decision can be made again and looked at. Only candidates that can
do exactly what is asked are put in order; of those, providers that do badly come last, and none is
ever dropped for doing badly: a bad chance is better than none.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.card import SealedCard
from paygate_actors.credential_use import step_up_of, unfit
from paygate_actors.messages import FraudCheck, MethodView, RiskLevel
from paygate_actors.money import Money
from paygate_actors.payment_methods import CARD_KINDS
from paygate_actors.providers.base import Capabilities
from paygate_actors.record import Payment
from paygate_actors.route import Aside, Behind, LeftOut, Route
from paygate_actors.route_order import MILLI, Rate, ordered
from paygate_actors.routing_config import Routing, Rule, When

# What is recorded of a card's number beside its last four digits.
BIN_DIGITS: Final = 6
# Issuers' numbers are six to eight digits long: rules may name as many.
BIN_MATCHED: Final = 8
# Providers are tried by their priority where no rule fits.
_BY_PRIORITY: Final = Rule(name="")


class Facts(Struct, frozen=True, kw_only=True, gc=False):
    """What a decision may know of a payment. `bin`: as many first digits as are known."""

    payment_id: str
    created: e.PaymentCreated
    risk: RiskLevel = "low"
    score_milli: int = 0
    bin: str | None = None

    @property
    def amount(self) -> Money:
        """What is to be charged."""
        return Money(self.created.amount_minor, self.created.currency)

    @property
    def pin(self) -> str | None:
        """The only provider that may have it, where the merchant or the credential says so."""
        return self.created.provider_pin


class Candidate(Struct, frozen=True, kw_only=True, gc=False):
    """A provider as it stands now; lower `priority` goes first. `behind`: it does badly."""

    id: str
    can: Capabilities
    active: bool = True
    accepts_charges: bool = True
    priority: int = 100
    weight: int = 1
    behind: Behind | None = None


def facts_of(
    payment_id: str, created: e.PaymentCreated, check: FraudCheck, card: SealedCard | None
) -> Facts:
    """What there is to know of a payment that is about to be made."""
    return Facts(
        payment_id=payment_id,
        created=created,
        risk=check.risk_level,
        score_milli=check.score_milli,
        bin=None if card is None else card.reveal()[0][:BIN_MATCHED],
    )


def facts_kept(payment: Payment) -> Facts:
    """What is still known of a payment that was made: of the card's number, what was kept."""
    fraud = payment.fraud
    return Facts(
        payment_id=payment.id,
        created=payment.created,
        risk="low" if fraud is None else fraud.risk_level,
        score_milli=0 if fraud is None else fraud.score_milli,
        bin=None if payment.route is None else payment.route.bin,
    )


class Decision(Struct, frozen=True, kw_only=True, gc=False):
    """A route, and how many of a thousand payments like this one would begin where."""

    route: Route
    chances: Mapping[str, int]


def decide(
    routing: Routing,
    facts: Facts,
    candidates: Sequence[Candidate],
    *,
    rate: Rate,
    digest: str = "",
) -> Decision | None:
    """Where this payment goes; None: nobody takes it. `digest` names the rules."""
    rule = next((rule for rule in routing.rules if fits(rule.when, facts)), _BY_PRIORITY)
    step_up = step_up_of(facts.created, by_rule=rule.three_d_secure) == "required"
    by_id = {each.id: each for each in candidates}
    named, others = _targets(rule, candidates, pin=facts.pin)
    reasons: dict[str, LeftOut | None] = {
        id_: _why_not(by_id.get(id_), facts, step_up=step_up) for id_ in named
    }
    able = [id_ for id_ in named if reasons[id_] is None]
    reserve = [id_ for id_ in others if _why_not(by_id[id_], facts, step_up=step_up) is None]
    behind: dict[str, Behind] = {each.id: each.behind for each in candidates if each.behind}
    weights = {id_: by_id[id_].weight for id_ in able}
    well, badly = (
        ordered(
            rule,
            part,
            routing=routing,
            payment_id=facts.payment_id,
            amount=facts.amount,
            weights=weights,
            rate=rate,
        )
        for part in _apart(able, behind)
    )
    well_too, badly_too = _apart(reserve, behind)
    order = (*well.order, *well_too, *badly.order, *badly_too)
    if not order:
        return None
    first = next((part for part in (well, badly) if order[0] in part.order), None)
    chances = {order[0]: MILLI} if first is None else first.chances
    return Decision(
        route=Route(
            order=order,
            by=rule.by if facts.pin is None else "pin",
            rule=rule.name or None,
            rules=digest,
            share_milli=chances[order[0]],
            explored=first is not None and first.explored,
            left_out=tuple(Aside(provider=id_, why=why) for id_, why in reasons.items() if why),
            behind=tuple(Aside(provider=id_, why=behind[id_]) for id_ in order if id_ in behind),
            bin=None if facts.bin is None else facts.bin[:BIN_DIGITS],
            three_d_secure=rule.three_d_secure,
            retry_declines=() if facts.pin else rule.retry_declines,
            retries_max=routing.retries_per_payment if rule.retry_declines and not facts.pin else 0,
        ),
        chances=chances,
    )


def fits(when: When, facts: Facts) -> bool:
    """Whether all that the rule names holds."""
    created = facts.created
    minor = created.amount_minor
    return (
        (when.amount_from is None or minor >= when.amount_from)
        and (when.amount_to is None or minor <= when.amount_to)
        and _among(when.currency, created.currency)
        and (not when.method or not _words(created.method).isdisjoint(when.method))
        and _among(when.brand, created.method.brand)
        and _among(when.country, None if created.billing is None else created.billing.country)
        and _among(when.merchant, created.merchant)
        and _among(when.risk, facts.risk)
        and (not when.bin or (facts.bin or "").startswith(when.bin))
        and (when.score_from_milli is None or facts.score_milli >= when.score_from_milli)
        and all(created.metadata.get(name) == value for name, value in when.metadata.items())
    )


def digest_of(routing: Routing) -> str:
    """A short name of these rules: the same for the same rules, whoever reads them."""
    return hashlib.blake2b(msgspec.json.encode(routing, order="sorted"), digest_size=6).hexdigest()


def _among(allowed: Sequence[str], value: str | None) -> bool:
    return not allowed or value in allowed


def _words(method: MethodView) -> frozenset[str]:
    """What a rule may call it: the request's own word, and `card` whatever a card came as.

    A rule about cards is not to be escaped by another word for them. Of tokens only those of cards
    in our vault have a brand: what a provider's own token stands for, nobody here knows.
    """
    is_card = method.kind in CARD_KINDS or (method.kind == "token" and method.brand is not None)
    return frozenset({method.kind, "card"} if is_card else {method.kind})


def _targets(
    rule: Rule, candidates: Sequence[Candidate], *, pin: str | None
) -> tuple[list[str], list[str]]:
    """Whom the rule names, or all by priority; and who comes after them, if anybody does."""
    everybody = [each.id for each in sorted(candidates, key=lambda each: (each.priority, each.id))]
    if pin is not None:
        return [pin], []
    if not rule.targets:
        return everybody, []
    named = [target.provider for target in rule.targets]
    others = [id_ for id_ in everybody if id_ not in named] if rule.otherwise == "any" else []
    return named, others


def _why_not(candidate: Candidate | None, facts: Facts, *, step_up: bool) -> LeftOut | None:
    if candidate is None:
        return "not_configured"
    can = candidate.can
    if not candidate.active:
        return "inactive"
    if not candidate.accepts_charges:
        return "no_charges"
    if can.currencies is not None and facts.amount.currency not in can.currencies:
        return "currency"
    if not can.takes(facts.amount):
        return "amount"
    return unfit(facts.created, can, step_up="required" if step_up else "automatic")


def _apart(order: list[str], behind: Mapping[str, Behind]) -> tuple[list[str], list[str]]:
    """Those that do well, and those that do badly; in the same order."""
    if not behind:
        return order, []
    badly = [id_ for id_ in order if id_ in behind]
    return [id_ for id_ in order if id_ not in behind], badly
