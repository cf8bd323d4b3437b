"""Rules about where payments go, as an operator writes them; what they decide is `routing`.

Amounts are minor units, shares are thousandths. Lists are alternatives; what is left out does not
matter; all that is named must hold.
"""
# ruff: noqa: RUF012
# msgspec gives each Struct an empty table of its own; ruff does not see that a Section is one.

from typing import Final, Literal

from paygate_actors.decline_codes import DECLINE_CODES
from paygate_actors.section import Section

Order = Literal["priority", "weight", "success_rate", "cost"]

# Beyond these a number is a slip; connections are files, of which a process has some 65,000.
PRIORITY_MAX: Final = 1_000_000
WEIGHT_MAX: Final = 1_000_000
CONCURRENCY_MAX: Final = 10_000
# A payment is compared with every rule: more is a program and no list.
RULES_MAX: Final = 500
TARGETS_MAX: Final = 50
# Enough to tell a good provider from luck, few enough to notice within minutes what changed.
WINDOW_MAX: Final = 10_000
# What the issuer decides by the way that the request took, or may decide anew: another provider
# may hear another answer. Wrong digits, another card's business and what the payer said himself
# are the same everywhere.
SOFT_DECLINES: Final = frozenset(
    {
        "call_issuer",
        "card_currency_not_supported",
        "card_declined",
        "card_not_supported",
        "do_not_honor",
        "insufficient_funds",
        "limit_exceeded",
        "transaction_not_permitted",
    }
)
assert all(DECLINE_CODES[code].kind == "needs_payer" for code in SOFT_DECLINES)


class When(Section, frozen=True, kw_only=True):
    """Which payments a rule is for. Amounts need exactly one currency to mean anything.

    `method`: as in the request (`wallet`, `token`...); `card` is every card, by whatever word or
    token of ours it comes. `brand`: of the card. `bin`: its first digits. `country`: of the billing
    address. `metadata`: these fields with these values. `risk`: the
    fraud check's level; `score_from_milli`: its score or more.
    """

    amount_from: int | None = None
    amount_to: int | None = None
    currency: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    bin: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    merchant: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    risk: tuple[Literal["low", "medium", "high"], ...] = ()
    score_from_milli: int | None = None


class Target(Section, frozen=True, kw_only=True):
    """A provider that a rule sends payments to; `weight` None: the provider's own."""

    provider: str
    weight: int | None = None


class Rule(Section, frozen=True, kw_only=True):
    """Where payments like these go. The first rule that fits decides.

    `targets`: none for all providers. `by`: how they are put in order; by priority a list goes as
    it stands. `otherwise`: when no target takes the payment, it is refused (`no_provider`), or any
    other provider may have it. `three_d_secure`: the payer must prove who he is.
    `retry_declines`: soft declines that the next target may be asked about.
    """

    name: str
    when: When = When()
    targets: tuple[Target, ...] = ()
    by: Order = "priority"
    otherwise: Literal["refuse", "any"] = "refuse"
    three_d_secure: bool = False
    retry_declines: tuple[str, ...] = ()


class Cost(Section, frozen=True, kw_only=True):
    """What a provider takes for a charge: parts per million of it, and a fixed sum by currency.

    A currency that is not named has no known cost where others have a fixed sum.
    """

    rate_ppm: int = 0
    fixed_minor: dict[str, int] = {}


class Routing(Section, frozen=True, kw_only=True):
    """All rules, in their order; without any, providers are tried by their priority.

    `exploration_milli`: of the payments that go by success rate, how many try another target.
    `window`: how many of the newest charges of a target its success rate is taken from.
    `retries_per_payment`, `retries_per_card_day`, `retries_per_day`: how often a soft decline is
    tried elsewhere; a day is any 24 hours.
    """

    rules: tuple[Rule, ...] = ()
    costs: dict[str, Cost] = {}
    exploration_milli: int = 50
    window: int = 200
    retries_per_payment: int = 1
    retries_per_card_day: int = 3
    retries_per_day: int = 10_000
