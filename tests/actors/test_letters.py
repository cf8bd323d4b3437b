"""The post to payments: when it wakes one that sleeps, and when it does not any more."""

import asyncio
import random
from pathlib import Path
from typing import Any

from bank_rig import bank_rig
from payment_cases import HOUR_US, NOW_US, PAYMENT_ID, Story, authorized, webhook

from paygate_actors.config import Fraud
from paygate_actors.house import House, Limits
from paygate_actors.letters import Letters
from paygate_actors.payment import PaymentActor
from paygate_actors.payment_messages import Look, Reported, Watched
from paygate_actors.projection import KINDS
from paygate_actors.providers.base import ProviderEvent
from paygate_engine.clock import ManualClock
from paygate_engine.journal import Journal
from paygate_engine.region import Region
from paygate_engine.stores.base import Unit
from paygate_engine.stores.memory import MemoryStore
from paygate_engine.system import ActorSystem

HOUR_S = 3_600.0


class Post:
    """Letters on a clock that the test moves, and what they brought."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_US)
        self.system = ActorSystem(
            loop=asyncio.get_running_loop(), clock=self.clock, rng=random.Random(7)
        )
        self.brought: list[tuple[str, Any]] = []
        self.letters = Letters(self.system, self._tell)

    def _tell(self, payment_id: str, message: Any) -> None:
        self.brought.append((payment_id, message))

    @property
    def woken(self) -> int:
        assert all(type(message) is Look for _, message in self.brought)
        return len(self.brought)


async def test_a_payment_is_woken_at_its_time_once():
    post = Post()
    post.letters.at("pay_a", NOW_US + HOUR_US)

    post.clock.advance(HOUR_S - 1)
    assert post.woken == 0
    post.clock.advance(2.0)
    assert post.woken == 1
    post.clock.advance(100 * HOUR_S)
    assert post.woken == 1


async def test_the_time_that_was_set_last_is_the_only_one():
    post = Post()
    post.letters.at("pay_a", NOW_US + HOUR_US)
    post.letters.at("pay_a", NOW_US + 3 * HOUR_US)

    post.clock.advance(2 * HOUR_S)
    assert post.woken == 0
    post.clock.advance(1.1 * HOUR_S)
    assert post.woken == 1


async def test_an_alarm_that_is_taken_back_wakes_nobody_and_leaves_the_others():
    post = Post()
    post.letters.at("pay_a", NOW_US + HOUR_US)
    post.letters.at("pay_b", NOW_US + HOUR_US)

    post.letters.at("pay_a", None)
    post.clock.advance(2 * HOUR_S)

    assert [payment_id for payment_id, _ in post.brought] == ["pay_b"]


class Bystander:
    """The rest of a house: it hears and does nothing, and notes the alarms."""

    def __init__(self) -> None:
        self.alarms: list[int | None] = []

    def at(self, payment_id: str, at_us: int | None) -> None:
        assert payment_id == PAYMENT_ID
        self.alarms.append(at_us)

    def routes(self, payment: object) -> tuple[str, ...]:
        return ("a",)

    def soft_retries(self, payment: object) -> int:
        return 0

    def capabilities(self, provider: str) -> None:
        return None

    def learned(self, before: object, payment: object, news: object) -> None: ...

    def appeared(self, provider: str, provider_txn_id: str) -> None: ...


async def alarms_of(story: Story, news: ProviderEvent) -> list[int | None]:
    """The alarms that a payment sets which is read back, and told the news."""

    def failed(error: BaseException) -> None:
        raise error

    clock = ManualClock(NOW_US)
    system = ActorSystem(clock=clock, rng=random.Random(7))
    store = MemoryStore(KINDS)
    await store.open()
    journal = Journal(store, spawn=system.spawn_task, clock=clock, backlog_max=10, on_fatal=failed)
    await journal.start()
    await journal.append_wait(Unit(events=tuple(story.recorded)))
    others: Any = Bystander()
    house = House(
        system=system,
        limits=Limits(review_us=HOUR_US, key_life_us=HOUR_US, in_doubt_flag_us=HOUR_US),
        providers=others,
        arrivals=others,
        alarm=others,
        again=lambda letter: payments.tell(*letter),
    )
    payments = Region(
        system, journal, lambda key: PaymentActor(system, key, house=house), prefix="pay_"
    )
    payments.tell(PAYMENT_ID, Reported(provider="a", item_id=news.event_id, event=news))
    await payments.ask(PAYMENT_ID, Watched(), timeout=5)
    await system.stop_all()
    return others.alarms


async def test_a_hold_that_is_over_takes_its_alarm_back():
    story = authorized()

    lapsed = webhook("payment.expired", reference=story.charge_key)

    assert await alarms_of(story, lapsed) == [None]


async def test_what_changes_no_deadline_leaves_the_alarm_as_it_is():
    story = authorized()

    again = webhook("payment.authorized", reference=story.charge_key)

    assert await alarms_of(story, again) == []


async def test_a_review_ends_at_its_time_though_the_clock_was_put_back_meanwhile(tmp_path: Path):
    reviewed = Fraud(review_amount_usd_minor=1, review_hours=2)
    async with bank_rig(tmp_path, fraud=reviewed) as rig:
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "review")
        rig.clock.set(rig.clock.now_us() - HOUR_US // 12)

        await rig.pass_time(2 * HOUR_S + 290)
        before = rig.bank.of("void")
        await rig.pass_time(20, step_s=1)
        await rig.until_status(payment_id, "cancelled")

        assert before == []
        assert len(rig.bank.of("void")) == 1
