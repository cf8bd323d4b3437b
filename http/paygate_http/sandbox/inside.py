"""The sandbox without sockets, for worlds whose time is not the machine's.

The application and all that works beside it are the served ones; a request is handed to the route
that a server would find, and a connection that would have been reset gives no answer.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from msgspec import Struct

from paygate_engine.clock import Clock
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.carriers import Carrier
from paygate_http.sandbox.folder import Nowhere, Storage
from paygate_http.sandbox.joined import Joined, join
from paygate_http.sandbox.notices import ATTEMPTS_MAX
from paygate_http.sandbox.server import WEBHOOK_SECRET
from paygate_http.sandbox.teller import Terms

# Where the gateway would be: the carrier knows better.
_GATEWAY_URL: Final = "http://gateway.invalid"
SANDBOX_URL: Final = "https://sandbox.invalid"


class Said(Struct, frozen=True, kw_only=True):
    """A whole answer."""

    status: int
    body: bytes
    retry_after: str | None = None


class InsideSandbox:
    """One sandbox on the loop that runs; its webhooks leave by `carrier`."""

    def __init__(
        self,
        *,
        clock: Clock,
        seed: int,
        terms: Terms,
        carrier: Carrier,
        storage: Storage | None = None,
        attempts_max: int = ATTEMPTS_MAX,
    ) -> None:
        books = Books(storage or Nowhere())
        books.settings.gateway_url = _GATEWAY_URL
        self.parts: Joined = join(
            books,
            clock=clock,
            terms=terms,
            seed=seed,
            latency_s=0.0,
            webhook_secret=WEBHOOK_SECRET,
            carrier=carrier,
            attempts_max=attempts_max,
            look_s=math.inf,
        )
        self.parts.app.freeze()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let what is due happen."""
        self.parts.notices.start()
        self._worker = asyncio.create_task(self.parts.schedule.run(), name="sandbox-schedule")

    async def stop(self) -> None:
        """Break off what is under way. Idempotent."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            await self.parts.notices.stop()

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> Said | None:
        """Answer one request; None where the connection would have been reset."""
        transport = _Wire()
        loop = asyncio.get_running_loop()
        payload = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        if body:
            payload.feed_data(body)
        payload.feed_eof()
        app = self.parts.app
        request = make_mocked_request(
            method, path, headers=headers, app=app, payload=payload, transport=transport, loop=loop
        )
        found = await app.router.resolve(request)
        found.add_app(app)
        found.freeze()
        request._match_info = found  # noqa: SLF001  # what the server sets at this point  # pyright: ignore[reportPrivateUsage]
        try:
            response = await found.handler(request)
        except web.HTTPException as error:
            return Said(status=error.status, body=b"")
        if transport.is_cut:
            return None
        assert isinstance(response, web.Response), "an account's answer is no stream"
        content = response.body
        return Said(
            status=response.status,
            body=content if isinstance(content, bytes) else b"",
            retry_after=response.headers.get("Retry-After"),
        )


class _Wire(asyncio.Transport):
    """A connection that can be reset."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False

    def abort(self) -> None:
        """Reset it."""
        self.is_cut = True
