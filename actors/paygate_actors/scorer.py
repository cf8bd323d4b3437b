"""The fraud rules and the velocity windows together, without an actor around them."""

from collections import OrderedDict

from paygate_actors.config import Fraud
from paygate_actors.fraud_rules import FraudRules, check_of
from paygate_actors.messages import FraudCheck, ScoreRequest
from paygate_actors.velocity import Excess, Velocity

# A payment asks again when its first ask was lost or it restarted, seconds later at most; at two
# thousand payments a second this remembers the last five seconds.
REMEMBERED_MAX = 10_000


class Scorer:
    """The rules and the windows together. A transaction is scored once: asking again finds it."""

    def __init__(self, config: Fraud, rules: FraudRules) -> None:
        self._rules = rules
        self._velocity = Velocity(config) if config.velocity else None
        self._remembered: OrderedDict[str, FraudCheck] = OrderedDict()

    def check(
        self, request: ScoreRequest, *, transaction_id: str | None, now_us: int
    ) -> FraudCheck:
        """Score a payment, and count it unless it has no transaction or was scored before."""
        known = None if transaction_id is None else self._remembered.get(transaction_id)
        if known is not None:
            return known
        excess = Excess()
        if self._velocity is not None:
            excess = self._velocity.excess(request, now_us=now_us)
        verdict = self._rules.score(request, excess)
        check = check_of(verdict, transaction_id=transaction_id, now_us=now_us)
        if transaction_id is not None:
            if self._velocity is not None:
                self._velocity.count(request, now_us=now_us)
            self._remember(transaction_id, check)
        return check

    def _remember(self, transaction_id: str, check: FraudCheck) -> None:
        self._remembered[transaction_id] = check
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
