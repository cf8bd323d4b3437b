"""How unsettled calls are followed: when asked about, when sent again, and what is dropped."""

import asyncio
import gc
import random
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from payment_cases import (
    CONFIRM,
    LATER,
    NOT_VISIBLE,
    NOW_US,
    PAYMENT_ID,
    SECOND_US,
    TIMEOUT,
    Story,
    approved,
    declined,
    succeeded,
)

from paygate_actors import events as e
from paygate_actors.among import Alone
from paygate_actors.card import SealedCard
from paygate_actors.charging import ELSEWHERE_US
from paygate_actors.house import House, Limits
from paygate_actors.outcomes import Declined, Outcome, Unknown
from paygate_actors.payment_messages import Pursue
from paygate_actors.pool_messages import Answered, LookUp, Perform, unsent
from paygate_actors.providers.base import Capabilities
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_actors.pursuer import Pursuer
from paygate_actors.pursuit import KEY_WINDOW_MARGIN_S, LOST_AFTER_S, Pursuit
from paygate_actors.record import Call, Payment
from paygate_engine.clock import ManualClock
from paygate_engine.system import ActorSystem

CARD: Final = "4242424242424242"
KEY_KNOWN: Final = Unknown(reason="key_known")
OVERLOADED: Final = Declined(code="too_many_requests", retryable=True, conclusive=False)
TURNS_MAX: Final = 200


async def sandbox_can() -> Capabilities:
    """What the sandbox's own adapter declares."""
    adapter = SandboxProvider(
        id="a",
        name="a",
        url="http://127.0.0.1:1",
        webhook_secret="whsec_cGF5Z2F0ZS1zYW5kYm94LXdlYmhvb2stc2VjcmV0",
    )
    await adapter.close()
    return adapter.capabilities


class Desk:
    """The way to providers that takes jobs down and answers none by itself."""

    def __init__(self, can: Capabilities, clock: ManualClock) -> None:
        self.can = can
        self.clock = clock
        self.order: tuple[str, ...] = ("a", "b")
        self.jobs: list[tuple[float, str, Perform | LookUp]] = []

    def routes(self, payment: Payment) -> tuple[str, ...]:
        return self.order

    def soft_retries(self, payment: Payment) -> int:
        return 0

    def learned(
        self, before: Payment | None, payment: Payment, news: Sequence[e.PaymentEvent]
    ) -> None:
        raise AssertionError("a pursuer teaches nobody")

    def submit(self, provider: str, job: Perform | LookUp) -> None:
        kind = "look_up" if isinstance(job, LookUp) else "send"
        self.jobs.append((self.clock.monotonic_s(), kind, job))

    def capabilities(self, provider: str) -> Capabilities | None:
        return self.can

    def appeared(self, provider: str, provider_txn_id: str) -> None:
        raise AssertionError("a pursuer tells no arrivals")

    def at(self, payment_id: str, at_us: int | None) -> None:
        raise AssertionError("a pursuer sets no alarms")


class Others(Alone):
    """This node is of epoch 2; the one that recorded the story, of none, lives or not."""

    __slots__ = ("other_lives",)

    epoch = 2

    def __init__(self, *, other_lives: bool) -> None:
        self.other_lives = other_lives

    def lives(self, epoch: int) -> bool:
        return epoch == self.epoch or self.other_lives


class Chase:
    """A payment and its pursuer, on a clock that the test moves."""

    def __init__(
        self,
        story: Story,
        can: Capabilities,
        card: SealedCard | None,
        nodes: "Others | None" = None,
    ) -> None:
        self.story = story
        self.clock = ManualClock(NOW_US)
        self.system = ActorSystem(
            loop=asyncio.get_running_loop(), clock=self.clock, rng=random.Random(7)
        )
        self.desk = Desk(can, self.clock)
        self.woken = 0
        self.house = House(
            system=self.system,
            limits=Limits(review_us=0, key_life_us=0, in_doubt_flag_us=0),
            providers=self.desk,
            arrivals=self.desk,
            alarm=self.desk,
            again=self._again,
            nodes=nodes,
        )
        self.pursuer = Pursuer(self.house, PAYMENT_ID, card)
        self.pursuer.follow(story.payment, story.events)

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.desk.jobs]

    @property
    def times(self) -> list[float]:
        return [at_s for at_s, _, _ in self.desk.jobs]

    def answer(self, outcome: Outcome) -> None:
        """Answer the newest job, as the payment's actor hears it."""
        _, kind, job = self.desk.jobs[-1]
        source = "look_up" if kind == "look_up" else "call"
        message = Answered(key=job.key, outcome=outcome, source=source)
        self.pursuer.heard(message)
        events = self.story.answers(job.key, outcome)
        if events:
            self.pursuer.follow(self.story.payment, events)
        else:
            self.pursuer.nothing_new(self.story.payment, message)

    async def until_next_job(self, *, within_s: float, step_s: float = 0.05) -> float:
        """Move the clock until a job is submitted; how long that took, in seconds."""
        count = len(self.desk.jobs)
        began_s = self.clock.monotonic_s()
        while len(self.desk.jobs) == count:
            assert self.clock.monotonic_s() - began_s <= within_s, "nothing was asked in time"
            self.clock.advance(step_s)
            await asyncio.sleep(0)
        return self.clock.monotonic_s() - began_s

    async def quiet_for(self, seconds: float) -> None:
        count = len(self.desk.jobs)
        self.clock.advance(seconds)
        for _ in range(TURNS_MAX):
            await asyncio.sleep(0)
        assert len(self.desk.jobs) == count

    def _again(self, told: tuple[str, Any]) -> None:
        payment_id, message = told
        self.woken += 1
        assert payment_id == PAYMENT_ID
        assert isinstance(message, Pursue)
        self.pursuer.due(self.story.payment, message.key)


@pytest.fixture
async def can() -> Capabilities:
    return await sandbox_can()


def call_of(story: Story) -> Call:
    return story.newest


async def test_a_payment_whose_call_is_settled_is_not_woken_for_it_later(can: Capabilities):
    """It has gone to sleep by then, and would be read back from the journal to do nothing."""
    chase = Chase(Story(), can, None)
    chase.answer(approved())

    await chase.quiet_for(LOST_AFTER_S + 1)

    assert chase.woken == 0


async def test_an_answer_that_settles_nothing_leaves_one_timer_and_not_two(can: Capabilities):
    chase = Chase(Story(), can, None)
    chase.answer(TIMEOUT)
    await chase.until_next_job(within_s=1.0)
    chase.answer(approved())

    await chase.quiet_for(LOST_AFTER_S + 1)

    assert chase.woken == 1


async def test_the_first_look_up_comes_within_a_second_and_later_ones_at_most_five_apart(
    can: Capabilities,
):
    chase = Chase(Story(), can, None)
    assert chase.kinds == ["send"]
    chase.answer(TIMEOUT)

    assert await chase.until_next_job(within_s=1.0) <= 1.0
    assert chase.kinds[-1] == "look_up"
    chase.answer(KEY_KNOWN)
    for _ in range(20):
        assert await chase.until_next_job(within_s=5.1) <= 5.1
        assert chase.kinds[-1] == "look_up"
        chase.answer(NOT_VISIBLE)


async def test_a_call_that_another_living_node_follows_is_neither_sent_nor_asked_about(
    can: Capabilities,
):
    chase = Chase(Story(), can, None, Others(other_lives=True))

    for _ in range(1_200):
        chase.clock.advance(0.1)
        await asyncio.sleep(0)

    assert chase.kinds == []


async def test_a_call_that_a_dead_node_followed_is_asked_about_and_not_sent_before_it_is_taken_up(
    can: Capabilities,
):
    chase = Chase(Story(), can, None, Others(other_lives=False))

    await chase.until_next_job(within_s=1.0)
    chase.answer(NOT_VISIBLE)
    await chase.until_next_job(within_s=10.0)

    assert set(chase.kinds) == {"look_up"}


async def test_asking_comes_first_and_only_what_is_not_visible_is_sent_again(can: Capabilities):
    chase = Chase(Story(), can, None)
    chase.answer(TIMEOUT)
    await chase.until_next_job(within_s=1.0)

    chase.answer(NOT_VISIBLE)

    assert chase.kinds == ["send", "look_up", "send"]
    assert len({job.key for _, _, job in chase.desk.jobs}) == 1


async def test_nothing_is_sent_before_each_answer_is_on_record_whatever_a_look_up_says(
    can: Capabilities,
):
    """What an older request was answered would be recorded behind what a newer one does."""
    chase = Chase(Story(), can, None)
    chase.answer(TIMEOUT)
    await chase.until_next_job(within_s=1.0)
    chase.answer(NOT_VISIBLE)
    key = chase.desk.jobs[-1][2].key
    refused = [Answered(key=key, outcome=declined(), source="call") for _ in range(2)]
    for each in refused:
        chase.pursuer.heard(each)
        chase.pursuer.not_written(each)
    sent = chase.kinds.count("send")

    for written in (None, *refused):
        if written is not None:
            chase.pursuer.heard(written)
        seen = Answered(key=key, outcome=NOT_VISIBLE, source="look_up")
        chase.pursuer.heard(seen)
        assert chase.kinds.count("send") == sent
        chase.pursuer.nothing_new(chase.story.payment, seen)

    assert chase.kinds.count("send") == sent + 1


@pytest.mark.parametrize("silence", [TIMEOUT, Unknown(reason="server_error")])
async def test_a_look_up_that_failed_is_no_reason_to_send_again(
    can: Capabilities, silence: Outcome
):
    chase = Chase(Story(), can, None)
    chase.answer(TIMEOUT)
    await chase.until_next_job(within_s=1.0)

    chase.answer(silence)

    assert chase.kinds == ["send", "look_up"]
    await chase.until_next_job(within_s=5.1)
    assert chase.kinds[-1] == "look_up"


@pytest.mark.parametrize("reason", ["key_known", "in_progress"])
async def test_what_is_known_to_have_arrived_is_never_sent_again(can: Capabilities, reason: Any):
    chase = Chase(Story(), can, None)
    chase.answer(TIMEOUT)
    await chase.until_next_job(within_s=1.0)
    chase.answer(NOT_VISIBLE)
    chase.answer(Unknown(reason=reason))

    for _ in range(10):
        await chase.until_next_job(within_s=5.1)
        chase.answer(NOT_VISIBLE)

    assert chase.kinds.count("send") == 2


async def test_nothing_is_sent_again_when_the_provider_may_have_forgotten_the_key(
    can: Capabilities,
):
    chase = Chase(Story(), can, None)
    chase.answer(TIMEOUT)
    await chase.until_next_job(within_s=1.0)
    chase.clock.advance(can.key_window_s - KEY_WINDOW_MARGIN_S)

    chase.answer(NOT_VISIBLE)

    assert chase.kinds.count("send") == 1
    await chase.until_next_job(within_s=5.1)
    chase.answer(NOT_VISIBLE)
    assert chase.kinds.count("send") == 1


def test_the_key_window_ends_before_the_provider_says_it_does():
    can = Capabilities(deadline_s=1, key_window_s=1_000, find_lag_s=1, ask_first_s=0.5, ask_max_s=5)
    story = Story()
    story.answers(story.charge_key, TIMEOUT)
    pursuit = Pursuit("txn_1-1", provider="a")
    edge_us = NOW_US + round((1_000 - KEY_WINDOW_MARGIN_S) * SECOND_US)

    assert pursuit.may_send(call_of(story), can, now_us=edge_us - 1)
    assert not pursuit.may_send(call_of(story), can, now_us=edge_us)


def test_a_provider_that_remembers_no_keys_is_never_sent_anything_twice():
    can = Capabilities(deadline_s=1, key_window_s=0, find_lag_s=1, ask_first_s=1, ask_max_s=5)
    story = Story()
    story.answers(story.charge_key, TIMEOUT)

    assert not Pursuit("txn_1-1", provider="a").may_send(call_of(story), can, now_us=NOW_US)


async def test_a_follow_up_that_certainly_did_nothing_is_sent_again_without_asking(
    can: Capabilities,
):
    story = succeeded()
    story.refund(100)
    chase = Chase(story, can, None)
    assert chase.kinds == ["send"]
    chase.answer(OVERLOADED)

    await chase.until_next_job(within_s=5.1)

    assert chase.kinds == ["send", "send"]


async def test_what_the_provider_takes_its_time_for_is_asked_about_when_it_said(
    can: Capabilities,
):
    chase = Chase(Story(), can, None)
    chase.answer(LATER)
    assert LATER.expected_by_us is not None
    expected_s = (LATER.expected_by_us - NOW_US) / SECOND_US

    await chase.quiet_for(expected_s * 0.89)

    waited_s = await chase.until_next_job(within_s=expected_s)
    assert waited_s <= expected_s * 0.2
    assert chase.kinds[-1] == "look_up"


async def test_who_hears_from_another_node_when_an_end_is_expected_asks_then(can: Capabilities):
    chase = Chase(Story(), can, None)
    chase.answer(TIMEOUT)
    chase.story.answers(chase.story.charge_key, LATER)

    chase.pursuer.caught_up()
    chase.pursuer.follow(chase.story.payment, ())

    assert LATER.expected_by_us is not None
    await chase.quiet_for((LATER.expected_by_us - NOW_US) / SECOND_US / 2)
    assert chase.woken == 0


async def test_a_payer_is_waited_for_and_the_lost_webhook_looked_for(can: Capabilities):
    chase = Chase(Story(), can, None)
    chase.answer(CONFIRM)

    for _ in range(12):
        await chase.until_next_job(within_s=31)
        assert chase.kinds[-1] == "look_up"
        chase.answer(CONFIRM)


async def test_an_answer_that_got_lost_inside_is_asked_about(can: Capabilities):
    chase = Chase(Story(), can, None)

    await chase.until_next_job(within_s=LOST_AFTER_S + 1)

    assert chase.kinds == ["send", "look_up"]


async def test_a_look_up_that_found_no_room_says_nothing_of_the_call(can: Capabilities):
    chase = Chase(Story(), can, None)
    await chase.until_next_job(within_s=LOST_AFTER_S + 1)
    look_up = chase.desk.jobs[-1][2]

    chase.answer(unsent(look_up))

    assert chase.story.payment.status == "processing"
    assert len(chase.story.payment.calls) == 1


async def test_a_call_that_is_settled_is_not_followed_any_more(can: Capabilities):
    chase = Chase(Story(), can, None)
    chase.answer(TIMEOUT)
    assert len(chase.house.in_doubt) == 1

    chase.story.answers(chase.story.charge_key, approved())
    left = chase.pursuer.follow(chase.story.payment, ())

    assert not left
    assert chase.house.in_doubt == {}
    await chase.quiet_for(300)


async def test_asks_are_spread_so_that_a_recovered_provider_is_not_stormed(can: Capabilities):
    waits: set[float] = set()
    chases = [Chase(Story(), can, None) for _ in range(5)]
    for number, chase in enumerate(chases):
        chase.system.rng.seed(number)
        chase.answer(TIMEOUT)
        waits.add(await chase.until_next_job(within_s=1.0, step_s=0.002))

    assert len(waits) > 1


# ---------------------------------------------------------------------- the card


def sent_card(chase: Chase) -> SealedCard | None:
    job = chase.desk.jobs[-1][2]
    assert isinstance(job, Perform)
    assert job.charge is not None
    return job.charge.card


async def test_the_card_goes_along_as_long_as_the_charge_may_have_to_be_sent_again(
    can: Capabilities,
):
    chase = Chase(Story(), can, SealedCard(CARD, "123"))
    chase.answer(TIMEOUT)
    await chase.until_next_job(within_s=1.0)
    chase.answer(NOT_VISIBLE)

    again = sent_card(chase)

    assert again is not None
    assert again.reveal() == (CARD, "123")


async def test_the_next_provider_gets_the_card_with_its_cvv(can: Capabilities):
    chase = Chase(Story(), can, SealedCard(CARD, "123"))

    chase.answer(declined("processing_error", retryable=True))

    card = sent_card(chase)
    assert card is not None
    assert card.reveal() == (CARD, "123")


ENDS: Final[dict[str, Callable[[Chase], None]]] = {
    "approved": lambda chase: chase.answer(approved()),
    "approved, being undone": lambda chase: chase.answer(approved(minor=1)),
    "declined": lambda chase: chase.answer(declined()),
    "the payer is asked": lambda chase: chase.answer(CONFIRM),
    "put to sleep": lambda chase: chase.pursuer.drop(),
}


@pytest.mark.parametrize("end", ENDS)
async def test_the_card_is_dropped_when_no_charge_can_need_it_any_more(can: Capabilities, end: str):
    kept = SealedCard(CARD, "123")
    opened = weakref.ref(kept._open)  # pyright: ignore[reportPrivateUsage]  # the card itself has no weak references
    chase = Chase(Story(), can, kept)
    del kept

    ENDS[end](chase)
    chase.desk.jobs.clear()
    gc.collect()

    assert opened() is None


async def test_a_payment_that_sleeps_keeps_its_card_while_another_provider_may_have_to_have_it(
    can: Capabilities,
):
    kept = SealedCard(CARD, "123")
    opened = weakref.ref(kept._open)  # pyright: ignore[reportPrivateUsage]  # see above
    chase = Chase(Story(), can, kept)
    del kept
    chase.answer(LATER)
    chase.desk.jobs.clear()

    chase.clock.advance(ELSEWHERE_US / SECOND_US - 1)
    chase.pursuer.sleep(chase.story.payment, 4)
    sooner = opened()
    chase.clock.advance(1)
    chase.pursuer.sleep(chase.story.payment, 4)

    assert sooner is not None
    del sooner
    assert opened() is None


async def test_a_payment_that_sleeps_has_no_card_where_there_is_no_other_provider(
    can: Capabilities,
):
    kept = SealedCard(CARD, "123")
    opened = weakref.ref(kept._open)  # pyright: ignore[reportPrivateUsage]  # see above
    chase = Chase(Story(), can, kept)
    del kept
    chase.answer(LATER)
    chase.desk.jobs.clear()
    chase.desk.order = ("a",)

    chase.pursuer.sleep(chase.story.payment, 4)

    assert opened() is None


async def test_after_a_restart_the_vault_has_the_number_and_nobody_the_cvv(can: Capabilities):
    chase = Chase(Story(), can, None)

    job = chase.desk.jobs[-1][2]

    assert isinstance(job, Perform)
    assert job.charge is not None
    assert (job.charge.card, job.charge.token) == (None, "card_1")
