"""localstripe as a process beside us: a second Stripe, written by somebody else.

It is GPL, so nothing of ours imports it: a child process of its own does. It knows fewer fields
than Stripe, and some requests not at all; `Translator` stands between and says which.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import aiohttp
import pytest
from aiohttp import web

# Its own command listens on every address and writes its store to a file of a fixed name.
_PROGRAM = """
from aiohttp import web
from localstripe import resources
from localstripe.server import app
type(resources.store).dump_to_disk = lambda _: None
web.run_app(app, host="127.0.0.1", port={port}, print=lambda _: print("ready", flush=True))
"""
STARTS_S = 20.0
# What it does not know and would refuse.
_UNKNOWN_TO_CONFIRM = ("payment_method", "return_url", "error_on_requires_action")


class Translator:
    """Hands requests on to localstripe, but for what that does differently from Stripe.

    * A confirmation takes no fields there: the payment method is put on the intent first.
    * A capture takes no metadata there.
    * An intent does not say what was received or can be captured: it is added from its status.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._captured: dict[str, int] = {}
        self.confirmations = 0

    async def handle(self, request: web.Request) -> web.Response:
        fields = dict(await request.post())
        path = request.path
        if path.endswith("/confirm"):
            self.confirmations += 1
            method = {"payment_method": fields["payment_method"]}
            await self._send(request, path.removesuffix("/confirm"), method)
            fields = {name: fields[name] for name in fields if name not in _UNKNOWN_TO_CONFIRM}
        if path.endswith("/capture"):
            self._captured[path.split("/")[3]] = int(str(fields["amount_to_capture"]))
            fields = {name: fields[name] for name in fields if not name.startswith("metadata")}
        status, content = await self._send(request, path, fields)
        if content.get("object") == "payment_intent":
            content |= self._amounts(content)
        return web.json_response(content, status=status)

    async def _send(
        self, request: web.Request, path: str, fields: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        async with self._session.request(
            request.method,
            self._url + path,
            params=request.query,
            data=fields or None,
            headers={"Authorization": request.headers["Authorization"]},
        ) as response:
            return response.status, await response.json(content_type=None)

    def _amounts(self, intent: dict[str, Any]) -> dict[str, int]:
        amount: int = intent["amount"]
        captured = self._captured.get(intent["id"], amount)
        return {
            "amount_received": captured if intent["status"] == "succeeded" else 0,
            "amount_capturable": amount if intent["status"] == "requires_capture" else 0,
        }


@asynccontextmanager
async def localstripe() -> AsyncGenerator[tuple[str, Translator]]:
    """Start localstripe and the translator before it; gives the translator's URL."""
    if find_spec("localstripe") is None:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing("localstripe is not installed")
    port = _free_port()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM.format(port=port), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(STARTS_S):
            assert await child.stdout.readline() == b"ready\n"
        async with aiohttp.ClientSession() as session:
            translator = Translator(f"http://127.0.0.1:{port}", session)
            async with _serving(translator) as url:
                yield url, translator
    finally:
        child.kill()
        await child.communicate()


@asynccontextmanager
async def _serving(translator: Translator) -> AsyncGenerator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", translator.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
