"""Tell, ask, stop, proxy and liveness of light and loop actors: Pykka's semantics, on a loop."""

import asyncio
import random
import threading
from typing import Any

import pykka
import pytest
from adder_rig import Add, Adder, Boom, Slow, Wait, adder, asker_of, slow, until

from paygate_engine.actor import LightActor, handles
from paygate_engine.clock import ManualClock
from paygate_engine.errors import AskTimeout, Overloaded, Unhandled
from paygate_engine.system import ActorSystem


async def test_messages_are_handled_in_the_order_of_sending(system: ActorSystem) -> None:
    ref = Adder.start(system, "a")

    for number in (1, 2, 3):
        ref.tell(Add(number))
    total = await ref.ask(Add(4))

    assert total == 10
    assert adder(system).log == [1, 2, 3, 4]


async def test_a_reference_is_pykkas_and_equal_for_the_same_actor(system: ActorSystem) -> None:
    ref = Adder.start(system, "a")

    assert isinstance(ref, pykka.ActorRef)
    assert isinstance(system.cells["a"], pykka.Actor)
    assert ref == system.get("a")
    assert hash(ref) == hash(system.get("a"))
    assert ref != Adder.start(system, "b")
    assert (ref.actor_class, ref.actor_urn, ref.key) == (Adder, "urn:actor:a", "a")
    assert str(ref) == "Adder (urn:actor:a)"


async def test_a_full_inbox_refuses_and_changes_nothing(system: ActorSystem) -> None:
    ref = Adder.start(system, "a")
    for _ in range(4):
        ref.tell(Add(1))

    with pytest.raises(Overloaded):
        ref.tell(Add(100))
    asked = ref.ask(Add(100))

    with pytest.raises(Overloaded):
        await asked
    await until(lambda: len(adder(system).log) == 4)
    assert await ref.ask(Add(0)) == 4
    assert system.dead_letters.total("overflow") == 2


async def test_a_stop_goes_past_a_full_inbox_and_comes_after_what_was_sent(
    system: ActorSystem,
) -> None:
    ref = Adder.start(system, "a")
    cell = adder(system)
    for _ in range(4):
        ref.tell(Add(1))

    stopped = await ref.stop()

    assert stopped is True
    assert cell.log == [1, 1, 1, 1]
    assert cell.stopped
    assert not ref.is_alive()
    assert system.get("a") is None


async def test_what_comes_after_a_stop_is_refused(system: ActorSystem) -> None:
    ref = Adder.start(system, "a")
    stop = ref.stop()
    late_ask = ref.ask(Add(1))
    ref.tell(Add(2))

    assert await stop is True

    with pytest.raises(pykka.ActorDeadError):
        await late_ask
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(Add(3))
    assert await ref.stop() is False
    assert system.dead_letters.counts["dead", "Add"] == 2


async def test_an_ask_to_the_dead_fails_at_once(system: ActorSystem) -> None:
    ref = Adder.start(system, "a")
    await ref.stop()

    asked = ref.ask(Add(1))

    assert isinstance(asked.exception(), pykka.ActorDeadError)


async def test_an_expired_ask_is_dropped_before_it_is_handled(
    system: ActorSystem, clock: ManualClock
) -> None:
    ref = Adder.start(system, "a")
    ref.tell(Wait())
    asked = ref.ask(Add(1), timeout=2.0)

    clock.advance(1.9)
    early = asked.done()
    clock.advance(0.2)

    assert not early
    with pytest.raises(AskTimeout):
        await asked
    await until(lambda: adder(system).box_state)
    adder(system).resume()
    assert await ref.ask(Add(0)) == 0
    assert system.dead_letters.total("expired") == 1


async def test_a_late_reply_is_counted_and_raises_nothing(
    system: ActorSystem, clock: ManualClock
) -> None:
    ref = Adder.start(system, "a")
    asked = ref.ask(Wait(), timeout=1.0)
    await until(lambda: adder(system).box_state)

    clock.advance(1.1)
    asker_of(adder(system)).set("too late")

    with pytest.raises(AskTimeout):
        await asked
    assert system.dead_letters.total("late_reply") == 1


async def test_an_answered_ask_leaves_nothing_on_the_wheel(system: ActorSystem) -> None:
    ref = Adder.start(system, "a")

    asked = ref.ask(Add(1), timeout=1.0)
    bucket = asked._bucket
    await asked

    assert bucket == [None, None]


async def test_a_suspended_actor_keeps_its_message_and_answers_later(system: ActorSystem) -> None:
    ref = Adder.start(system, "a")
    cell = adder(system)
    asked = ref.ask(Wait())
    ref.tell(Add(5))
    await until(lambda: cell.box_state)

    before = list(cell.log)
    asker_of(cell).set("answer")
    cell.resume()

    assert before == []
    assert await asked == "answer"
    assert await ref.ask(Add(0)) == 5


async def test_a_message_without_a_handler_is_a_dead_letter_and_an_error_to_the_asker(
    system: ActorSystem,
) -> None:
    ref = Adder.start(system, "a")

    ref.tell("card number")
    with pytest.raises(Unhandled, match="str"):
        await ref.ask("card number")

    assert system.dead_letters.total("unhandled") == 2
    assert "card number" not in repr(list(system.dead_letters.ring))
    assert ref.is_alive()


@pytest.mark.parametrize("way", ["tell", "ask"])
async def test_a_failure_ends_an_orphan_alike_for_tell_and_ask(
    system: ActorSystem, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    ref = Adder.start(system, "a")

    outcome = getattr(ref, way)(Boom())
    await until(lambda: not ref.is_alive())

    if way == "ask":
        with pytest.raises(ValueError, match="boom"):
            await outcome
    assert "unhandled exception in Adder (a)" in caplog.text


async def test_a_key_lives_only_once(system: ActorSystem) -> None:
    Adder.start(system, "a")

    with pytest.raises(ValueError, match="lives already"):
        Adder.start(system, "a")

    assert len(system) == 1


async def test_an_actor_whose_start_fails_does_not_live(system: ActorSystem) -> None:
    class Stillborn(LightActor):
        __slots__ = ()

        def on_start(self) -> None:
            raise OSError("no such luck")

    with pytest.raises(OSError, match="luck"):
        Stillborn.start(system, "s")

    assert system.get("s") is None


async def test_a_flooding_actor_does_not_keep_others_waiting(system: ActorSystem) -> None:
    class Flood(LightActor):
        __slots__ = ()
        inbox_max = 100_000

        @handles(int)
        def on_int(self, number: int) -> None:
            order.append(number)

    order: list[int] = []
    flood = Flood.start(system, "flood")
    ping = Flood.start(system, "ping")

    for number in range(100):
        flood.tell(number)
    ping.tell(-1)
    await until(lambda: len(order) == 101)

    assert order.index(-1) == 8


async def test_a_proxy_works_on_the_loop(system: ActorSystem) -> None:
    ref = Slow.start(system, "s")
    proxy: Any = ref.proxy()

    assert await proxy.double(4) == 8
    assert await proxy.running == 0
    proxy.__setattr__("running", 3)
    assert await proxy.running == 3


async def test_an_async_handler_is_never_entered_twice(system: ActorSystem) -> None:
    ref = Slow.start(system, "s")
    cell = slow(system)
    asks = [ref.ask(Add(number)) for number in range(3)]
    await until(lambda: cell.running)

    cell.gate.set()

    assert [await ask for ask in asks] == [1, 2, 3]
    assert cell.running_max == 1


async def test_a_loop_actor_is_listed_in_pykkas_registry_while_it_lives(
    system: ActorSystem,
) -> None:
    ref = Slow.start(system, "s")

    listed = pykka.ActorRegistry.get_by_urn("urn:actor:s")
    await ref.stop()

    assert listed == ref
    assert pykka.ActorRegistry.get_by_urn("urn:actor:s") is None


async def test_a_cancelled_handler_concerns_that_actor_alone(system: ActorSystem) -> None:
    other = Adder.start(system, "other")
    thread = pykka.ThreadingActor.start()
    ref = Slow.start(system, "s")

    with pytest.raises(asyncio.CancelledError):
        await ref.ask(Boom())

    assert not ref.is_alive()
    assert other.is_alive()
    assert thread.is_alive()
    thread.stop()


async def test_a_killed_loop_actor_cancels_its_coroutine_and_answers(system: ActorSystem) -> None:
    ref = Slow.start(system, "s")
    cell = slow(system)
    asked = ref.ask(Add(1))
    waiting = ref.ask(Add(2))
    await until(lambda: cell.running)
    task = cell.box_task
    assert task is not None

    cell.box_kill()

    for each in (asked, waiting):
        with pytest.raises(pykka.ActorDeadError):
            await each
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert system.stats.of(Slow).failed == 0


async def test_async_handlers_are_refused_on_light_actors() -> None:
    with pytest.raises(TypeError, match="LoopActor"):

        class Wrong(LightActor):  # pyright: ignore[reportUnusedClass] - its making fails
            __slots__ = ()

            @handles(int)
            async def on_int(self, _number: int) -> None: ...


async def test_a_stopping_system_ends_everybody_in_reverse_and_handles_what_waits(
    clock: ManualClock,
) -> None:
    system = ActorSystem(loop=asyncio.get_running_loop(), clock=clock, rng=random.Random(1))
    ended: list[tuple[str, int]] = []

    class Last(Adder):
        __slots__ = ()

        def on_stop(self) -> None:
            ended.append((self.key, self.total))

    for key in "abc":
        Last.start(system, key).tell(Add(1))

    await system.stop_all()

    assert ended == [("c", 1), ("b", 1), ("a", 1)]
    assert len(system) == 0


async def test_other_threads_tell_ask_and_wait(system: ActorSystem) -> None:
    ref = Adder.start(system, "a")

    def elsewhere() -> tuple[int, bool, bool]:
        ref.tell(Add(1))
        total = ref.ask(Add(2), block=True)
        stopped = ref.stop(block=True, timeout=5)
        return total, stopped, ref.actor_stopped.wait(5)

    assert await asyncio.to_thread(elsewhere) == (3, True, True)
    assert system.stats.injected == 3


async def test_one_wake_up_serves_a_burst_from_another_thread(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = Adder.start(system, "a")
    wakes: list[int] = []
    wake = system.loop.call_soon_threadsafe

    def counted(*args: Any) -> Any:
        wakes.append(1)
        return wake(*args)

    monkeypatch.setattr(system.loop, "call_soon_threadsafe", counted)
    thread = threading.Thread(target=lambda: [ref.tell(Add(1)) for _ in range(3)])
    thread.start()
    # Joined on the loop's thread: the loop cannot run between the tells.
    thread.join()
    await until(lambda: len(adder(system).log) == 3)

    assert len(wakes) == 1
