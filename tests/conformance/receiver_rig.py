"""Receivers of webhooks: one that lives in the test's own world, and one behind real HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from paygate_actors.notice_sender import Answer

PATIENCE_S = 20.0
OK = Answer(status=200)

Say = Callable[[int], Answer]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it arrived; `at_us` by the clock of the world that it is in."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    at_us: int = 0

    @property
    def id(self) -> str:
        """The id of the message."""
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        """The type of the event."""
        return self.json()["type"]

    def json(self) -> dict[str, Any]:
        """The body, read."""
        return msgspec.json.decode(self.body)


class Receivers:
    """The `Sender` of a world without sockets: `says[url]` answers the n-th message, from 0.

    One that is in `hanging` answers when it is let go (`let_go`).
    """

    def __init__(self, now_us: Callable[[], int] = lambda: 0) -> None:
        self.now_us = now_us
        self.sent: list[Sent] = []
        self.says: dict[str, Say] = {}
        self.hanging: set[str] = set()
        self.refused: set[str] = set()
        self._freed = asyncio.Event()

    async def check(self, url: str) -> str | None:
        """Everything may be called but what is refused."""
        return "must be something else" if url in self.refused else None

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take a message and answer as it was said."""
        number = len(self.to(url))
        self.sent.append(Sent(url=url, headers=headers, body=body, at_us=self.now_us()))
        if url in self.hanging:
            await self._freed.wait()
        return self.says.get(url, lambda _: OK)(number)

    async def close(self) -> None:
        """Nothing to give back."""

    def to(self, url: str) -> list[Sent]:
        """What came to this URL, in order."""
        return [each for each in self.sent if each.url == url]

    def let_go(self) -> None:
        """Let those that hang answer."""
        self.hanging.clear()
        self._freed.set()


Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """A web server on loopback that keeps what it gets, and answers 200 or as `reply` does."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Sent] = []
        self.reply: Reply | None = None
        self._came = asyncio.Event()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Keep a message, then answer."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Sent(url=str(request.url), headers=headers, body=await request.read()))
        self._came.set()
        return web.Response() if self.reply is None else await self.reply(request)

    async def until(self, is_so: Callable[[list[Sent]], bool]) -> list[Sent]:
        """Wait until what came is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so(self.got):
                self._came.clear()
                await self._came.wait()
        return self.got


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver]:
    """Run a receiver on a free port of loopback."""
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        found.url = f"http://{host}:{port}/hook"
        yield found
    finally:
        await runner.cleanup()
