"""Does the simulator bite? Classic bugs, planted one at a time in the real code, must all fall.

None of them ships. Each is a patch of the code path that it is about; what finds it is a promise
that every world is held to, never a check made for it. `-s` prints after how many seeds it fell.
"""

# A planted bug reaches into what it breaks, and lambdas stand in for what they replace.
# pyright: reportPrivateUsage=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from paygate_actors import charging, facts, operating, payment, payment_core
from paygate_actors.draft import Context, Draft
from paygate_actors.inbox import Inbox, Stored
from paygate_actors.outcomes import Approved, Declined, Outcome, Prepared, Unknown
from paygate_actors.payment import PaymentActor
from paygate_actors.pool import ProviderPool
from paygate_actors.pool_messages import Answered, Perform
from paygate_actors.projection import INBOX
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_actors.pursuer import Pursuer
from paygate_actors.pursuit import Pursuit
from paygate_actors.record import Call
from paygate_actors.simulation.faults import options_of
from paygate_actors.simulation.sweep import live
from paygate_actors.states import TRANSITIONS
from paygate_engine.cell import Cell
from paygate_engine.chain import Chain
from paygate_engine.journal import Journal
from paygate_engine.stores.base import Done, Unit
from paygate_http.simulated_door import EdgeDoors

Patch = Callable[[pytest.MonkeyPatch], None]

# Seeds that a bug is hunted for here; 2,000 is what none may survive.
SEEDS_MAX = 400

DECLINED = Declined(code="processing_error", retryable=True)


def acknowledge_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    async def eager(self: Any, chain: Chain, group: Sequence[Any]) -> None:
        self._answer(group, [None] * len(group))
        await self._commit(chain, [unit for unit, _ in group], [None] * len(group))

    patch.setattr(Journal, "_write_group", eager)


def new_provider_key_on_retry(patch: pytest.MonkeyPatch) -> None:
    known = ProviderPool._call
    sent: set[str] = set()

    async def call(self: Any, job: Any) -> Outcome | Prepared:
        if isinstance(job, Perform):
            again = job.key in sent
            sent.add(job.key)
            if again:
                job = replace(job, key=job.key + "r")
        return await known(self, job)

    patch.setattr(ProviderPool, "_call", call)


def refund_limit_checked_per_call_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(operating, "left_to_refund", lambda payment: payment.captured_minor)


def results_matched_by_amount(patch: pytest.MonkeyPatch) -> None:
    known = PaymentActor.box_table[Answered]

    def by_amount(actor: Any, message: Answered) -> object:
        meant = actor.payment.call(message.key)
        said = message.outcome
        if isinstance(said, Approved) and meant is not None:
            for call in actor.payment.calls:
                if call.unresolved and call.amount_minor == said.amount.minor:
                    message = replace(message, key=call.key)
                    break
        return known(actor, message)

    patch.setitem(PaymentActor.box_table, Answered, by_amount)


def webhook_moves_a_payment_backwards(patch: pytest.MonkeyPatch) -> None:
    def again(draft: Draft, call: Call, said: Approved, ctx: Context) -> None:
        draft.approve(
            call,
            provider_txn_id=said.provider_txn_id,
            minor=said.amount.minor,
            currency=said.amount.currency,
            captured=said.captured,
        )
        charging.announce(draft, ctx)

    patch.setattr(charging, "_approved_again", again)
    patch.setitem(TRANSITIONS["success"], "authorized", "authorized")


def deduplication_recorded_after_the_effect(patch: pytest.MonkeyPatch) -> None:
    known = operating._replay

    def late(subject: Any, key: Any, type_: Any, asked: Any, ctx: Context) -> Any:
        settled = tuple(txn for txn in subject.txns if txn.status != "pending")
        return known(replace(subject, txns=settled), key, type_, asked, ctx)

    patch.setattr(operating, "_replay", late)


def key_claimed_after_the_payment_is_stored(patch: pytest.MonkeyPatch) -> None:
    known = PaymentActor._commit

    def commit(self: Any, *args: Any, claim: Any = None, **options: Any) -> object:
        done = known(self, *args, **options)
        if claim is not None:

            def later(_: object) -> None:
                self.parent.recorder.append(Unit(claims=(claim,)), lambda _: None)

            self.system.after(0.05, later, None)
        return done

    patch.setattr(PaymentActor, "_commit", commit)


def failover_after_a_time_out(patch: pytest.MonkeyPatch) -> None:
    known = charging.charge_said

    def said(draft: Draft, call: Call, outcome: Outcome, ctx: Context) -> None:
        timed_out = isinstance(outcome, Unknown) and outcome.reason == "timeout"
        known(draft, call, DECLINED if timed_out else outcome, ctx)

    patch.setattr(facts, "charge_said", said)


def failed_batch_ignored_for_one_waiter(patch: pytest.MonkeyPatch) -> None:
    known = Journal._answer

    def answer(self: Any, group: Any, answers: Any) -> None:
        told = list(answers)
        if told and isinstance(told[-1], Exception):
            told[-1] = None
        known(self, group, told)

    patch.setattr(Journal, "_answer", answer)


def lost_wake_up(patch: pytest.MonkeyPatch) -> None:
    known = Cell._ready

    def ready(self: Any) -> None:
        # The one who comes while exactly two wait believes that somebody else has rung.
        if self.box_queue is None or len(self.box_queue) != 2:
            known(self)

    patch.setattr(Cell, "_ready", ready)


def audit_outside_the_transaction(patch: pytest.MonkeyPatch) -> None:
    known = payment_core.unit

    def unit(*args: Any, **options: Any) -> Unit:
        return replace(known(*args, **options), audit=())

    patch.setattr(payment_core, "unit", unit)


def recovery_re_sends_without_asking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pursuit, "next_step", lambda self, call, can, *, now_us: "send")


def time_out_reported_as_failed(patch: pytest.MonkeyPatch) -> None:
    known = charging.charge_said

    def said(draft: Draft, call: Call, outcome: Outcome, ctx: Context) -> None:
        timed_out = isinstance(outcome, Unknown) and outcome.reason == "timeout"
        known(draft, call, Declined(code="timeout") if timed_out else outcome, ctx)

    patch.setattr(facts, "charge_said", said)


def parked_webhook_forgotten(patch: pytest.MonkeyPatch) -> None:
    known = Inbox._deliver

    async def deliver(
        self: Any, item_id: str, stored: Stored, since_us: int, full: set[str]
    ) -> None:
        if await self._payment_of(stored) is None:
            done = Done(queue=INBOX, id=item_id, at_us=since_us)
            self._journal.append(Unit(done=(done,)), lambda _: None)
            return
        await known(self, item_id, stored, since_us, full)

    patch.setattr(Inbox, "_deliver", deliver)


def not_found_taken_for_not_charged(patch: pytest.MonkeyPatch) -> None:
    known = SandboxProvider.find

    async def find(self: Any, key: str) -> Outcome:
        found = await known(self, key)
        unseen = isinstance(found, Unknown) and found.reason == "not_visible"
        return Declined(code="not_found") if unseen else found

    patch.setattr(SandboxProvider, "find", find)


def late_success_on_a_cancelled_payment_dropped(patch: pytest.MonkeyPatch) -> None:
    known = charging._approved

    def approved(draft: Draft, call: Call, said: Approved, ctx: Context) -> None:
        if draft.payment.status not in ("failed", "cancelled"):
            known(draft, call, said, ctx)

    patch.setattr(charging, "_approved", approved)


def confirm_before_the_id_is_journalled(patch: pytest.MonkeyPatch) -> None:
    known = PaymentActor.box_table[Answered]

    def eager(actor: Any, message: Answered) -> object:
        call = actor.payment.call(message.key)
        made = message.outcome
        if isinstance(made, Prepared) and call is not None and call.unprepared and actor._pursuer:
            named = replace(call, prepared_id=made.provider_txn_id)
            pursuit = actor._pursuer._of(call.key)
            assert pursuit is not None
            actor._pursuer._send(actor.payment, named, pursuit)
        return known(actor, message)

    patch.setitem(PaymentActor.box_table, Answered, eager)


def failover_although_it_could_still_be_confirmed(patch: pytest.MonkeyPatch) -> None:
    def given_up(draft: Draft, call: Call, ctx: Context) -> None:
        charging.charge_said(draft, call, charging.NOT_CONFIRMED, ctx)

    patch.setattr(payment, "give_up", given_up)


def sent_again_without_a_key(patch: pytest.MonkeyPatch) -> None:
    def may_send(self: Pursuit, call: Call, can: Any, *, now_us: int) -> bool:
        return call.state == "open" and not self.arrived

    patch.setattr(Pursuit, "may_send", may_send)


def sleeper_that_nobody_wakes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pursuer, "turn_comes_later", lambda self, key: True)


BUGS: tuple[Patch, ...] = (
    acknowledge_before_the_sync,
    new_provider_key_on_retry,
    refund_limit_checked_per_call_only,
    results_matched_by_amount,
    webhook_moves_a_payment_backwards,
    deduplication_recorded_after_the_effect,
    key_claimed_after_the_payment_is_stored,
    failover_after_a_time_out,
    failed_batch_ignored_for_one_waiter,
    lost_wake_up,
    audit_outside_the_transaction,
    recovery_re_sends_without_asking,
    time_out_reported_as_failed,
    parked_webhook_forgotten,
    not_found_taken_for_not_charged,
    late_success_on_a_cancelled_payment_dropped,
    confirm_before_the_id_is_journalled,
    failover_although_it_could_still_be_confirmed,
    sent_again_without_a_key,
    sleeper_that_nobody_wakes,
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_falls(bug: Patch, monkeypatch: pytest.MonkeyPatch):
    bug(monkeypatch)

    for seed in range(1, SEEDS_MAX + 1):
        breach = live(options_of(seed, nodes=1), doors=EdgeDoors).breach
        if breach is not None:
            print(f"{bug.__name__}: fell at seed {seed}: {breach.promise}")  # noqa: T201 - the table
            return
    pytest.fail(f"{bug.__name__} survived {SEEDS_MAX} seeds")
