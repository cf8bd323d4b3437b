"""The tap on the line between an adapter and its provider: it listens, and spoils on demand.

A reverse proxy on loopback. The adapter is given its address instead of the provider's, so that
every kind of provider suffers the same troubles, whatever its protocol, and whatever its own end
can be told to do. What passes is written down: how many requests a call takes, under which keys.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

import aiohttp
from aiohttp import web
from msgspec import Struct
from yarl import URL

from paygate_http.sandbox.passage import reset

# The longest honest request is some KiB; what a provider answers is bounded by its own adapter.
BODY_BYTES_MAX: Final = 1024 * 1024
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
# A case makes some tens of requests; more than this is a loop, and the first ones tell of it.
SEEN_MAX: Final = 2_000
# Far beyond every deadline: whoever waits that long has none.
UPSTREAM_S: Final = 120.0

TRAP: Final = "/redirected-to-here"
"""Where redirects lead: behind it the provider answers as ever, so whoever follows is glad."""

# Of one connection alone, or made anew by the server and the client on both sides of the tap.
_HOP: Final = frozenset(
    {"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"}
)


class Seen(Struct, frozen=True, kw_only=True):
    """A request that passed, or was held up. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def moves(self) -> bool:
        """Whether it asks for something to be done, not only to be told."""
        return self.method not in ("GET", "HEAD")

    def mentions(self, text: str) -> bool:
        """Whether a header's value or the body has the text in it."""
        said = any(text in value for value in self.headers.values())
        return said or text.encode() in self.body


class Answer(Struct, frozen=True, kw_only=True):
    """What goes back to the adapter. `pause_s` passes before each byte of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    pause_s: float = 0.0


class Lost(Struct, frozen=True):
    """No answer: the connection is reset."""


class Hung(Struct, frozen=True):
    """No answer, and the connection stays."""


Upstream = Callable[[], Awaitable[Answer]]
Spoil = Callable[[Seen, Upstream], Awaitable[Answer | Lost | Hung]]
"""What is done to one request: it may let it through, and says what goes back."""


class _Plan(Struct):
    spoil: Spoil
    is_struck: Callable[[Seen], bool]
    skips: int


class Tap:
    """A running tap: `async with Tap(url) as tap`. `url` is where the adapter is sent."""

    def __init__(self, upstream_url: str) -> None:
        self._upstream = URL(upstream_url.rstrip("/"))
        self._session: aiohttp.ClientSession | None = None
        self._plans: list[_Plan] = []
        self._over = asyncio.Event()
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{rest:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self.seen: list[Seen] = []
        self.trapped = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=UPSTREAM_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def spoil_next(
        self, spoil: Spoil, *, skips: int = 0, looks: bool = False, mentions: str = ""
    ) -> None:
        """Spoil the next request that moves something (`looks`: the next look-up), once.

        `skips` of them pass before. With `mentions` those alone count that have the text in a
        header or in their body. Plans are taken in the order in which they were made.
        """

        def is_struck(seen: Seen) -> bool:
            return seen.moves is not looks and (not mentions or seen.mentions(mentions))

        self._plans.append(_Plan(spoil, is_struck, skips))

    @property
    def upstream(self) -> str:
        """The provider's end."""
        return str(self._upstream).rstrip("/")

    @property
    def moving(self) -> list[Seen]:
        """What passed so far and asked for something to be done."""
        return [each for each in self.seen if each.moves]

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path
        if path.startswith(TRAP):
            self.trapped += 1
            path = path.removeprefix(TRAP)
        seen = Seen(
            method=request.method,
            path=path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        if len(self.seen) < SEEN_MAX:
            self.seen.append(seen)

        async def upstream() -> Answer:
            return await self._forward(seen)

        plan = self._due(seen)
        answer = await (upstream() if plan is None else plan.spoil(seen, upstream))
        match answer:
            case Lost():
                reset(request)
                return web.Response(status=500)
            case Hung():
                await self._over.wait()
                reset(request)
                return web.Response(status=500)
            case Answer():
                return await _send(request, answer)

    def _due(self, seen: Seen) -> _Plan | None:
        for plan in self._plans:
            if plan.is_struck(seen):
                if plan.skips > 0:
                    plan.skips -= 1
                    return None
                self._plans.remove(plan)
                return plan
        return None

    async def _forward(self, seen: Seen) -> Answer:
        assert self._session is not None, "the tap was not entered"
        base = str(self._upstream).rstrip("/")
        headers = {name: value for name, value in seen.headers.items() if name not in _HOP}
        try:
            async with self._session.request(
                seen.method,
                URL(base + seen.path, encoded=True),
                headers=headers,
                data=seen.body or None,
                allow_redirects=False,
            ) as response:
                return Answer(
                    status=response.status,
                    body=await _read(response),
                    headers={
                        name.lower(): value
                        for name, value in response.headers.items()
                        if name.lower() not in _HOP
                    },
                )
        except (aiohttp.ClientError, TimeoutError):
            return Answer(status=502, body=b"the provider's end does not answer")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            break
    return bytes(body)


async def _send(request: web.Request, answer: Answer) -> web.StreamResponse:
    if not answer.pause_s:
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    try:
        for byte in answer.body:
            await response.write(bytes([byte]))
            await asyncio.sleep(answer.pause_s)
    except (ConnectionError, aiohttp.ClientError):
        # The adapter has had enough, which is what it should do.
        reset(request)
    return response
