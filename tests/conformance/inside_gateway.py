"""The whole gateway inside the test's own process: edge, actors, store, sandbox, real HTTP.

For what no process can be told from outside: a clock that is moved, a store or provider that
fails. Everything else is tested against the real process (`live_gateway`).
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from paygate_actors.config import Config, Limits, ProviderConfig, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.providers.base import Provider
from paygate_actors.webhooks_out import WayOut
from paygate_engine.clock import Clock, SystemClock
from paygate_engine.ids import Ids
from paygate_engine.stores.base import Store
from paygate_http.app import make_app
from paygate_http.configure import sandbox_providers
from paygate_http.doors import Doors
from paygate_http.notice_replies import webhook_body
from paygate_http.runner import EdgeRunner
from paygate_http.sandbox.server import start_sandbox

DRAIN_S = 5.0
ASIDE = Sandbox(enabled=True)


class ShiftedClock:
    """The machine's clocks, `ahead_s` seconds in the future."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self._system = SystemClock()
        self.ahead_s = ahead_s

    def now_us(self) -> int:
        """UTC, in microseconds since the epoch."""
        return self._system.now_us() + round(self.ahead_s * 1_000_000)

    def monotonic_s(self) -> float:
        """Seconds that only go forward."""
        return self._system.monotonic_s() + self.ahead_s


class Inside:
    """A running gateway; `failures` is what was reported as fatal."""

    def __init__(self, gateway: Gateway, url: str, failures: list[BaseException]) -> None:
        self.gateway = gateway
        self.url = url
        self.failures = failures


@asynccontextmanager
async def sandbox_aside(folder: Path, *, clock: Clock | None = None) -> AsyncGenerator[str]:
    """Run a sandbox whose books outlive the gateways that use it; gives its URL."""
    sandbox = await start_sandbox(data_dir=folder / "sandbox", latency_ms=5, clock=clock)
    try:
        yield sandbox.url
    finally:
        await sandbox.stop()


@asynccontextmanager
async def inside(
    folder: Path,
    sandbox_url: str,
    *,
    config: Config | None = None,
    clock: Clock | None = None,
    store: Store | None = None,
    adapters: Mapping[str, Provider] | None = None,
    providers: tuple[ProviderConfig, ...] | None = None,
) -> AsyncGenerator[Inside]:
    """Run a gateway on this loop, recovered and ready, and stop it in the end.

    `providers` are by default the sandbox's two that speak its own protocol.
    """
    clock = clock or SystemClock()
    whole = msgspec.structs.replace(
        config or Config(limits=Limits()),
        data_dir=str(folder / "data"),
        sandbox=ASIDE,
        providers=providers or sandbox_providers(sandbox_url),
    )
    failures: list[BaseException] = []
    async with AsyncExitStack() as stack:
        gateway = await Gateway.start(
            whole,
            loop=asyncio.get_running_loop(),
            on_fatal=failures.append,
            clock=clock,
            store=store,
            adapters=None if adapters is None else dict(adapters),
            way_out=WayOut(body_of=webhook_body),
        )
        stack.push_async_callback(gateway.stop)
        ids = Ids(clock, random.Random())  # names of requests
        app = make_app(
            gateway.front,
            whole,
            clock=clock,
            sandbox_keys=True,
            livemode=False,
            request_ids=lambda: ids.new("req"),
        )
        doors = await Doors.open(EdgeRunner(app, shutdown_timeout=1.0), host="127.0.0.1", port=0)
        stack.push_async_callback(doors.drain, DRAIN_S)
        await gateway.recover()
        yield Inside(gateway, doors.url, failures)
