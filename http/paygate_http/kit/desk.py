"""The sandbox's own side, as the kit sees it: books, faults, payers, disputes, webhooks.

It speaks to the sandbox's control routes over HTTP, to one that the command started and to one that
runs elsewhere alike.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import aiohttp
import msgspec
from msgspec import Meta

from paygate_http.sandbox.listeners import Sent

# The sandbox is near; a desk that takes longer is none.
ANSWER_S: Final = 10.0
# What one run of the kit is told of; the oldest go first.
HEARD_MAX: Final = 10_000

_OK: Final = 200
_T = TypeVar("_T")


class Effect(NamedTuple):
    """A movement of money, as the books have it."""

    operation: str
    key: str
    minor: int


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    provider: str
    operation: str
    amount_minor: int
    idempotency_key: str | None = None


class _Ledger(msgspec.Struct, frozen=True):
    data: list[_Line]


class _Operation(msgspec.Struct, frozen=True, rename="camel"):
    charge_id: Annotated[str, Meta(max_length=255)] | None = msgspec.field(
        name="chargeID", default=None
    )


# Made here, so that a type which cannot be decoded is seen when the module is loaded.
_ledger = msgspec.json.Decoder(_Ledger)
_operation = msgspec.json.Decoder(_Operation)
_sent = msgspec.json.Decoder(Sent)
_faults = msgspec.json.Decoder(dict[str, Any])


class DeskRefused(Exception):
    """The desk did not do it; the text says what it said."""


class Desk:
    """The control desk of a sandbox, for one of its accounts."""

    def __init__(self, url: str, account: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.account = account
        self._session = session
        self._heard: list[Sent] = []
        self._news = asyncio.Condition()

    async def greet(self) -> None:
        """Ask whether anybody is there. Raises `DeskRefused`, or what the line does."""
        _read(_faults, await self._ask("GET", "/faults"), "/faults")
        # One that does not know this cannot be listened to either.
        await self._ask("GET", "/gateway")

    async def effects(self, *keys: str) -> list[Effect]:
        """Every movement of money under these keys, in order."""
        body = await self._ask("GET", "/ledger")
        lines = _read(_ledger, body, "/ledger").data
        return [
            Effect(line.operation, line.idempotency_key, line.amount_minor)
            for line in lines
            if line.provider == self.account and line.idempotency_key in keys
        ]

    async def plan(self, fault: str, **more: Any) -> None:
        """Let the account's next call suffer; names as in `POST /faults`."""
        body = {"fault": fault, "provider": self.account, **more}
        await self._ask("POST", "/faults", body)

    async def clear_faults(self) -> None:
        """Drop every plan."""
        await self._ask("DELETE", "/faults")

    async def act(self, charge_id: str, does: Literal["complete", "fail", "expire"]) -> None:
        """Be the payer. Raises `DeskRefused` where the charge waits for none."""
        await self._ask("POST", f"/actions/{charge_id}/{does}", {})

    async def close_dispute(self, charge_id: str, outcome: Literal["won", "lost"]) -> None:
        """Be the bank. Raises `DeskRefused` where there is no open dispute."""
        await self._ask("POST", f"/disputes/{charge_id}/close", {"outcome": outcome})

    async def give_back(self, charge_id: str) -> None:
        """Be the provider, who refunds all of it by itself. Raises `DeskRefused`."""
        await self._ask("POST", "/returns", {"providerTxnID": charge_id})

    async def charge_id(self, key: str) -> str | None:
        """Give the books' own id of the charge with this key; None: not visible.

        Raises `DeskRefused` where the answer is none of a sandbox.
        """
        try:
            body = await self._ask("GET", f"/operations/{key}?provider={self.account}")
        except DeskRefused:
            return None
        return _read(_operation, body, "/operations").charge_id

    @property
    def heard(self) -> tuple[Sent, ...]:
        """The webhooks of the account so far, in the order in which they were sent."""
        return tuple(self._heard)

    async def hear(self, is_it: Callable[[Sent], bool], *, within_s: float) -> Sent | None:
        """Wait for a webhook; None where it does not come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._news:
                while True:
                    if (
                        found := next((each for each in self._heard if is_it(each)), None)
                    ) is not None:
                        return found
                    await self._news.wait()
        return None

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Hear every webhook that the sandbox sends meanwhile. Raises `DeskRefused`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_S)
        async with self._session.get(f"{self.url}/webhooks/stream", timeout=timeout) as response:
            if response.status != _OK:
                raise DeskRefused(f"GET /webhooks/stream answered {response.status}")
            # The first line says that we are heard of.
            await response.content.readline()
            listener = asyncio.create_task(self._listen(response))
            try:
                yield
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, response: aiohttp.ClientResponse) -> None:
        async for line in response.content:
            if not line.strip():
                continue
            sent = _sent.decode(line)
            if sent.provider != self.account:
                continue
            async with self._news:
                self._heard.append(sent)
                del self._heard[:-HEARD_MAX]
                self._news.notify_all()

    async def _ask(self, method: str, path: str, body: object = None) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with self._session.request(
            method, self.url + path, data=data, timeout=timeout
        ) as response:
            answer = await response.read()
            if response.status != _OK:
                said = answer[:200].decode(errors="replace")
                raise DeskRefused(f"{method} {path} answered {response.status}: {said}")
            return answer


def _read(decoder: msgspec.json.Decoder[_T], body: bytes, path: str) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise DeskRefused(f"{path} was answered with what no sandbox says: {error}") from error


async def desk_at(url: str, account: str, session: aiohttp.ClientSession) -> Desk | None:
    """Find out whether a sandbox's desk answers there; None: it is somebody else's end."""
    desk = Desk(url, account, session)
    try:
        await desk.greet()
    except (DeskRefused, aiohttp.ClientError, TimeoutError):
        return None
    return desk
