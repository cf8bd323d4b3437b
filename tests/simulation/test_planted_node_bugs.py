"""Does the simulator bite where there are several nodes? Bugs of theirs, planted, must all fall.

As in `test_planted_bugs.py`: none ships, each is a patch of the code path that it is about, and it
falls to a promise that every world is held to. `-s` prints after how many worlds.
"""

# A planted bug reaches into what it breaks, and lambdas stand in for what they replace.
# pyright: reportPrivateUsage=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

import math
from collections.abc import Callable
from typing import Any

import pytest

from paygate_actors import payment_core, tallying
from paygate_actors.charging import charge_said
from paygate_actors.draft import Context, Draft
from paygate_actors.house import House
from paygate_actors.idempotency import ClaimDesk
from paygate_actors.outcomes import Declined
from paygate_actors.payment import PaymentActor
from paygate_actors.pool import ProviderPool
from paygate_actors.record import Call
from paygate_actors.simulation import wire
from paygate_actors.simulation.faults import NODES_MAX, options_of
from paygate_actors.simulation.sweep import live
from paygate_engine.clock import US_PER_S
from paygate_engine.membership import Membership
from paygate_engine.stores import rules
from paygate_engine.stores.memory_seats import MemorySeats
from paygate_engine.stores.shared import Beat
from paygate_engine.stores.shared_memory import MemoryCluster
from paygate_http.simulated_door import EdgeDoors

Patch = Callable[[pytest.MonkeyPatch], None]

# Seeds that a bug is hunted for here.
SEEDS_MAX = 200

DECLINED = Declined(code="processing_error", retryable=True)


def no_epoch_check_in_commit(patch: pytest.MonkeyPatch) -> None:
    known = MemoryCluster.commit

    def commit(self: MemoryCluster, *group: Any) -> Any:
        with pytest.MonkeyPatch.context() as unchecked:
            unchecked.setattr(MemorySeats, "living", lambda *_: None)
            return known(self, *group)

    patch.setattr(MemoryCluster, "commit", commit)


def others_leases_judged_by_the_own_wall_clock(patch: pytest.MonkeyPatch) -> None:
    known = Membership._bury
    wall_us: dict[int, int] = {}

    async def bury(self: Any) -> frozenset[int]:
        wall_us[self.epoch] = self._clock.beneath.now_us()
        return await known(self)

    def buried(self: Any, epoch: int) -> list[int]:
        late = [
            each
            for each in self._sitters
            if not each.over and each.epoch != epoch and self._is_late(each, wall_us[epoch])
        ]
        for sitter in late:
            sitter.over = "buried"
        return [sitter.epoch for sitter in late]

    patch.setattr(Membership, "_bury", bury)
    patch.setattr(MemorySeats, "bury", buried)


def the_own_lease_judged_by_the_own_wall_clock(patch: pytest.MonkeyPatch) -> None:
    known = Membership._take_in

    def take_in(self: Any, beat: Beat, sent_s: float) -> None:
        self.sent_us = self._clock.beneath.now_us()
        known(self, beat, sent_s)

    def may_act(self: Any) -> bool:
        passed_us = self._clock.beneath.now_us() - self.sent_us
        return self._act_until_s > -math.inf and passed_us / US_PER_S < self._acts_s

    patch.setattr(Membership, "_take_in", take_in)
    patch.setattr(Membership, "may_act", property(may_act))


def adoption_without_asking_first(patch: pytest.MonkeyPatch) -> None:
    known = payment_core.take_up

    def not_made(draft: Draft, call: Call) -> None:
        if call.charges and call.state == "open" and call.epoch != draft.epoch:
            ctx = Context(now_us=draft.at_us, epoch=draft.epoch)
            charge_said(draft, call, DECLINED, ctx)
        else:
            known(draft, call)

    patch.setattr(payment_core, "take_up", not_made)


def what_is_adopted_is_sent_again_at_once(patch: pytest.MonkeyPatch) -> None:
    known = PaymentActor._moved_on

    def moved_on(self: Any, draft: Draft, card: Any) -> None:
        known(self, draft, card)
        for call in draft.payment.calls:
            before = None if draft.before is None else draft.before.call(call.key)
            adopted = before is not None and before.epoch != call.epoch
            if adopted and call.state == "open" and not call.unprepared and self._pursuer:
                pursuit = self._pursuer._of(call.key)
                assert pursuit is not None
                self._pursuer._send(draft.payment, call, pursuit)

    patch.setattr(PaymentActor, "_moved_on", moved_on)


def key_looked_up_instead_of_claimed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClaimDesk, "is_fresh", lambda self, name: False)
    patch.setattr(rules, "may_take", lambda claim, holder: True)


def decided_on_the_old_state(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PaymentActor, "_may_be_behind", lambda self: False)


def a_newer_epoch_taken_for_dead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Membership, "lives", lambda self, epoch: epoch in self.live)


def sent_though_the_lease_may_be_over(patch: pytest.MonkeyPatch) -> None:
    def may_start(self: ProviderPool) -> bool:
        return self.running < self.health.concurrency and not self.health.quiet_s

    patch.setattr(ProviderPool, "_may_start", may_start)
    patch.setattr(wire, "may_leave", lambda: True)


def every_node_follows_every_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(House, "elsewhere", lambda self, call: False)


def the_dead_are_adopted_by_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryCluster, "adopt", lambda self, epoch, limit: [])


def tallies_forget_what_a_bank_took_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tallying, "disputed", lambda payment: 0)


BUGS: tuple[Patch, ...] = (
    no_epoch_check_in_commit,
    others_leases_judged_by_the_own_wall_clock,
    the_own_lease_judged_by_the_own_wall_clock,
    adoption_without_asking_first,
    what_is_adopted_is_sent_again_at_once,
    key_looked_up_instead_of_claimed,
    decided_on_the_old_state,
    a_newer_epoch_taken_for_dead,
    sent_though_the_lease_may_be_over,
    every_node_follows_every_call,
    the_dead_are_adopted_by_nobody,
    tallies_forget_what_a_bank_took_back,
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_of_several_nodes_falls(bug: Patch, monkeypatch: pytest.MonkeyPatch):
    bug(monkeypatch)

    for seed in range(1, SEEDS_MAX + 1):
        options = options_of(seed, nodes=2 + seed % (NODES_MAX - 1))
        breach = live(options, doors=EdgeDoors).breach
        if breach is not None:
            print(f"{bug.__name__}: fell at seed {seed}: {breach.promise}")  # noqa: T201 - the table
            return
    pytest.fail(f"{bug.__name__} survived {SEEDS_MAX} seeds")
