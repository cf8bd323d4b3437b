"""The servers that `bench_storm` measures, each a process of its own on a free port.

`yardstick`: a bare aiohttp handler that checks the same signature and decodes the same body;
nothing is kept. `gateway`: everything on, and a provider inside the process that approves charges
at once and whose webhooks are those of the sandbox's protocol. Each prints its port.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from aiohttp import web
from measured_server import serve

from paygate_actors.config import Config, Fraud, ProviderConfig, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.outcomes import Approved, Outcome
from paygate_actors.providers.base import ChargeCall, SignatureInvalid
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_engine.clock import SystemClock
from paygate_http.app import make_app
from paygate_http.logs import configure_logs
from paygate_http.runner import EdgeRunner
from paygate_http.sandbox.server import WEBHOOK_SECRET

PROVIDER = "storm"


class TellingProvider(SandboxProvider):
    """Approves every charge inside the process; verifies and reads webhooks as the sandbox's."""

    def __init__(self) -> None:
        super().__init__(
            id=PROVIDER, name="Storm", url="http://127.0.0.1:1", webhook_secret=WEBHOOK_SECRET
        )

    async def charge(self, call: ChargeCall) -> Outcome:
        """Approve."""
        return Approved(provider_txn_id=f"ch_{call.key}", amount=call.amount, captured=call.capture)


def yardstick() -> web.Application:
    """Check and decode, and keep nothing."""
    provider = TellingProvider()
    clock = SystemClock()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): text for name, text in request.headers.items()}
        try:
            provider.verify(headers, body, now_us=clock.now_us())
        except SignatureInvalid:
            return web.Response(status=401)
        provider.parse(headers, body)
        return web.Response(body=b'{"received":true}\n', content_type="application/json")

    app = web.Application()
    app.router.add_post(f"/api/webhooks/{PROVIDER}", receive)
    return app


async def gateway(folder: Path) -> tuple[Gateway, web.Application]:
    """The whole product on a fresh data folder."""
    config = Config(
        data_dir=str(folder),
        sandbox=Sandbox(enabled=True),
        fraud=Fraud(velocity=False),
        providers=(ProviderConfig(id=PROVIDER, kind="sandbox", url="http://127.0.0.1:1"),),
    )
    built = await Gateway.start(
        config,
        loop=asyncio.get_running_loop(),
        on_fatal=lambda error: sys.exit(f"the gateway failed: {error!r}"),
        adapters={PROVIDER: TellingProvider()},
    )
    await built.recover()
    app = make_app(
        built.front,
        config,
        clock=SystemClock(),
        sandbox_keys=True,
        livemode=False,
        request_ids=lambda: "req",
    )
    return built, app


async def main(mode: str) -> None:
    """Serve until the parent closes our standard input."""
    configure_logs("error")
    with tempfile.TemporaryDirectory() as folder:
        built = None
        if mode == "yardstick":
            runner: web.AppRunner = web.AppRunner(yardstick(), access_log=None)
        else:
            built, app = await gateway(Path(folder, "data"))
            runner = EdgeRunner(app)
        await serve(runner)
        if built is not None:
            await built.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
