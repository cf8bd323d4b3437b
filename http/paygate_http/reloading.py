"""SIGHUP: the configuration is read again, and the routing rules in it are put in force.

A configuration that would not start a server changes nothing, and each of its faults is logged. Of
one that is good only the routing rules are taken: everything else takes a restart, and the log
says what differs. Rules that name a provider which starts with that restart are refused until then.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog
from msgspec.structs import fields

from paygate_actors.config import Config
from paygate_actors.routing_change import RulesRefused
from paygate_actors.routing_config import Routing
from paygate_engine.errors import EngineError
from paygate_http.configure import ConfigInvalid

_OLD: Final = "the old ones stand"

_log = structlog.get_logger("paygate.reload")


class Reloading:
    """Open while the server serves; an asynchronous context manager.

    `read` reads and checks the configuration, raising `ConfigInvalid`; `adopt` puts rules in
    force, raising `RulesRefused` where they cannot be. `started_with` is what the server runs
    with, as it was read.
    """

    def __init__(
        self,
        started_with: Config,
        *,
        read: Callable[[], Config],
        adopt: Callable[[Routing], Awaitable[bool]],
    ) -> None:
        self._started_with = started_with
        self._read = read
        self._adopt = adopt
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._wanted.set)
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A hang-up during the drain is no reason to end at once, which is the default.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        # One at a time: signals that come while a file is read are one more look at it.
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.reload()
            except Exception as error:  # noqa: BLE001  # the next file may be a good one
                _log.exception("reload_failed", fault=repr(error), rules=_OLD)

    async def reload(self) -> bool:
        """Read the configuration again; False, and the old rules stand, where it cannot be used."""
        try:
            config = await asyncio.to_thread(self._read)
        except (ConfigInvalid, OSError) as error:
            faults = error.lines if isinstance(error, ConfigInvalid) else (str(error),)
            for fault in faults:
                _log.error("configuration_refused", fault=fault, rules=_OLD)
            return False
        others = [
            field.name
            for field in fields(Config)
            if field.name != "routing"
            and getattr(config, field.name) != getattr(self._started_with, field.name)
        ]
        if others:
            _log.warning("restart_needed", for_changes_of=others)
        try:
            changed = await self._adopt(config.routing)
        except RulesRefused as error:
            for fault in error.lines:
                _log.error("configuration_refused", fault=fault, rules=_OLD)
            return False
        except EngineError as error:
            _log.error("configuration_refused", fault=repr(error), rules=_OLD)
            return False
        _log.info("configuration_reloaded", routing="changed" if changed else "as it was")
        return True
