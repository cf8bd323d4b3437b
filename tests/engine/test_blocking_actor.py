"""Blocking actors: bounded, never blocking the loop, and without the traps of a plain thread."""

import asyncio
import threading
from typing import Any

import pykka
import pytest

from paygate_engine.actor import BlockingActor
from paygate_engine.errors import AskTimeout, Overloaded
from paygate_engine.system import ActorSystem


class Worker(BlockingActor):
    inbox_max = 2

    def __init__(self, system: ActorSystem, key: str, parent: Any = None) -> None:
        super().__init__(system, key, parent)
        self.gate = threading.Event()
        self.entered = threading.Event()

    def on_receive(self, message: Any) -> Any:
        match message:
            case "wait":
                self.entered.set()
                self.gate.wait(10)
                return "waited"
            case "fail":
                raise ValueError("planted")
            case "exit":
                raise SystemExit(3)
            case _:
                return message, threading.get_ident()


def start(system: ActorSystem) -> tuple[Any, Worker]:
    worker = Worker.box_open(system, "w")
    return worker.actor_ref, worker


async def test_a_reply_comes_back_to_the_loop(system: ActorSystem) -> None:
    ref, _ = start(system)

    reply, thread = await ref.ask("hello")

    assert reply == "hello"
    assert thread != threading.get_ident()
    assert await ref.stop() is True
    assert await ref.stop() is False


async def test_a_full_inbox_refuses_and_the_loop_goes_on(system: ActorSystem) -> None:
    ref, worker = start(system)
    first = ref.ask("wait")
    await asyncio.to_thread(worker.entered.wait, 5)
    ref.tell("a")
    ref.tell("b")

    with pytest.raises(Overloaded):
        ref.tell("c")
    with pytest.raises(Overloaded):
        await ref.ask("c")
    stopped = ref.stop()
    worker.gate.set()

    assert await first == "waited"
    assert await stopped is True


async def test_asks_that_wait_at_the_end_are_answered(system: ActorSystem) -> None:
    ref, worker = start(system)
    first = ref.ask("wait")
    await asyncio.to_thread(worker.entered.wait, 5)
    stopped = ref.stop()
    late = ref.ask("late")
    worker.gate.set()

    assert await first == "waited"
    assert await stopped is True
    with pytest.raises(pykka.ActorDeadError):
        await late
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("later")


async def test_an_ask_has_a_deadline(system: ActorSystem, clock: Any) -> None:
    ref, worker = start(system)
    asked = ref.ask("wait", timeout=1.0)

    clock.advance(1.1)

    with pytest.raises(AskTimeout):
        await asked
    worker.gate.set()
    await ref.stop()


@pytest.mark.parametrize("message", ["fail", "exit"])
async def test_a_failure_without_a_parent_ends_it_alone(system: ActorSystem, message: str) -> None:
    bystander = pykka.ThreadingActor.start()
    ref, worker = start(system)

    ref.tell(message)

    assert await asyncio.to_thread(worker.actor_stopped.wait, 5)
    assert bystander.is_alive()
    bystander.stop()


async def test_it_is_listed_in_pykkas_registry_while_it_lives(system: ActorSystem) -> None:
    ref, _ = start(system)

    listed = pykka.ActorRegistry.get_by_urn("urn:actor:w")
    await ref.stop()

    assert listed is ref
    assert pykka.ActorRegistry.get_by_urn("urn:actor:w") is None
