"""`paygate serve`: the order in which a gateway comes up and goes down.

Up: data folder and store, sandbox (if it is ours; nothing is written before the folder is known to
be right), listening socket (so that probes are answered while recovery runs), recovery, and only
then the line on standard output. Down: no new
connections, requests in hand finish, the gateway stops, the sandbox last, because the gateway may
be talking to it until then. A journal that failed ends the process without any of that: those who
wait are answered, and the next start recovers from what is on disk.
"""

import asyncio
import os
import platform
import random
import socket
import sqlite3
import ssl
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import structlog

from paygate_actors.config import Config
from paygate_actors.gateway import Gateway
from paygate_actors.routing_change import adopt_routing
from paygate_actors.routing_config import Routing
from paygate_engine.clock import SystemClock
from paygate_engine.errors import Fenced, StoreDamaged
from paygate_engine.ids import Ids
from paygate_http.app import make_app
from paygate_http.commands_workers import lead
from paygate_http.configure import load, sandbox_providers
from paygate_http.configure_providers import check_providers
from paygate_http.control import Control
from paygate_http.database_url import shown_url
from paygate_http.doors import Doors, shutdown_timeout, tls_context
from paygate_http.flags import ServeFlags, WorkerFlags
from paygate_http.key_desk import KeyDesk
from paygate_http.logs import configure_logs
from paygate_http.opening import named, open_gateway
from paygate_http.process import (
    Ending,
    Exit,
    allow_many_files,
    announce,
    forbid_core_dumps,
    leave,
    settle,
)
from paygate_http.registering import register
from paygate_http.reloading import Reloading
from paygate_http.restored import check_restored
from paygate_http.runner import EdgeRunner
from paygate_http.sandbox.server import listen, start_sandbox, url_of

# All that is left to do when the journal has failed is to tell those who wait.
_FATAL_DRAIN_S = 1.0
# After the drain the gateway writes its last group and nothing more. A disk that takes longer than
# this is broken, and recovery will do what is left.
_STOP_S_MAX = 10.0

_SANDBOX_HOST = "127.0.0.1"

_log = structlog.get_logger("paygate.serve")


def serve(flags: ServeFlags) -> Exit:
    """Run a server, or the parent of several, until it is told to end.

    Raises `ConfigInvalid`, `StoreRefused` for a data folder that cannot be served, and OSError
    where the address is taken.
    """
    config = _read(flags)
    if config.server.workers:
        check_providers(config)
        return lead(flags, config)
    return _serve(flags, config)


def worker(flags: WorkerFlags) -> Exit:
    """Run one of several servers that share a port, until standard input ends."""
    return _serve(flags, _read(flags), as_worker=flags)


def _read(flags: ServeFlags) -> Config:
    return load(file=flags.config, environment=os.environ, flags=flags.settings()).config


def _serve(flags: ServeFlags, config: Config, *, as_worker: WorkerFlags | None = None) -> Exit:
    tls = tls_context(config.server.tls_cert, config.server.tls_key)
    check_providers(config)
    forbid_core_dumps()
    files_max = allow_many_files()
    configure_logs(config.server.log_level)
    config = named(config)
    if config.database.url is not None:
        # Several nodes may write to one log.
        structlog.contextvars.bind_contextvars(node=config.database.node)
    _log.info(
        "starting",
        version=version("paygate"),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        data=str(Path(config.data_dir).resolve()),
        database=None if config.database.url is None else shown_url(config.database.url),
        sandbox=config.sandbox.enabled,
        files_max=files_max,
    )
    read = partial(_read, flags)
    return asyncio.run(_run(config, tls, lambda: named(read()), as_worker))


async def _run(
    config: Config,
    tls: ssl.SSLContext | None,
    read: Callable[[], Config],
    as_worker: WorkerFlags | None,
) -> Exit:
    started_with = config
    ending = Ending(asyncio.get_running_loop())
    if as_worker is not None:
        ending.follow(sys.stdin.fileno())
    if config.database.url is None:
        check_restored(Path(config.data_dir))
    async with AsyncExitStack() as stack:
        # What is left last is the sandbox, which starts after the gateway has taken the folder.
        around = await stack.enter_async_context(AsyncExitStack())
        listener = None
        if config.sandbox.enabled:
            config, listener = _with_sandbox(config)
        if listener is not None:
            around.callback(listener.close)
        gateway = await open_gateway(config, on_fatal=ending.fail)
        stack.push_async_callback(_stop, gateway)
        if listener is not None:
            await _start_sandbox(config, listener, around)
        if config.sandbox.url is not None:
            _log.info("sandbox listening", url=config.sandbox.url)
        doors = Doors(_runner(gateway, config), tls=tls)
        stack.push_async_callback(_drain, doors, gateway, config.server.drain_s)
        await _open(doors, config, as_worker)
        if config.database.url is None:
            desk = KeyDesk(gateway.front, config)
            control = Control(config.data_dir, desk, replay=gateway.front.replay_webhooks)
            await stack.enter_async_context(control)
        reloading = Reloading(started_with, read=read, adopt=partial(_adopt, gateway))
        await stack.enter_async_context(reloading)
        if config.sandbox.url is not None and as_worker is None:
            await register(config.sandbox.url, doors.url)
        await _unless(ending, gateway.recover())
        if not ending.wanted:
            await _serving(doors, config, as_worker)
        await ending.wait()
        if ending.error is not None:
            await _give_up(doors, ending.error)
    _log.info("drained")
    return Exit.DRAINED


async def _open(doors: Doors, config: Config, as_worker: WorkerFlags | None) -> None:
    """Listen, so that probes are answered during recovery: a worker at its own port, if any."""
    if as_worker is None:
        await doors.listen(config.server.host, config.server.port)
    elif as_worker.own_port is not None:
        await doors.listen(config.server.host, as_worker.own_port)


async def _serving(doors: Doors, config: Config, as_worker: WorkerFlags | None) -> None:
    """Say that payments are taken. A worker joins the others only now: they are ready already."""
    if as_worker is not None:
        await doors.listen(config.server.host, config.server.port, shared=True)
    settle()
    announce(f"paygate: listening on {doors.url}")


async def _give_up(doors: Doors, error: BaseException) -> NoReturn:
    if isinstance(error, StoreDamaged):
        _log.critical("the data folder is damaged", what=str(error))
    elif isinstance(error, Fenced):
        _log.critical("others have taken this node's place; start it again", what=str(error))
    else:
        _log.critical("the journal failed; the next start recovers", error=repr(error))
    await doors.drain(_FATAL_DRAIN_S)
    leave(Exit.FAILED)


def _runner(gateway: Gateway, config: Config) -> EdgeRunner:
    clock = SystemClock()
    ids = Ids(clock, random.Random())  # noqa: S311  # a request id is a name and no secret
    app = make_app(
        gateway.front,
        config,
        clock=clock,
        sandbox_keys=config.sandbox.enabled,
        livemode=not config.sandbox.enabled,
        request_ids=lambda: ids.new("req"),
    )
    return EdgeRunner(app, shutdown_timeout=shutdown_timeout(config.server.drain_s))


def _with_sandbox(config: Config) -> tuple[Config, socket.socket | None]:
    """Make the sandbox's accounts the providers; the socket of one that does not run yet."""
    ours = config.sandbox
    url, listener = ours.url, None
    if url is None:
        listener = listen(_SANDBOX_HOST, ours.port)
        url = url_of(_SANDBOX_HOST, listener)
    named = {provider.id for provider in config.providers}
    added = tuple(each for each in sandbox_providers(url) if each.id not in named)
    configured = msgspec.structs.replace(
        config,
        sandbox=msgspec.structs.replace(ours, url=url),
        providers=config.providers + added,
    )
    return configured, listener


async def _start_sandbox(config: Config, listener: socket.socket, stack: AsyncExitStack) -> None:
    """Serve a sandbox whose books lie in the gateway's folder, nobody else's to read."""
    ours = config.sandbox
    sandbox = await start_sandbox(
        host=_SANDBOX_HOST,
        listener=listener,
        data_dir=Path(config.data_dir, "sandbox"),
        seed=ours.seed,
        latency_ms=ours.latency_ms,
        find_lag_ms=ours.find_lag_ms,
        void_window_s=ours.void_window_s,
        gateway_url=None,
    )
    stack.push_async_callback(sandbox.stop)


async def _unless(ending: Ending, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, or give it up as soon as the process is to end."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


async def _drain(doors: Doors, gateway: Gateway, within_s: float) -> None:
    _log.info("draining", within_s=within_s)
    gateway.drain()
    if not await doors.drain(within_s):
        _log.warning("requests were cut off after server.drain_s", within_s=within_s)


async def _adopt(gateway: Gateway, routing: Routing) -> bool:
    return await adopt_routing(
        routing,
        desk=gateway.desk,
        journal=gateway.journal,
        clock=gateway.system.clock,
        who="signal",
    )


async def _stop(gateway: Gateway) -> None:
    try:
        async with asyncio.timeout(_STOP_S_MAX):
            await gateway.stop()
    except TimeoutError:
        _log.critical("the gateway did not stop; the next start recovers", within_s=_STOP_S_MAX)
        leave(Exit.FAILED)
