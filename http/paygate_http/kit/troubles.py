"""What can happen to a request on its way, and to its answer on the way back.

Each is a `Spoil` of the tap. `before`: the provider never hears of the request. `after`: it does
what it was asked to, and what it says about it goes wrong.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from paygate_http.kit.tap import TRAP, Answer, Hung, Lost, Seen, Spoil, Upstream

Change = Callable[[bytes], bytes]
"""What is done to an answer's body."""

# Many times what any adapter reads of one answer.
HUGE_BYTES: Final = 10 * 1024 * 1024
# A drop at a time: some answers would take minutes so.
DRIP_S: Final = 0.25

HTML: Final = b"<!doctype html><html><title>Bad gateway</title><h1>Please try later</h1></html>"
NONSENSE: Final = b'\x00\xff{"status": "succ<html>'

# Amounts stand as numbers at some providers, and as decimals in quotes at others.
_NUMBER = re.compile(rb":\s*[0-9]+(?=[,}\s])")
_QUOTED = re.compile(rb':\s*"[0-9]+\.[0-9]+"')


async def request_lost(_: Seen, __: Upstream) -> Lost:
    """The connection breaks before the provider hears of it."""
    return Lost()


async def answer_lost(_: Seen, upstream: Upstream) -> Lost:
    """The connection breaks after the provider did it."""
    await upstream()
    return Lost()


async def request_hung(_: Seen, __: Upstream) -> Hung:
    """The provider never hears of it, and nothing comes back."""
    return Hung()


async def answer_hung(_: Seen, upstream: Upstream) -> Hung:
    """The provider did it, and nothing comes back."""
    await upstream()
    return Hung()


def refused_with(status: int, body: bytes = b"", **headers: str) -> Spoil:
    """The provider's door answers, and nobody behind it hears of the request."""

    async def spoil(_: Seen, __: Upstream) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(status=status, body=body, headers={"content-type": "text/plain", **named})

    return spoil


async def redirected(seen: Seen, _: Upstream) -> Answer:
    """The request is sent elsewhere with its method and body; elsewhere would even do it."""
    return Answer(status=307, headers={"location": TRAP + seen.path})


def answered_with(change: Change, **headers: str) -> Spoil:
    """The provider did it, and its answer is changed on the way back."""

    async def spoil(_: Seen, upstream: Upstream) -> Answer:
        answer = await upstream()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(
            status=answer.status, body=change(answer.body), headers={**answer.headers, **named}
        )

    return spoil


async def dripped(_: Seen, upstream: Upstream) -> Answer:
    """The provider did it, and its answer comes a byte at a time."""
    answer = await upstream()
    return Answer(status=answer.status, body=answer.body, headers=answer.headers, pause_s=DRIP_S)


def kept(copies: list[Answer]) -> Spoil:
    """Keep a copy of the answer, which passes."""

    async def spoil(_: Seen, upstream: Upstream) -> Answer:
        answer = await upstream()
        copies.append(answer)
        return answer

    return spoil


def exchanged(answer: Answer) -> Spoil:
    """The provider did it, and the answer to something else comes back."""

    async def spoil(_: Seen, upstream: Upstream) -> Answer:
        await upstream()
        return answer

    return spoil


def swapped() -> tuple[Spoil, Spoil]:
    """Two requests get each other's answer; both must come."""
    answers: list[asyncio.Future[Answer]] = [
        asyncio.get_running_loop().create_future() for _ in range(2)
    ]

    def side(mine: int) -> Spoil:
        async def spoil(_: Seen, upstream: Upstream) -> Answer:
            answers[mine].set_result(await upstream())
            return await answers[1 - mine]

        return spoil

    return side(0), side(1)


def html(_: bytes) -> bytes:
    """A page for people instead of an answer."""
    return HTML


def nonsense(_: bytes) -> bytes:
    """Bytes that are no text."""
    return NONSENSE


def empty(_: bytes) -> bytes:
    """Nothing at all."""
    return b""


def cut_off(body: bytes) -> bytes:
    """The first half, in a whole HTTP answer."""
    return body[: len(body) // 2]


def bloated(body: bytes) -> bytes:
    """The answer behind 10 MiB of white space: JSON still, for whoever reads it all."""
    return b" " * HUGE_BYTES + body


def nested(_: bytes) -> bytes:
    """Brackets deep enough for a careless reader to fall in."""
    return b"[" * 50_000


def with_nan(body: bytes) -> bytes:
    """Every number is none."""
    return _QUOTED.sub(b': "NaN"', _NUMBER.sub(b": NaN", body))


def in_currency(ours: str, theirs: str) -> Change:
    """Every mention of one currency is one of the other."""

    def change(body: bytes) -> bytes:
        for case in (str.upper, str.lower):
            pattern = f'"{case(ours)}"'.encode()
            body = body.replace(pattern, f'"{case(theirs)}"'.encode())
        return body

    return change
