"""`paygate serve --workers N`: one port, N processes of this program behind it, one parent.

Each worker is a node of its own: it has its epoch, its connections to the database and, where
`server.worker_port_base` is given, a port of its own, where it alone answers: for Prometheus, as
behind the shared port nobody knows whose metrics they read. The parent takes no request and opens
no database: it keeps the port, and the workers running.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from paygate_actors.config import Config
from paygate_engine.stores.folder import prepare_folder
from paygate_http.crew import Crew, Member
from paygate_http.doors import tls_context, url_at
from paygate_http.flags import ServeFlags
from paygate_http.logs import configure_logs
from paygate_http.process import Ending, Exit, announce, forbid_core_dumps
from paygate_http.registering import register
from paygate_http.shared_port import hold_port

# Beyond its drain a worker may take this long to write its last group, as a lone server may, and
# to give its seat back; what is slower is broken, and the next start recovers.
_END_S: Final = 15.0
# The sandbox writes its books as it goes.
_SANDBOX_END_S: Final = 5.0
_PROGRAM: Final = (sys.executable, "-m", "paygate_http")
_SANDBOX: Final = "sandbox"
# Workers are told otherwise than we were: the port is chosen, and the URL, which is secret, goes by
# the environment, where other users cannot read it.
_OURS: Final = frozenset({"--port", "--database"})

_log = structlog.get_logger("paygate.workers")


def lead(flags: ServeFlags, config: Config) -> Exit:
    """Run the workers until told to end. Raises `ConfigInvalid`, OSError where a port is taken."""
    forbid_core_dumps()
    configure_logs(config.server.log_level)
    return asyncio.run(_run(flags, config))


def workers_of(flags: ServeFlags, config: Config, *, port: int) -> Iterator[Member]:
    """The workers of a shared port, not started yet; what is secret is in no command line."""
    words = tuple(_words(flags))
    for number in range(config.server.workers):
        base = config.server.worker_port_base
        own = () if base is None else ("--own-port", str(base + number))
        yield Member(
            f"worker {number + 1}",
            (*_PROGRAM, "worker", *words, "--port", str(port), *own),
            environment=_environment(flags, config, number + 1),
        )


async def _run(flags: ServeFlags, config: Config) -> Exit:
    crews: list[Crew] = []

    def kill() -> None:
        for each in crews:
            each.kill()

    def hang_up() -> None:
        # A sandbox has nothing to read again: a SIGHUP would end it.
        for each in crews:
            each.hang_up(but=_SANDBOX)

    loop = asyncio.get_running_loop()
    ending = Ending(loop, hurry=kill)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    server = config.server
    patience_s = server.drain_s + _END_S
    async with AsyncExitStack() as stack:
        held = stack.enter_context(await hold_port(server.host, server.port))
        url = url_at(held, tls=tls_context(server.tls_cert, server.tls_key))
        if config.sandbox.enabled and config.sandbox.url is None:
            prepare_folder(Path(config.data_dir))
            sandbox = Member(_SANDBOX, _sandbox_command(config, config.sandbox.port))
            crews.append(Crew([sandbox]))
            stack.push_async_callback(crews[-1].let_go, _SANDBOX_END_S)
            if (code := await _came_up(crews[-1], ending)) is not None:
                return code
            sandbox_url = sandbox.line.rpartition(" ")[2]
            # Should it have to be started again, workers and their webhooks find it where it was.
            sandbox.command = _sandbox_command(config, urlsplit(sandbox_url).port or 0)
            flags = replace(flags, sandbox_url=sandbox_url)
        if (sandbox_url := flags.sandbox_url or config.sandbox.url) is not None:
            # Once for all, and before their recovery, which may cause webhooks.
            await register(sandbox_url, url)
        workers = Crew(list(workers_of(flags, config, port=held.getsockname()[1])))
        crews.append(workers)
        stack.push_async_callback(workers.let_go, patience_s)
        if (code := await _came_up(workers, ending)) is not None:
            return code
        announce(f"paygate: listening on {url}")
        await _first(ending.wait(), workers.all_ended())
        _log.info("draining", within_s=server.drain_s)
        drained = await workers.let_go(patience_s)
    return Exit.DRAINED if drained else Exit.FAILED


async def _came_up(crew: Crew, ending: Ending) -> Exit | None:
    """Start a crew; None once it serves, else what the process is to end with."""
    code = await _first(crew.come_up(), ending.wait())
    if ending.wanted:
        return Exit.DRAINED
    if code is None:
        return None
    return Exit.MISCONFIGURED if code == Exit.MISCONFIGURED else Exit.FAILED


async def _first(*works: Coroutine[Any, Any, int | None]) -> int | None:
    """What the first to end of the works says; the others are given up."""
    tasks = [asyncio.create_task(each) for each in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _words(flags: ServeFlags) -> Iterator[str]:
    """The command line that says again what the flags say."""
    if flags.config is not None:
        yield from ("--config", str(flags.config))
    for each in flags.settings():
        if each.origin not in _OURS:
            yield from (each.origin,) if each.value is True else (each.origin, str(each.value))


def _environment(flags: ServeFlags, config: Config, number: int) -> Mapping[str, str]:
    environment = dict(os.environ)
    if flags.database is not None:
        environment.pop("PAYGATE__DATABASE__URL_FILE", None)
        environment["PAYGATE__DATABASE__URL"] = flags.database
    if config.database.node:
        # Two nodes of one name could not be told apart in a list.
        environment.pop("PAYGATE__DATABASE__NODE_FILE", None)
        environment["PAYGATE__DATABASE__NODE"] = f"{config.database.node}-{number}"
    return environment


def _sandbox_command(config: Config, port: int) -> tuple[str, ...]:
    ours = config.sandbox
    numbers = {
        "--port": port,
        "--latency-ms": ours.latency_ms,
        "--find-lag-ms": ours.find_lag_ms,
        "--void-window-s": ours.void_window_s,
    }
    if ours.seed is not None:
        numbers["--seed"] = ours.seed
    words = [word for flag, number in numbers.items() for word in (flag, str(number))]
    folder = str(Path(config.data_dir, "sandbox"))
    return (*_PROGRAM, "sandbox", "--until-eof", "--data", folder, *words)
