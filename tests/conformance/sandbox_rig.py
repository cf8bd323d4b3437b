"""A sandbox to test against, and a stand-in for the gateway that takes its webhooks."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from paygate_engine.clock import Clock, ManualClock
from paygate_http.sandbox.server import Sandbox, start_sandbox

APPROVED = "4242424242424242"
DISPUTED = "4000000000000259"
CONFIRM = "4000002760003184"
WAIT_S = 5.0


class Inbox:
    """Takes webhooks in the gateway's place. `status` is what it answers next."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.url = ""
        self._changed = asyncio.Condition()
        app = web.Application()
        app.add_routes([web.post("/api/webhooks/{provider}", self._take)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.received]

    @property
    def types(self) -> list[str]:
        return [event["eventType"] for event in self.events]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.received]

    async def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Wait until `count` webhooks came in, refused ones too."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= count)
        return self.events

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        async with self._changed:
            self.received.append((headers, body))
            self._changed.notify_all()
        return web.Response(status=self.status)


class Rig:
    """A running sandbox with short words for what tests say to it."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self._session = session

    async def post(
        self, path: str, body: object = None, *, key: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Idempotency-Key": key} if key is not None else {}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.post(path, data=data, headers=headers) as response:
            return response.status, json.loads(await response.read())

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(path) as response:
            return response.status, json.loads(await response.read())

    async def text(self, path: str) -> str:
        async with self._session.get(path) as response:
            return await response.text()

    async def delete(self, path: str) -> int:
        async with self._session.delete(path) as response:
            return response.status

    async def charge(
        self,
        key: str,
        *,
        minor: int = 1_000,
        number: str = APPROVED,
        provider: str = "sandbox",
        capture: bool = True,
        **more: object,
    ) -> tuple[int, Any]:
        body = {
            "amountMinor": minor,
            "currency": "USD",
            "capture": capture,
            "card": {"number": number, "cvv": "123"},
            **more,
        }
        return await self.post(f"/providers/{provider}/charges", body, key=key)

    async def charged(self, key: str, **more: Any) -> str:
        """Charge, expect 200, and give the provider's id."""
        status, answer = await self.charge(key, **more)
        assert status == 200, answer
        return answer["id"]

    async def follow(
        self,
        noun: str,
        key: str,
        charge_id: str,
        *,
        minor: int | None = None,
        provider: str = "sandbox",
    ) -> tuple[int, Any]:
        body: dict[str, object] = {"providerTxnID": charge_id, "currency": "USD"}
        if minor is not None:
            body["amountMinor"] = minor
        return await self.post(f"/providers/{provider}/{noun}", body, key=key)

    async def ledger(self) -> list[dict[str, Any]]:
        return (await self.get("/ledger"))[1]["data"]

    async def effects(self) -> list[tuple[str, str, int]]:
        """The ledger as (operation, key, minor units)."""
        return [
            (line["operation"], line["idempotencyKey"], line["amountMinor"])
            for line in await self.ledger()
        ]

    async def calls(self) -> list[dict[str, Any]]:
        return (await self.get("/calls"))[1]["data"]

    async def fault(self, fault: str, **more: object) -> None:
        status, answer = await self.post("/faults", {"fault": fault, **more})
        assert status == 200, answer

    async def found(self, key: str) -> dict[str, Any]:
        """Look the key up, past the lag."""
        status, answer = await self.get(f"/operations/{key}")
        assert status == 200, answer
        return answer

    async def until(self, is_so: Callable[[Any], bool], path: str) -> Any:
        """Ask until the answer satisfies; a clock that is moved by hand wakes nobody at once."""
        async with asyncio.timeout(WAIT_S):
            while True:
                _, answer = await self.get(path)
                if is_so(answer):
                    return answer


@asynccontextmanager
async def sandbox_rig(
    *, clock: Clock | None = None, data_dir: Path | None = None, **options: Any
) -> AsyncGenerator[Rig]:
    """Start a sandbox on a clock that stands still; stop it in the end."""
    clock = clock if clock is not None else ManualClock()
    seed = options.pop("seed", None)
    seed = seed if seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"sandbox seed {seed}")  # noqa: T201 - what a failure is reproduced by
    options.setdefault("latency_ms", 0)
    options.setdefault("find_lag_ms", 0)
    sandbox = await start_sandbox(clock=clock, data_dir=data_dir, seed=seed, **options)
    try:
        async with aiohttp.ClientSession(sandbox.url) as session:
            yield Rig(sandbox, session, clock)
    finally:
        await sandbox.stop()
