"""`paygate listen`: the sandbox's webhooks, shown and sent on as they go out.

Known from other providers' command lines: one line for what was sent, one for what the receiver
said. What is sent on is what the sandbox signed, to the last byte, so that the receiver checks it
as it will check real ones.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, Protocol, get_args

import aiohttp
import msgspec

from paygate_http.configure import ConfigInvalid
from paygate_http.flags import ListenFlags
from paygate_http.process import Ending, Exit, Refused
from paygate_http.sandbox.listeners import EVENT_TYPES, Sent
from paygate_http.sandbox.wire import ProviderId
from paygate_http.sandbox_accounts import accounts, checked_url, nobody_there, session

# What the sandbox itself gives a receiver.
FORWARD_S: Final = 5.0
# A sandbox that is being restarted is back in a second; one that is gone costs a look now and then.
AGAIN_FIRST_S: Final = 0.25
AGAIN_MAX_S: Final = 5.0
CONNECT_S: Final = 5.0
# A webhook is some KiB; a longer line comes from no sandbox.
LINE_BYTES_MAX: Final = 4 * 1024 * 1024

_OK: Final = 200
_sent = msgspec.json.Decoder(Sent)


class _Gone(Exception):
    """The sandbox went away."""


class Says(Protocol):
    """Where lines go."""

    def __call__(self, line: str, /) -> None:
        """Write one."""
        ...


def listen(flags: ListenFlags) -> Exit:
    """Listen until Ctrl-C or SIGTERM.

    Raises `Refused` where no sandbox runs, `ConfigInvalid` for bad flags.
    """
    url = checked_url("--url", flags.url)
    forward_to = None
    if flags.forward_to is not None:
        forward_to = checked_url("--forward-to", flags.forward_to)
    listener = Listener(url, flags, forward_to=forward_to)

    async def run() -> Exit:
        ending = Ending(asyncio.get_running_loop())
        listening = asyncio.create_task(listener.run())
        ended = asyncio.create_task(ending.wait())
        await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        return Exit.DRAINED

    return asyncio.run(run())


class Listener:
    """Shows what one sandbox sends; connects again when it went away."""

    def __init__(
        self, url: str, flags: ListenFlags, *, forward_to: str | None, says: Says | None = None
    ) -> None:
        self._url = url
        self._forward_to = forward_to
        self._provider = _account(flags.provider)
        self._as_json = flags.json
        self._says = says or _write
        self._events = _names(flags.events)

    async def run(self) -> None:
        """Listen for ever.

        Raises `Refused` where nobody answers the first time, or somebody who is no sandbox.
        """
        wait_s = AGAIN_FIRST_S
        has_heard = False
        async with session() as connections:
            while True:
                try:
                    async with self._stream(connections) as lines:
                        if not has_heard:
                            self._greet()
                        elif not self._as_json:
                            self._says(f"connected to {self._url} again")
                        has_heard, wait_s = True, AGAIN_FIRST_S
                        await self._follow(connections, lines)
                except (aiohttp.ClientError, OSError, TimeoutError, _Gone) as error:
                    if not has_heard:
                        raise nobody_there(self._url, error) from error
                    self._complain(f"the sandbox at {self._url} went away; trying again")
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, AGAIN_MAX_S)

    @asynccontextmanager
    async def _stream(
        self, connections: aiohttp.ClientSession
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        url = f"{self._url}/webhooks/stream"
        async with connections.get(
            url, timeout=timeout, max_line_size=LINE_BYTES_MAX, read_bufsize=LINE_BYTES_MAX
        ) as response:
            if response.status != _OK:
                said = (await response.content.read(200)).decode(errors="replace")
                raise Refused(f"{url} answered {response.status}: {said}")
            yield response.content

    async def _follow(
        self, connections: aiohttp.ClientSession, lines: aiohttp.StreamReader
    ) -> None:
        async for line in lines:
            if not line.strip():
                continue
            try:
                sent = _sent.decode(line)
            except msgspec.DecodeError as error:
                raise Refused(f"{self._url} is no sandbox: a line of it is no webhook") from error
            if self._is_asked(sent):
                await self._show(connections, sent, line)
        raise _Gone

    def _is_asked(self, sent: Sent) -> bool:
        if self._provider is not None and sent.provider != self._provider:
            return False
        return not self._events or sent.event_type in self._events

    async def _show(self, connections: aiohttp.ClientSession, sent: Sent, line: bytes) -> None:
        if self._as_json:
            self._says(line.decode().rstrip("\n"))
        else:
            self._says(f"{_time(sent)}  --> {sent.event_type} [{sent.id}] {sent.provider}")
        if self._forward_to is None:
            return
        answer = await self._forward(connections, self._forward_to, sent)
        if self._as_json:
            self._complain(f"[{answer}] POST {self._forward_to} [{sent.id}]")
        else:
            self._says(f"{_time(sent)} <--  [{answer}] POST {self._forward_to} [{sent.id}]")

    @staticmethod
    async def _forward(connections: aiohttp.ClientSession, url: str, sent: Sent) -> str:
        try:
            async with connections.post(
                url,
                data=sent.body.encode(),
                headers=sent.headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=FORWARD_S),
            ) as response:
                return str(response.status)
        except TimeoutError:
            return f"no answer in {FORWARD_S:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"not delivered: {type(error).__name__}"

    def _greet(self) -> None:
        if self._as_json:
            return
        self._says(f"listening to the webhooks of {self._url} (Ctrl-C ends)")
        for name, trial in accounts().items():
            if self._provider in (None, name) and trial.config.webhook_secret:
                self._says(f"signing secret of {name}: {trial.config.webhook_secret}")

    @staticmethod
    def _complain(line: str) -> None:
        sys.stderr.write(f"paygate: {line}\n")
        sys.stderr.flush()


def _account(name: str | None) -> str | None:
    known: tuple[str, ...] = get_args(ProviderId)
    if name is not None and name not in known:
        raise ConfigInvalid(f"--provider: there is no {name}; there are {', '.join(known)}")
    return name


def _names(text: str | None) -> frozenset[str]:
    if text is None:
        return frozenset()
    names = frozenset(each.strip() for each in text.split(",") if each.strip())
    if not names:
        raise ConfigInvalid("--events: names no event")
    if unknown := sorted(names.difference(EVENT_TYPES)):
        known = ", ".join(EVENT_TYPES)
        raise ConfigInvalid(f"--events: there is no {', '.join(unknown)}; there are {known}")
    return names


def _time(sent: Sent) -> str:
    return sent.at[:19].replace("T", " ")


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
