"""What a hang-up may bring: whatever fails in reading, the server listens for the next one."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

import pytest
from structlog.testing import capture_logs

from paygate_actors.config import Config
from paygate_actors.routing_change import RulesRefused
from paygate_actors.routing_config import Routing
from paygate_engine.errors import StoreFailed
from paygate_http.configure import ConfigInvalid
from paygate_http.process import Refused
from paygate_http.reloading import Reloading

WAIT_S: Final = 5.0
FAILURES: Final = (
    ConfigInvalid("fraud.review_hours: must be from 1 to 720"),
    Refused("the file is gone"),
    OSError("a broken disk"),
    ValueError("nobody thought of this one"),
    RecursionError("nor of that"),
)


class Source:
    """A configuration that fails so often as it is told, and then is good."""

    def __init__(self, failure: Exception) -> None:
        self.failure: Exception | None = failure
        self.read_again = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def read(self) -> Config:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            self._loop.call_soon_threadsafe(self.read_again.set)
            raise failure
        return Config()


async def until(is_it: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_it():  # noqa: ASYNC110  # the log has no event to wait for
            await asyncio.sleep(0)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
async def test_a_hangup_that_failed_does_not_end_listening_for_the_next(failure: Exception):
    source = Source(failure)
    adopted: list[Routing] = []

    async def adopt(routing: Routing) -> bool:
        adopted.append(routing)
        return True

    with capture_logs() as logs:
        async with Reloading(Config(), read=source.read, adopt=adopt):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: bool(logs))
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: bool(adopted))

    told = logs[0]
    assert told["event"] in {"configuration_refused", "reload_failed"}
    assert (str(failure) or type(failure).__name__) in str(told)
    assert told["rules"] == "the old ones stand"


@pytest.mark.parametrize(
    "failure",
    [RulesRefused("no provider 'new' runs here"), StoreFailed("full"), RuntimeError("a bug")],
    ids=lambda each: type(each).__name__,
)
async def test_rules_that_cannot_be_put_in_force_are_told_of_and_the_next_ones_are(
    failure: Exception,
):
    failures = [failure]
    adopted: list[Routing] = []

    async def adopt(routing: Routing) -> bool:
        if failures:
            raise failures.pop()
        adopted.append(routing)
        return True

    with capture_logs() as logs:
        async with Reloading(Config(), read=Config, adopt=adopt):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: bool(logs))
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: bool(adopted))

    assert str(failure) in str(logs[0])
