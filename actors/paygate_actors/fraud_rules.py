"""The fraud rules: facts about a payment in, a score in thousandths and its reasons out. Pure.

| factor                | adds | when                                                          |
| --------------------- | ---- | ------------------------------------------------------------- |
| `high_amount`         |  300 | worth more than `fraud.high_amount_usd_minor`                 |
| `invalid_card_number` |  500 | the number fails its length or Luhn check (cards only)        |
| `expired_card`        |  400 | the expiry is past (cards only)                               |
| `card_velocity`       |  400 | the card paid `velocity_card_max` times within the window     |
| `customer_velocity`   |  300 | so did the customer, `velocity_customer_max` times            |
| `ip_velocity`         |  200 | so did the address, `velocity_ip_max` times                   |

Whoever is on a block list (`blocked_card`, `blocked_customer`, `blocked_ip`) is blocked with the
highest score, whatever else is true. The sum is clamped to 0..1000; low is below 300, medium
below 700, high from there on; at `fraud.block_score_milli` and above a payment is blocked. A
customer on the allow list is not scored by amount and velocity (factor `allowed_customer`), but
bad cards and block lists hold.
"""

from collections.abc import Callable
from typing import NamedTuple

from paygate_actors.config import Fraud
from paygate_actors.fraud_lists import FraudLists
from paygate_actors.messages import FraudCheck, RiskLevel, ScoreRequest
from paygate_actors.money import Money
from paygate_actors.usd_rates import UsdRates
from paygate_actors.velocity import Excess

SCORE_MAX = 1_000
MEDIUM_FROM = 300
HIGH_FROM = 700

HIGH_AMOUNT = 300
INVALID_CARD_NUMBER = 500
EXPIRED_CARD = 400
CARD_VELOCITY = 400
CUSTOMER_VELOCITY = 300
IP_VELOCITY = 200


class Verdict(NamedTuple):
    """What the rules say: a score in thousandths; factors of the lists first, then by the table."""

    score_milli: int
    risk_level: RiskLevel
    factors: tuple[str, ...]
    blocked: bool


class FraudRules:
    """The configured rules, compiled once; `fingerprint` as `FraudLists` takes it.

    Raises `ValueError` that names the setting for lists or rates that are none.
    """

    def __init__(self, config: Fraud, *, fingerprint: Callable[[str], str]) -> None:
        self._config = config
        self._lists = FraudLists(config, fingerprint=fingerprint)
        self._rates = UsdRates(config.usd_rates)

    def score(self, request: ScoreRequest, excess: Excess) -> Verdict:
        """Score a payment, given which velocity limits it exceeds."""
        blocks = self._lists.blocks(request)
        trusted = self._lists.trusts(request)
        weighed: dict[str, int] = {"allowed_customer": 0} if trusted else {}
        high = self._config.high_amount_usd_minor
        if not trusted and self._rates.exceeds(request.amount, usd_minor=high):
            weighed["high_amount"] = HIGH_AMOUNT
        weighed |= _card_factors(request)
        if not trusted:
            weighed |= _velocity_factors(excess)
        score = SCORE_MAX if blocks else min(sum(weighed.values()), SCORE_MAX)
        limit = self._config.block_score_milli
        return Verdict(
            score_milli=score,
            risk_level=risk_level(score),
            factors=(*blocks, *weighed),
            blocked=bool(blocks) or (limit is not None and score >= limit),
        )

    def static_check(
        self, request: ScoreRequest, *, transaction_id: str | None, now_us: int
    ) -> FraudCheck:
        """Check without velocity, for when nobody who counts answers; the check says so."""
        verdict = self.score(request, Excess())
        return check_of(verdict, transaction_id=transaction_id, now_us=now_us, static_only=True)

    def wants_review(self, check: FraudCheck, amount: Money) -> bool:
        """Tell whether a person must decide: by score, or by amount. Both are off by default."""
        config = self._config
        if config.review_score_milli is not None and check.score_milli >= config.review_score_milli:
            return True
        return config.review_amount_usd_minor is not None and self._rates.exceeds(
            amount, usd_minor=config.review_amount_usd_minor
        )


def check_of(
    verdict: Verdict, *, transaction_id: str | None, now_us: int, static_only: bool = False
) -> FraudCheck:
    """Make the check of a verdict, as it is recorded and shown."""
    return FraudCheck(
        transaction_id=transaction_id,
        score_milli=verdict.score_milli,
        risk_level=verdict.risk_level,
        factors=verdict.factors,
        blocked=verdict.blocked,
        created_at_us=now_us,
        static_only=static_only,
    )


def risk_level(score_milli: int) -> RiskLevel:
    """Name the level of a score in thousandths."""
    if score_milli < MEDIUM_FROM:
        return "low"
    return "medium" if score_milli < HIGH_FROM else "high"


def _card_factors(request: ScoreRequest) -> dict[str, int]:
    if not request.has_card:
        return {}
    factors: dict[str, int] = {}
    if not request.number_valid:
        factors["invalid_card_number"] = INVALID_CARD_NUMBER
    if request.expired:
        factors["expired_card"] = EXPIRED_CARD
    return factors


def _velocity_factors(excess: Excess) -> dict[str, int]:
    factors: dict[str, int] = {}
    if excess.card:
        factors["card_velocity"] = CARD_VELOCITY
    if excess.customer:
        factors["customer_velocity"] = CUSTOMER_VELOCITY
    if excess.ip:
        factors["ip_velocity"] = IP_VELOCITY
    return factors
