"""The servers that `bench_http` measures, each a process of its own on a free port.

`yardstick`: a bare aiohttp handler that looks the key up, decodes the same request and encodes a
reply of the same shape; nothing is kept. `accept`: the gateway with everything on and a provider
that answers at once, inside the process. `sandbox`: the gateway calling a sandbox over HTTP.
Each prints the port that it listens on.
"""

import asyncio
import random
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from aiohttp import web
from measured_server import serve

from paygate_actors.config import Config, Fraud, ProviderConfig, Sandbox, Server
from paygate_actors.gateway import Gateway
from paygate_actors.outcomes import Approved, Outcome, Unknown
from paygate_actors.providers.base import (
    Capabilities,
    ChargeCall,
    FollowUpCall,
    Provider,
    ProviderEvent,
    SignatureInvalid,
)
from paygate_engine.clock import SystemClock
from paygate_engine.ids import Ids
from paygate_http.app import make_app
from paygate_http.configure import sandbox_providers
from paygate_http.logs import configure_logs
from paygate_http.runner import EdgeRunner
from paygate_http.sandbox.server import start_sandbox
from paygate_http.stores import database_of

KEY = "sk_sandbox_merchant_a"


class InstantProvider:
    """A provider inside the process that approves at once: what is left is the gateway's cost."""

    name = "Instant"
    kind = "instant"
    capabilities = Capabilities(
        deadline_s=2.0, key_window_s=86_400, find_lag_s=0, ask_first_s=0.5, ask_max_s=5
    )

    def __init__(self, id: str) -> None:  # noqa: A002  # the protocol's word
        self.id = id

    async def charge(self, call: ChargeCall) -> Outcome:
        """Approve."""
        return Approved(provider_txn_id=f"ch_{call.key}", amount=call.amount, captured=call.capture)

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Approve."""
        return Approved(provider_txn_id=f"cp_{call.key}", amount=call.amount, captured=True)

    async def void(self, call: FollowUpCall) -> Outcome:
        """Approve."""
        return Approved(provider_txn_id=f"vo_{call.key}", amount=call.amount)

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Approve."""
        return Approved(provider_txn_id=f"re_{call.key}", amount=call.amount)

    async def find(self, key: str) -> Outcome:
        """Know nothing: it is never asked."""
        return Unknown(reason="not_visible")

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Refuse: it sends no webhooks."""
        raise SignatureInvalid

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Never reached."""
        raise NotImplementedError

    def redacted_config(self) -> dict[str, str]:
        """There is none."""
        return {}

    async def close(self) -> None:
        """Nothing is open."""


class Method(msgspec.Struct, rename="camel"):
    """The yardstick's payment method."""

    type: str
    card_number: str
    expiry_month: int
    expiry_year: int
    cvv: str


class Body(msgspec.Struct, rename="camel"):
    """The yardstick's request."""

    amount: float
    currency: str
    payment_method: Method
    metadata: dict[str, str]


class Reply(msgspec.Struct, rename="camel"):
    """The yardstick's reply: as long as ours."""

    id: str
    status: str
    amount: float
    currency: str
    payment_method: dict[str, str]
    metadata: dict[str, str]
    filling: str


async def yardstick() -> web.Application:
    """A handler with authentication, decoding and encoding, and nothing behind it."""
    decode = msgspec.json.Decoder(Body).decode
    encode = msgspec.json.Encoder().encode
    keys = {f"Bearer {KEY}": "merchant_a"} | {f"Bearer other-{n}": str(n) for n in range(1_000)}
    ids = Ids(SystemClock(), random.Random(1))

    async def process(request: web.Request) -> web.Response:
        if keys.get(request.headers.get("Authorization", "")) is None:
            return web.Response(status=401)
        body = decode(await request.read())
        method = {"type": body.payment_method.type, "last4": body.payment_method.card_number[-4:]}
        reply = Reply(
            ids.new("pay"),
            "processing",
            body.amount,
            body.currency,
            method,
            body.metadata,
            "x" * 500,
        )
        return web.Response(body=encode(reply), status=201, content_type="application/json")

    app = web.Application()
    app.router.add_post("/api/payments/process", process)
    return app


async def gateway(mode: str, folder: Path) -> tuple[Gateway, web.Application]:
    """The whole product on a fresh data folder."""
    providers: tuple[ProviderConfig, ...]
    adapters: dict[str, Provider] | None = None
    if mode == "accept":
        providers = (ProviderConfig(id="instant", kind="instant", url="http://127.0.0.1"),)
        adapters = {"instant": InstantProvider("instant")}
    else:
        sandbox = await start_sandbox(
            host="127.0.0.1",
            port=0,
            data_dir=None,
            seed=1,
            latency_ms=0,
            find_lag_ms=2_000,
            void_window_s=86_400,
            gateway_url=None,
        )
        providers = sandbox_providers(sandbox.url)
    config = Config(
        data_dir=str(folder),
        server=Server(),
        sandbox=Sandbox(enabled=True),
        fraud=Fraud(),
        providers=providers,
    )
    return await opened(config, adapters)


async def opened(
    config: Config, adapters: dict[str, Provider] | None
) -> tuple[Gateway, web.Application]:
    """A gateway that has recovered, on the store that is configured, and its edge."""
    built = await Gateway.start(
        config,
        loop=asyncio.get_running_loop(),
        on_fatal=_end,
        store=database_of(config, on_failed=_end),
        adapters=adapters,
    )
    await built.recover()
    clock = SystemClock()
    ids = Ids(clock, random.Random(2))
    app = make_app(
        built.front,
        config,
        clock=clock,
        sandbox_keys=True,
        livemode=False,
        request_ids=lambda: ids.new("req"),
    )
    return built, app


def _end(error: BaseException) -> None:
    sys.exit(f"the gateway failed: {error!r}")


async def main(mode: str) -> None:
    """Serve until the parent closes our standard input."""
    configure_logs("warning")
    with tempfile.TemporaryDirectory() as folder:
        built = None
        if mode == "yardstick":
            runner: web.AppRunner = web.AppRunner(await yardstick(), access_log=None)
        else:
            built, app = await gateway(mode, Path(folder, "data"))
            runner = EdgeRunner(app)
        await serve(runner)
        if built is not None:
            await built.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
