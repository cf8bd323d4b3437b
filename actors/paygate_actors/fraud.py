"""The fraud actor: scores payments and counts how often who has paid.

It answers within one message and waits for nobody. When it does not answer in time, a payment is
scored by `FraudRules.static_check` in its own decision: the till stays open, the lists and the
rules about card and amount still hold, velocity does not, and the check says `static_only`.
"""

from msgspec import Struct

from paygate_actors.config import Fraud
from paygate_actors.fraud_rules import FraudRules
from paygate_actors.messages import FraudCheck, ScoreRequest
from paygate_actors.scorer import Scorer
from paygate_engine.actor import LoopActor, Parent, handles
from paygate_engine.system import ActorSystem


class Score(Struct, frozen=True, kw_only=True):
    """Ask for a `FraudCheck`. Without a `transaction_id` it is a check only, and not counted."""

    request: ScoreRequest
    transaction_id: str | None


class FraudActor(LoopActor):
    """Answers `Score` with a `FraudCheck`, on the system's clock."""

    __slots__ = ("_scorer",)

    def __init__(
        self,
        system: ActorSystem,
        key: str,
        config: Fraud,
        rules: FraudRules,
        *,
        parent: Parent | None = None,
    ) -> None:
        super().__init__(system, key, parent)
        self._scorer = Scorer(config, rules)

    @handles(Score)
    def on_score(self, message: Score) -> FraudCheck:
        """Score, and count what is a payment. Waits for nothing, so it is no coroutine."""
        now_us = self.system.clock.now_us()
        return self._scorer.check(
            message.request, transaction_id=message.transaction_id, now_us=now_us
        )
