"""Child processes that are kept running: started, watched, started again, let go together.

Theory of operation. A member is one command. Its standard input is a pipe that nobody writes to:
the member ends, in its own good time, when the pipe does. So letting go and dying are one thing
for it: a crew whose process is killed with -9 leaves no orphan behind, on any system, and nobody
is signalled twice who shares a terminal or a control group with us (a second SIGTERM would cut a
drain short). Its standard output is one line, printed once it serves; its log goes where ours goes.

A member that ends with anything but 0 is started again, after a delay that doubles from failure to
failure. One that ends with 0 was told to by somebody, and stays away. Until a member has served
for the first time, its end is the end of the start: what cannot come up is told at once, and not
tried for ever.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog

# A fenced or killed node is wanted back soon: the others do its work meanwhile.
RESTART_S: Final = 0.5
# What fails again and again, a database that is away above all, is tried twice a minute.
RESTART_S_MAX: Final = 30.0
# Who served this long has recovered from whatever it was: the next failure is a new one.
STEADY_S: Final = 60.0
# What a shell says of a command that it cannot run.
_NOT_STARTED: Final = 126

_log = structlog.get_logger("paygate.crew")


class Member:
    """One command, kept running by `keep`. `serves` is set while it does what it is there for."""

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.line = ""
        """What it printed when it came up, without the line's end."""
        self.serves = asyncio.Event()
        self.pid = 0
        self.code: int | None = None
        """What it ended with last; negative: the signal that ended it. None: it never did."""
        self.environment = environment
        self.child: asyncio.subprocess.Process | None = None
        self._let_go = asyncio.Event()

    async def keep(self) -> int:
        """Run it until it is let go, ends with 0, or never came up; its last exit code."""
        delay_s = RESTART_S
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            self.code = await self._run()
            if self._let_go.is_set() or self.code == 0 or not self.line:
                return self.code
            if loop.time() - began_s > STEADY_S:
                delay_s = RESTART_S
            _log.error("ended", member=self.name, code=self.code, again_in_s=delay_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._let_go.wait()
                    return self.code
            delay_s = min(delay_s * 2, RESTART_S_MAX)

    def let_go(self) -> None:
        """Have it end in its own time, and not come back. Idempotent."""
        self._let_go.set()
        if self.child is not None and self.child.stdin is not None:
            self.child.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        # `Process.send_signal` would poll, and so take the exit code away from asyncio's watcher.
        if self.child is not None and self.child.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.child.pid, number)

    async def _run(self) -> int:
        """One life of it; its exit code. Raises OSError where its first one cannot begin."""
        try:
            self.child = child = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=self.environment,
            )
        except OSError as error:
            if not self.line:
                raise
            _log.error("not_started", member=self.name, error=str(error))
            return _NOT_STARTED
        assert child.stdout is not None, "it is a pipe"
        self.pid = child.pid
        try:
            if self._let_go.is_set():  # while it was being started
                self.let_go()
            line = await child.stdout.readline()
            if line.endswith(b"\n"):
                self.line = line.decode(errors="replace").rstrip("\n")
                self.serves.set()
                _log.info("serves", member=self.name, pid=child.pid)
            # To its end, so that a member that goes on talking is not held up by a full pipe.
            while await child.stdout.read(65_536):
                pass
            return await child.wait()
        finally:
            self.serves.clear()


class Crew:
    """Members that come up together and are let go together."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._keeping: list[asyncio.Task[int]] = []

    async def come_up(self) -> int | None:
        """Start all; None once every one serves, else the exit code of the first that cannot."""
        self._keeping = [asyncio.create_task(each.keep()) for each in self._members]
        up = asyncio.gather(*(each.serves.wait() for each in self._members))
        try:
            await asyncio.wait((up, *self._keeping), return_when=asyncio.FIRST_COMPLETED)
            ended = (each.result() for each in self._keeping if each.done())
            return None if up.done() else next(ended)
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)

    async def all_ended(self) -> None:
        """Return when there is nobody left, and nobody will be started again.

        Whoever stops waiting ends nobody by it.
        """
        await asyncio.wait(self._keeping)

    def hang_up(self, *, but: str = "") -> None:
        """Pass a SIGHUP on to those who serve, but for one; who starts reads everything anew."""
        for each in self._members:
            if each.serves.is_set() and each.name != but:
                each.signal(signal.SIGHUP)

    def kill(self) -> None:
        """End every one at once."""
        for each in self._members:
            each.let_go()
            each.signal(signal.SIGKILL)

    async def let_go(self, within_s: float) -> bool:
        """Let all end in their own time; False: one failed, or had to be killed. Idempotent."""
        for each in self._members:
            each.let_go()
        try:
            async with asyncio.timeout(within_s):
                await asyncio.shield(asyncio.gather(*self._keeping, return_exceptions=True))
        except TimeoutError:
            late = [each.name for each in self._members if each.serves.is_set()]
            _log.error("killed", members=late, within_s=within_s)
            self.kill()
            await asyncio.gather(*self._keeping, return_exceptions=True)
        return all(each.exception() is None and each.result() == 0 for each in self._keeping)
