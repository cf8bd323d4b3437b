"""What routing rules and the use of providers must be, alone and with the providers that there are.

A rule that can never do what it says is a fault, not a surprise at the first payment.
"""

import re
from collections.abc import Iterator
from typing import get_args

from paygate_actors.address import countries
from paygate_actors.brands import Brand
from paygate_actors.config import Config
from paygate_actors.decline_codes import DECLINE_CODES
from paygate_actors.money import currencies
from paygate_actors.payment_methods import METHOD_KINDS
from paygate_actors.routing import BIN_MATCHED
from paygate_actors.routing_config import (
    CONCURRENCY_MAX,
    PRIORITY_MAX,
    RULES_MAX,
    SOFT_DECLINES,
    TARGETS_MAX,
    WEIGHT_MAX,
    WINDOW_MAX,
    Cost,
    Rule,
    When,
)

_BIN = re.compile(rf"[0-9]{{1,{BIN_MATCHED}}}")
_MILLI = 1_000
_MILLION = 1_000_000
# More attempts than there are providers for one payment are not made (`ATTEMPTS_MAX`, less one).
_RETRIES_MAX = 2
_RETRIES_CARD_DAY_MAX = 1_000
_RETRIES_DAY_MAX = 100_000
_NAME_MAX = 100


def faults_of_routing(config: Config, *, with_sandbox: bool) -> Iterator[str]:
    """Every fault of `[routing]` and of the providers' figures, as a sentence.

    `with_sandbox`: the providers of the built-in sandbox are added later.
    """
    routing = config.routing
    known = {provider.id for provider in config.providers}
    known |= {"sandbox", "sandbox_backup"} if with_sandbox else set()
    yield from _figures(config)
    if len(routing.rules) > RULES_MAX:
        yield f"routing.rules: at most {RULES_MAX} rules are compared with each payment"
    names: set[str] = set()
    for index, rule in enumerate(routing.rules):
        key = f"routing.rules[{index}]"
        if not 1 <= len(rule.name) <= _NAME_MAX or not rule.name.isprintable():
            yield f"{key}.name: must be 1 to {_NAME_MAX} printable characters"
        if rule.name in names:
            yield f"{key}.name: {rule.name!r} is taken by a rule above"
        names.add(rule.name)
        yield from _rule(key, rule, known)
    for provider, cost in routing.costs.items():
        yield from _cost(f"routing.costs.{provider}", provider, cost, known)
    by_cost = [rule.name for rule in routing.rules if rule.by == "cost"]
    if by_cost and not routing.costs:
        yield f"routing.costs: the rule {by_cost[0]!r} goes by cost, and no cost is given"


def _figures(config: Config) -> Iterator[str]:
    routing = config.routing
    ranges = {
        "routing.exploration_milli": (routing.exploration_milli, 0, _MILLI),
        "routing.window": (routing.window, 1, WINDOW_MAX),
        "routing.retries_per_payment": (routing.retries_per_payment, 0, _RETRIES_MAX),
        "routing.retries_per_card_day": (
            routing.retries_per_card_day,
            1,
            _RETRIES_CARD_DAY_MAX,
        ),
        "routing.retries_per_day": (routing.retries_per_day, 1, _RETRIES_DAY_MAX),
    }
    for index, provider in enumerate(config.providers):
        key = f"providers[{index}]"
        ranges[f"{key}.priority"] = (provider.priority, 0, PRIORITY_MAX)
        ranges[f"{key}.weight"] = (provider.weight, 0, WEIGHT_MAX)
        if provider.concurrency is not None:
            ranges[f"{key}.concurrency"] = (provider.concurrency, 1, CONCURRENCY_MAX)
    for key, (value, low, high) in ranges.items():
        if not low <= value <= high:
            yield f"{key}: must be from {low} to {high}"


def _rule(key: str, rule: Rule, known: set[str]) -> Iterator[str]:
    if len(rule.targets) > TARGETS_MAX:
        yield f"{key}.targets: at most {TARGETS_MAX}"
    seen: set[str] = set()
    for place, target in enumerate(rule.targets):
        here = f"{key}.targets[{place}]"
        if target.provider not in known:
            yield f"{here}.provider: no provider has the id {target.provider!r}"
        if target.provider in seen:
            yield f"{here}.provider: {target.provider!r} is a target already"
        seen.add(target.provider)
        if target.weight is not None and not 0 <= target.weight <= WEIGHT_MAX:
            yield f"{here}.weight: must be from 0 to {WEIGHT_MAX}"
        if target.weight is not None and rule.by != "weight":
            yield f'{here}.weight: means something only with by = "weight"'
    if rule.otherwise == "any" and not rule.targets:
        yield f"{key}.otherwise: a rule without targets goes to any provider already"
    yield from _when(f"{key}.when", rule.when)
    yield from _retries(f"{key}.retry_declines", rule)


def _when(key: str, when: When) -> Iterator[str]:
    low, high = when.amount_from, when.amount_to
    if (low, high) != (None, None) and len(when.currency) != 1:
        yield f"{key}: amounts are minor units of one currency: name exactly one"
    if (low or 0) < 0 or (high is not None and high < (low or 1)):
        yield f"{key}.amount_to: amounts are from 0, and the upper one not below the lower"
    for currency in when.currency:
        if currency not in currencies():
            yield f"{key}.currency: {currency!r} is no currency"
    for country in when.country:
        if country not in countries():
            yield f"{key}.country: {country!r} is no country: an ISO 3166-1 code, as in DE or US"
    yield from _words(f"{key}.method", when.method, METHOD_KINDS)
    yield from _words(f"{key}.brand", when.brand, get_args(Brand))
    for prefix in when.bin:
        if not _BIN.fullmatch(prefix):
            yield f"{key}.bin: must be 1 to {BIN_MATCHED} digits"
    if when.score_from_milli is not None and not 0 <= when.score_from_milli <= _MILLI:
        yield f"{key}.score_from_milli: must be from 0 to {_MILLI}"


def _words(key: str, given: tuple[str, ...], known: tuple[str, ...]) -> Iterator[str]:
    for word in given:
        if word not in known:
            yield f"{key}: {word!r} fits no payment: it is one of {', '.join(known)}"


def _retries(key: str, rule: Rule) -> Iterator[str]:
    for code in rule.retry_declines:
        if code in SOFT_DECLINES:
            continue
        known = DECLINE_CODES.get(code)
        if known is None:
            yield f"{key}: there is no decline code {code!r}"
        elif known.kind == "hard":
            yield f"{key}: {code!r} is a hard decline, and is never tried again"
        elif known.kind == "retryable":
            yield f"{key}: {code!r} goes elsewhere without a rule"
        else:
            yield f"{key}: only the payer can help against {code!r}: no other provider can"


def _cost(key: str, provider: str, cost: Cost, known: set[str]) -> Iterator[str]:
    if provider not in known:
        yield f"{key}: no provider has this id"
    if not 0 <= cost.rate_ppm <= _MILLION:
        yield f"{key}.rate_ppm: must be from 0 to {_MILLION} (a million is the whole)"
    for currency, minor in cost.fixed_minor.items():
        if currency not in currencies():
            yield f"{key}.fixed_minor: {currency!r} is no currency"
        if not 0 <= minor <= _MILLION:
            yield f"{key}.fixed_minor.{currency}: must be from 0 to {_MILLION}"
