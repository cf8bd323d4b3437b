"""Turns to ask a provider: a burst, then an even pace; none while a gateway is loading."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

from payment_cases import Story

from paygate_actors import events as e
from paygate_actors.asking import BURST_S, HELD_S, Asking
from paygate_actors.house import House, Limits
from paygate_actors.outcomes import Unknown
from paygate_actors.payment_messages import Pursue
from paygate_actors.pool_messages import Answered, LookUp, Perform
from paygate_actors.providers.base import Capabilities
from paygate_actors.pursuer import Pursuer
from paygate_actors.record import Payment
from paygate_engine.clock import ManualClock
from paygate_engine.system import ActorSystem

CAN: Final = Capabilities(
    deadline_s=1, key_window_s=1_000, find_lag_s=1, ask_first_s=0.5, ask_max_s=5, asks_per_s=10
)
BURST: Final = round(BURST_S * CAN.asks_per_s)
PAYMENTS: Final = 100


def waits(asking: Asking, count: int, provider: str = "a") -> list[float]:
    return [round(asking.turn_s(provider, CAN), 6) for _ in range(count)]


def test_a_few_ask_at_once_and_the_others_one_after_another():
    asking = Asking(ManualClock())

    found = waits(asking, BURST + 4)

    assert found == [0.0] * (BURST + 1) + [0.1, 0.2, 0.3]


def test_after_a_quiet_time_as_many_ask_at_once_and_no_more():
    clock = ManualClock()
    asking = Asking(clock)
    waits(asking, BURST)

    clock.advance(3_600)

    assert waits(asking, BURST + 2) == [0.0] * (BURST + 1) + [0.1]


def test_a_provider_does_not_wait_for_those_who_ask_another():
    asking = Asking(ManualClock())
    waits(asking, 100, "a")

    assert asking.turn_s("b", CAN) == 0


def test_while_turns_are_held_nobody_asks_and_the_pace_is_kept():
    clock = ManualClock()
    asking = Asking(clock)
    asking.held = True

    held = waits(asking, 3)
    asking.held = False
    clock.advance(HELD_S)

    assert held == [HELD_S, HELD_S + 0.1, HELD_S + 0.2]
    assert waits(asking, 1) == [0.3]


class Crowd:
    """Many payments in doubt at one provider, which answers nobody."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        system = ActorSystem(
            loop=asyncio.get_running_loop(), clock=self.clock, rng=random.Random(7)
        )
        self.asked_s: list[float] = []
        self.house = House(
            system=system,
            limits=Limits(review_us=0, key_life_us=0, in_doubt_flag_us=0),
            providers=self,
            arrivals=self,
            alarm=self,
            again=self._again,
        )
        self._pursued: dict[str, tuple[Story, Pursuer]] = {}

    def join(self, payment_id: str) -> None:
        """A charge was sent and its answer is lost."""
        story = Story()
        pursuer = Pursuer(self.house, payment_id, None)
        pursuer.follow(story.payment, story.events)
        self._pursued[payment_id] = (story, pursuer)
        key = story.newest.key
        lost = Unknown(reason="timeout")
        pursuer.heard(Answered(key=key, outcome=lost, source="call"))
        pursuer.follow(story.payment, story.answers(key, lost))

    def stir(self) -> None:
        """Something else happens to every payment, which changes nothing about its call."""
        for story, pursuer in self._pursued.values():
            pursuer.follow(story.payment, ())

    async def live(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            await asyncio.sleep(0)

    def routes(self, payment: Payment) -> tuple[str, ...]:
        return ("a",)

    def soft_retries(self, payment: Payment) -> int:
        return 0

    def learned(
        self, before: Payment | None, payment: Payment, news: Sequence[e.PaymentEvent]
    ) -> None:
        raise AssertionError("a pursuer teaches nobody")

    def submit(self, provider: str, job: Perform | LookUp) -> None:
        if isinstance(job, LookUp):
            self.asked_s.append(self.clock.monotonic_s())

    def capabilities(self, provider: str) -> Capabilities | None:
        return CAN

    def appeared(self, provider: str, provider_txn_id: str) -> None:
        raise AssertionError("a pursuer tells no arrivals")

    def at(self, payment_id: str, at_us: int | None) -> None:
        raise AssertionError("a pursuer sets no alarms")

    def _again(self, told: tuple[str, Any]) -> None:
        payment_id, message = told
        assert isinstance(message, Pursue)
        story, pursuer = self._pursued[payment_id]
        pursuer.due(story.payment, message.key)


def crowd(*, held: bool = False) -> Crowd:
    made = Crowd()
    made.house.asking.held = held
    for number in range(PAYMENTS):
        made.join(f"pay_{number}")
    return made


def busiest_second(times: list[float]) -> int:
    """The most that there are in one second; one more than was granted, as timers have ticks."""
    return max(sum(first_s <= at_s < first_s + 1.0 for at_s in times) for first_s in times)


async def test_very_many_payments_in_doubt_ask_at_the_pace_that_the_provider_takes():
    made = crowd()

    await made.live(PAYMENTS / CAN.asks_per_s + 1.0)

    asked = made.asked_s
    assert len(asked) == PAYMENTS, "everybody asked once"
    assert busiest_second(asked) <= CAN.asks_per_s + BURST + 1


async def test_what_happens_to_a_payment_meanwhile_lets_it_jump_no_queue():
    made = crowd()

    for _ in range(round(PAYMENTS / CAN.asks_per_s)):
        await made.live(1.0)
        made.stir()

    assert busiest_second(made.asked_s) <= CAN.asks_per_s + BURST + 1


async def test_nobody_asks_while_a_gateway_is_loading_and_everybody_does_afterwards():
    made = crowd(held=True)

    await made.live(5.0)
    while_held = len(made.asked_s)
    made.house.asking.held = False
    await made.live(2 * PAYMENTS / CAN.asks_per_s)

    assert while_held == 0
    assert len(made.asked_s) >= PAYMENTS
