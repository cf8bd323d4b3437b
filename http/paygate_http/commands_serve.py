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
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog
from aiohttp import web

from paygate_actors.config import Config
from paygate_actors.gateway import Gateway
from paygate_actors.routing_change import adopt_routing
from paygate_actors.routing_config import Routing
from paygate_engine.clock import SystemClock
from paygate_engine.errors import StoreDamaged
from paygate_engine.ids import Ids
from paygate_http.app import make_app
from paygate_http.configure import load, sandbox_providers
from paygate_http.configure_providers import check_providers
from paygate_http.control import Control
from paygate_http.doors import Doors, shutdown_timeout, tls_context
from paygate_http.flags import ServeFlags
from paygate_http.key_desk import KeyDesk
from paygate_http.logs import configure_logs
from paygate_http.opening import open_gateway
from paygate_http.process import (
    Ending,
    Exit,
    allow_many_files,
    announce,
    forbid_core_dumps,
    leave,
    settle,
)
from paygate_http.reloading import Reloading
from paygate_http.restored import check_restored
from paygate_http.runner import EdgeRunner
from paygate_http.sandbox.server import listen, start_sandbox, url_of

# All that is left to do when the journal has failed is to tell those who wait.
_FATAL_DRAIN_S = 1.0
# After the drain the gateway writes its last group and nothing more. A disk that takes longer than
# this is broken, and recovery will do what is left.
_STOP_S_MAX = 10.0
# The sandbox is on this machine.
_REGISTER_S_MAX = 5.0

_SANDBOX_HOST = "127.0.0.1"

_log = structlog.get_logger("paygate.serve")


def serve(flags: ServeFlags) -> Exit:
    """Run a server until it is told to end.

    Raises `ConfigInvalid`, `StoreRefused` for a data folder that cannot be served, and OSError
    where the address is taken.
    """

    def read() -> Config:
        return load(file=flags.config, environment=os.environ, flags=flags.settings()).config

    config = read()
    tls = tls_context(config.server.tls_cert, config.server.tls_key)
    check_providers(config)
    forbid_core_dumps()
    files_max = allow_many_files()
    configure_logs(config.server.log_level)
    _log.info(
        "starting",
        version=version("paygate"),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        data=str(Path(config.data_dir).resolve()),
        sandbox=config.sandbox.enabled,
        files_max=files_max,
    )
    return asyncio.run(_run(config, tls, read))


async def _run(config: Config, tls: ssl.SSLContext | None, read: Callable[[], Config]) -> Exit:
    started_with = config
    ending = Ending(asyncio.get_running_loop())
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
        server = config.server
        patience_s = shutdown_timeout(server.drain_s)
        runner = EdgeRunner(_app(gateway, config), shutdown_timeout=patience_s)
        doors = await Doors.open(runner, host=server.host, port=server.port, tls=tls)
        stack.push_async_callback(_drain, doors, gateway, server.drain_s)
        desk = KeyDesk(gateway.front, config)
        control = Control(config.data_dir, desk, replay=gateway.front.replay_webhooks)
        await stack.enter_async_context(control)
        reloading = Reloading(started_with, read=read, adopt=partial(_adopt, gateway))
        await stack.enter_async_context(reloading)
        if config.sandbox.url is not None:
            await _register(config.sandbox.url, doors.url)
        await _unless(ending, gateway.recover())
        if not ending.wanted:
            settle()
            announce(f"paygate: listening on {doors.url}")
        await ending.wait()
        if ending.error is not None:
            if isinstance(ending.error, StoreDamaged):
                _log.critical("the data folder is damaged", what=str(ending.error))
            else:
                error = repr(ending.error)
                _log.critical("the journal failed; the next start recovers", error=error)
            await doors.drain(_FATAL_DRAIN_S)
            leave(Exit.FAILED)
    _log.info("drained")
    return Exit.DRAINED


def _app(gateway: Gateway, config: Config) -> web.Application:
    clock = SystemClock()
    ids = Ids(clock, random.Random())  # noqa: S311  # a request id is a name and no secret
    return make_app(
        gateway.front,
        config,
        clock=clock,
        sandbox_keys=config.sandbox.enabled,
        livemode=not config.sandbox.enabled,
        request_ids=lambda: ids.new("req"),
    )


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


async def _register(sandbox: str, gateway: str) -> None:
    """Tell the sandbox where its webhooks go; before recovery, which may cause some."""
    timeout = aiohttp.ClientTimeout(total=_REGISTER_S_MAX)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        session.post(f"{sandbox}/gateway", json={"url": gateway}) as answer,
    ):
        answer.raise_for_status()


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
