"""A wire that is cut at a byte of the test's choice: what a request or an answer got as far as."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

Side = Literal["request", "answer"]
_CHUNK = 65_536


class CuttingProxy:
    """Passes bytes between clients and a server of loopback.

    `cut_at` and `lose_answer` arm it for one cut. `passed` counts the bytes of each side since the
    last `count`. While `mute` is set answers are swallowed, while `deaf` is set requests are, and
    no connection is ended.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut: tuple[Side, int] | None = None
        self._lose: int | None = None
        self.passed: dict[Side, int] = {"request": 0, "answer": 0}
        self.cuts = 0
        self.mute = False
        self.deaf = False

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cut_all()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def count(self) -> None:
        """Count from here."""
        self.passed = {"request": 0, "answer": 0}

    def cut_at(self, side: Side, byte: int) -> None:
        """End the connection when so many more bytes of this side have passed, all others too."""
        self.count()
        self._cut = (side, byte)

    def lose_answer(self, *, of_bytes: int) -> None:
        """End all connections when a request of so many bytes is answered: what it does is done."""
        self._lose = of_bytes

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        ends = [writer]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
            self._writers.add(back)
            ends.append(back)
            wire = _Wire()
            await asyncio.gather(
                self._pass("request", reader, back, wire), self._pass("answer", there, writer, wire)
            )
        except OSError:
            pass  # one of the ends is gone, and the other one with it
        finally:
            for each in ends:
                self._writers.discard(each)
                each.transport.abort()
            self._tasks.discard(task)

    async def _pass(
        self,
        side: Side,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        wire: "_Wire",
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            if self._lose is not None and self._loses(side, len(chunk), wire):
                return
            if (self.mute and side == "answer") or (self.deaf and side == "request"):
                continue
            if self._cut is not None and self._cut[0] == side:
                left = self._cut[1] - self.passed[side]
                if len(chunk) > left or left == 0:
                    writer.write(chunk[:left])
                    await writer.drain()
                    self._cut = None
                    self.cuts += 1
                    self._cut_all()
                    return
            self.passed[side] += len(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.transport.abort()

    def _loses(self, side: Side, size: int, wire: "_Wire") -> bool:
        """Whether this is the answer that gets lost."""
        if side == "request":
            wire.asked = self._lose is not None and size >= self._lose
            return False
        if not wire.asked:
            return False
        self._lose = None
        self.cuts += 1
        self._cut_all()
        return True

    def _cut_all(self) -> None:
        for writer in self._writers:
            # What was passed on before is delivered; what comes after is not.
            writer.close()


class _Wire:
    """One connection. `asked`: its newest request is one whose answer gets lost."""

    asked = False


@asynccontextmanager
async def cutting_proxy(port: int) -> AsyncGenerator[CuttingProxy]:
    """A proxy before a port, for as long as the block runs."""
    proxy = CuttingProxy(port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
