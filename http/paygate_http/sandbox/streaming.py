"""`GET /webhooks/stream`: the webhooks as they go out, one JSON object a line, until somebody ends.

An empty line now and then shows that both ends are there.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from aiohttp import web

from paygate_http.sandbox.listeners import Listeners, Sent, TooManyListeners
from paygate_http.sandbox.wire import trouble

# Shorter than the minute after which most proxies cut off who says nothing.
BEAT_S: Final = 15.0

_UNAVAILABLE: Final = 503


async def stream(request: web.Request, listeners: Listeners) -> web.StreamResponse:
    """Send every webhook from now on, until the reader or the sandbox ends."""
    try:
        joined = listeners.join()
        with joined as heard:
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            # The first line tells the reader that it misses nothing from here on.
            await response.write(b"\n")
            await _pump(response, heard)
            return response
    except TooManyListeners:
        body = trouble("too_many_listeners", "Too many listen already: end one of them.")
        return web.Response(status=_UNAVAILABLE, body=body, content_type="application/json")


async def _pump(response: web.StreamResponse, heard: AsyncIterator[Sent]) -> None:
    following = asyncio.ensure_future(anext(heard, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=BEAT_S)
            if not done:
                await response.write(b"\n")
                continue
            sent = following.result()
            if sent is None:
                return
            await response.write(msgspec.json.encode(sent) + b"\n")
            following = asyncio.ensure_future(anext(heard, None))
    except (ConnectionError, asyncio.CancelledError):
        return
    finally:
        following.cancel()
