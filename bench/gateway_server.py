"""The gateway that is measured: everything on, on a fresh SQLite folder, on a free port.

`gateway_server.py PROVIDER`. PROVIDER is `instant` (the sandbox's adapter with its socket
replaced), `held` (the same, and every charge stays pending), or the URL of a sandbox that runs.

Everything that a live server does is done: stored keys (a thousand of them) under a pepper, all
checks of a body, fraud rules with velocity, vault and token, idempotency, events, documents, audit
chain, the merchants' feed. No merchant has registered an endpoint for webhooks, so none is sent.
"""

import asyncio
import random
import sys
import tempfile
from base64 import b64decode
from pathlib import Path

from gateway_questions import Questions
from instant_provider import CONFIG, ID, Says, instant
from made_requests import KEYS, key
from measured_server import serve

from paygate_actors.config import Config, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.messages import ApiKey, Caller
from paygate_actors.providers.base import Provider
from paygate_engine.clock import SystemClock
from paygate_engine.ids import Ids
from paygate_http.app import make_app
from paygate_http.auth import key_digest
from paygate_http.configure import sandbox_providers
from paygate_http.logs import configure_logs
from paygate_http.runner import EdgeRunner
from paygate_http.stores import database_of

HELD = "held"
PEPPER = "cGVwcGVyIG9mIHRoZSBiZW5jaCwgMzIgYnl0ZXMhISE="
OPERATOR = Caller(role="operator", merchant="", key_id="key_bench")


def config_of(provider: str, folder: str) -> tuple[Config, dict[str, Provider] | None]:
    """The configuration, and the adapters where they are not those that it names."""
    adapters: dict[str, Provider] | None = None
    providers = (CONFIG,)
    if provider in (ID, HELD):
        says: Says = "succeeded" if provider == ID else "pending"
        adapters = {ID: instant(says)}
    else:
        providers = sandbox_providers(provider)
    config = Config(
        data_dir=folder,
        api_key_pepper=PEPPER,
        sandbox=Sandbox(enabled=True),
        providers=providers,
    )
    return config, adapters


async def opened(
    config: Config, adapters: dict[str, Provider] | None
) -> tuple[Gateway, EdgeRunner]:
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
    return built, EdgeRunner(app)


async def put_keys(gateway: Gateway) -> None:
    """Store the keys that the load pays with."""
    pepper = b64decode(PEPPER)
    at_us = gateway.system.clock.now_us()
    stored = [
        ApiKey(
            id=f"key_{number:04d}",
            role="merchant",
            merchant=f"merchant_{number:04d}",
            digest=key_digest(pepper, key(number)),
            created_at_us=at_us,
        )
        for number in range(KEYS)
    ]
    await asyncio.gather(*(gateway.front.put_key(OPERATOR, each) for each in stored))


def _end(error: BaseException) -> None:
    sys.exit(f"the gateway failed: {error!r}")


async def main(provider: str) -> None:
    """Serve until the parent closes our standard input."""
    configure_logs("error")
    with tempfile.TemporaryDirectory() as folder:
        gateway, runner = await opened(*config_of(provider, str(Path(folder, "data"))))
        await put_keys(gateway)
        await serve(runner, Questions(gateway).answer)
        await gateway.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
