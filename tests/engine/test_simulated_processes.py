"""Processes of a simulation: killed they stop in the middle, frozen they go on later."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from paygate_engine import simulation
from paygate_engine.simulation import Killed, Process, Stalled, VirtualLoop


def run(main: Callable[[VirtualLoop], Awaitable[Any]]) -> Any:
    loop = VirtualLoop()

    async def whole() -> Any:
        return await main(loop)

    try:
        return loop.run_until_complete(whole())
    finally:
        loop.close()


def test_time_jumps_to_the_next_timer():
    async def main(loop: VirtualLoop) -> float:
        await asyncio.sleep(86_400)
        return loop.time()

    assert run(main) == pytest.approx(86_400)


def test_a_reply_that_never_comes_is_noticed_at_once():
    async def main(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(Stalled):
        run(main)


def test_what_goes_in_circles_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(simulation, "TURNS_MAX", 1_000)

    async def main(loop: VirtualLoop) -> None:
        while True:  # noqa: ASYNC110 - nobody waits for anything
            await asyncio.sleep(0.25)

    with pytest.raises(Stalled, match="still something to do"):
        run(main)


def test_a_killed_process_runs_not_one_more_line():
    async def main(loop: VirtualLoop) -> list[str]:
        process = Process(loop)
        lines: list[str] = []

        async def work() -> None:
            loop.call_later(2.0, lines.append, "its timer")
            try:
                await asyncio.sleep(1.0)
                lines.append("the next line")
            finally:
                lines.append("finally")

        asked = asyncio.ensure_future(process.call(work))
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(10.0)
        with pytest.raises(Killed):
            await asked
        seen = list(lines)
        process.bury()
        return seen

    assert run(main) == []


def test_what_a_dead_process_starts_while_it_is_buried_is_closed_too():
    """Left alone it would warn, whenever the collector comes by, that nobody ever awaited it."""
    started: list[Coroutine[Any, Any, None]] = []

    async def main(loop: VirtualLoop) -> None:
        process = Process(loop)

        async def another() -> None:
            raise AssertionError

        async def work() -> None:
            try:
                await asyncio.sleep(10.0)
            finally:
                started.append(another())
                loop.create_task(started[0])

        asked = asyncio.ensure_future(process.call(work))
        await asyncio.sleep(0.5)
        process.kill()
        with pytest.raises(Killed):
            await asked
        process.bury()

    run(main)

    assert [inspect.getcoroutinestate(each) for each in started] == [inspect.CORO_CLOSED]


def test_a_dead_process_answers_nobody():
    async def main(loop: VirtualLoop) -> None:
        process = Process(loop)
        process.kill()

        async def work() -> None:
            raise AssertionError

        with pytest.raises(Killed):
            await process.call(work)

    run(main)


def test_a_frozen_process_goes_on_with_what_it_was_about_to_do():
    async def main(loop: VirtualLoop) -> float:
        process = Process(loop)

        async def work() -> float:
            await asyncio.sleep(1.0)
            return loop.time()

        asked = asyncio.ensure_future(process.call(work))
        await asyncio.sleep(0.5)
        process.freeze(60.0)
        return await asked

    assert run(main) == pytest.approx(60.5)


def test_what_a_frozen_process_takes_back_when_it_goes_on_is_not_done():
    """Its answer and its deadline were both due meanwhile; the answer came first."""

    async def main(loop: VirtualLoop) -> str:
        process = Process(loop)
        answer: asyncio.Future[str] = loop.create_future()

        async def work() -> str:
            async with asyncio.timeout(10.0):
                return await answer

        asked = asyncio.ensure_future(process.call(work))
        await asyncio.sleep(1.0)
        process.freeze(60.0)
        answer.set_result("in time")
        return await asked

    assert run(main) == "in time"


def test_a_caller_that_hangs_up_does_not_end_the_work():
    async def main(loop: VirtualLoop) -> list[str]:
        process = Process(loop)
        done: list[str] = []

        async def work() -> None:
            await asyncio.sleep(1.0)
            done.append("done")

        asked = asyncio.ensure_future(process.call(work))
        await asyncio.sleep(0.5)
        asked.cancel()
        await asyncio.sleep(1.0)
        return done

    assert run(main) == ["done"]
