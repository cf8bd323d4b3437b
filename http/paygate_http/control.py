"""The back door: a socket in the data folder, for commands on the same machine.

A command that changes something while a server runs must go through that server, the folder's only
writer. Who may open the socket is decided by the file system: the folder and the socket belong to
the server's user alone, so no secret passes and none has to be kept. It speaks HTTP with JSON
bodies; every answer is a result, or 409 with a sentence.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web

from paygate_actors.messages import ApiKey, Refusal
from paygate_actors.replay_messages import ReplayPage, ReplayWebhooks
from paygate_http.key_desk import KeyDesk, KeyRefused, MadeKey, NewKey
from paygate_http.process import Refused

_NAME = "control.sock"
# A command waits for one commit; a server that takes longer is not well.
_TIMEOUT_S = 10.0

Replay = Callable[[ReplayWebhooks], Awaitable[ReplayPage | Refusal]]
"""What reads webhooks again."""


class Control:
    """The server's side; an asynchronous context manager, open while the server serves."""

    def __init__(self, folder: str, desk: KeyDesk, *, replay: Replay | None = None) -> None:
        self._folder = Path(folder)
        self._desk = desk
        self._replay = replay
        self._runner = web.AppRunner(self._app(), access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        # The lock on the folder is ours by now: a socket that lies there is a dead server's.
        (self._folder / _NAME).unlink(missing_ok=True)
        with _Folder(self._folder) as folder:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            mask = os.umask(0o177)
            try:
                listener.bind(folder.path(_NAME))
            finally:
                os.umask(mask)
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
        (self._folder / _NAME).unlink(missing_ok=True)

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/keys", _answer(self._list))
        app.router.add_post("/keys", _answer(self._create))
        app.router.add_post("/keys/{id}/revoke", _answer(self._revoke))
        if self._replay is not None:
            app.router.add_post("/webhooks/replay", _answer(self._read_again))
        return app

    async def _list(self, request: web.Request) -> tuple[ApiKey, ...]:
        return await self._desk.list()

    async def _create(self, request: web.Request) -> MadeKey:
        return await self._desk.create(msgspec.json.decode(await request.read(), type=NewKey))

    async def _revoke(self, request: web.Request) -> ApiKey:
        return await self._desk.revoke(request.match_info["id"])

    async def _read_again(self, request: web.Request) -> ReplayPage:
        assert self._replay is not None, "the route is there with it alone"
        command = msgspec.json.decode(await request.read(), type=ReplayWebhooks)
        page = await self._replay(command)
        if isinstance(page, Refusal):
            raise Refused(page.detail)
        return page


class RemoteDesk:
    """The command's side: a key desk that asks the server which serves the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    async def create(self, new: NewKey) -> MadeKey:
        """Do as `KeyDesk.create`, in the server."""
        body = await self._call("POST", "/keys", msgspec.json.encode(new))
        return msgspec.json.decode(body, type=MadeKey)

    async def list(self) -> tuple[ApiKey, ...]:
        """Do as `KeyDesk.list`, in the server."""
        return msgspec.json.decode(await self._call("GET", "/keys"), type=tuple[ApiKey, ...])

    async def revoke(self, key_id: str) -> ApiKey:
        """Do as `KeyDesk.revoke`, in the server."""
        return msgspec.json.decode(await self._call("POST", f"/keys/{key_id}/revoke"), type=ApiKey)

    async def _call(self, method: str, path: str, body: bytes = b"") -> bytes:
        text = await _call(self._folder, method, path, body, timeout_s=_TIMEOUT_S)
        if isinstance(text, str):
            raise KeyRefused(text)
        return text


class RemoteReplays:
    """The command's side: webhooks are read again by the server which serves the folder."""

    def __init__(self, folder: str, *, timeout_s: float) -> None:
        self._folder = Path(folder)
        self._timeout_s = timeout_s

    async def page(self, command: ReplayWebhooks) -> ReplayPage:
        """Do as `Front.replay_webhooks`, in the server. Raises `Refused`."""
        body = msgspec.json.encode(command)
        text = await _call(
            self._folder, "POST", "/webhooks/replay", body, timeout_s=self._timeout_s
        )
        if isinstance(text, str):
            raise Refused(text)
        return msgspec.json.decode(text, type=ReplayPage)


async def _call(
    folder: Path, method: str, path: str, body: bytes, *, timeout_s: float
) -> bytes | str:
    """The result, or the sentence of a refusal."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    with _Folder(folder) as opened:
        connector = aiohttp.UnixConnector(opened.path(_NAME))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://control{path}", data=body) as answer,
        ):
            text = await answer.read()
    return text if answer.status == web.HTTPOk.status_code else text.decode()


def is_served(folder: str) -> bool:
    """Whether a server that serves the folder listens there."""
    try:
        with _Folder(Path(folder)) as opened, socket.socket(socket.AF_UNIX) as probe:
            probe.connect(opened.path(_NAME))
    except OSError:
        return False
    return True


class _Folder:
    """Names files in a folder by a short path: a socket's may have some 100 bytes only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def path(self, name: str) -> str:
        by_descriptor = Path("/proc/self/fd")
        if by_descriptor.is_dir():
            return str(by_descriptor / str(self._descriptor) / name)
        return str(self._folder / name)


def _answer(
    handler: Callable[[web.Request], Awaitable[Any]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        try:
            result = await handler(request)
        except (Refused, msgspec.ValidationError, msgspec.DecodeError) as error:
            return web.Response(status=409, text=str(error))
        return web.Response(body=msgspec.json.encode(result), content_type="application/json")

    return answer
