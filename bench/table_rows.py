"""The rows of the table: what is measured, at which server, beside which yardstick, how often.

A row's yardstick does the least for the same kind of request. What has none of its own (the parts
by themselves) stands beside the bare handler that takes a payment.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from instant_provider import ID
from measured_server import SERVER_CORE, MeasuredServer, serving
from msgspec import Struct
from sandbox_process import sandbox
from works import Alone, Hearing, Paying, Reading, Work

from paygate_http.registering import register

HERE = Path(__file__).resolve().parent

BARE: Final = "bare handler: a payment"
BARE_READ: Final = "bare handler: a read"
BARE_WEBHOOK: Final = "bare handler: a webhook"
ACCEPT: Final = "payment, provider's socket replaced"
WHOLE: Final = "payment, provider over HTTP"
WHOLE_AND_WEBHOOK: Final = "the same, and its webhook back"
LIVE: Final = "read of a payment in memory"
STORED: Final = "read of a stored one"
WEBHOOK: Final = "webhook in, durable and applied"
AIOHTTP: Final = "peer: aiohttp, aiosqlite"
FASTAPI: Final = "peer: FastAPI, SQLAlchemy"

# How much of each there is in a round: some tenths of a second to some seconds of CPU.
GROUPS: Final = (1, 10, 100, 1_000)


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table. `beside`: the name of the row that is its yardstick."""

    name: str
    server: str
    work: Work
    beside: str = BARE


def rows(share: float = 1.0) -> tuple[Row, ...]:
    """All rows, fresh; `share` of the full size, for tests."""

    def some(count: int, least: int = 8) -> int:
        return max(round(count * share), least)

    return (
        Row(name=BARE, server="bare", work=Paying(some(4_000))),
        Row(name=f"{BARE}, 8 connections", server="bare", work=Paying(some(2_000), connections=8)),
        Row(name=BARE_READ, server="bare", work=Reading(some(4_000), stored=False)),
        Row(name=BARE_WEBHOOK, server="bare", work=Hearing(some(2_000))),
        Row(name=ACCEPT, server=ID, work=Paying(some(2_000))),
        Row(name="the same, 8 connections", server=ID, work=Paying(some(1_000), connections=8)),
        Row(name="the same, 256 connections", server=ID, work=Paying(some(2_000), connections=256)),
        Row(name=WHOLE, server="sandbox", work=Paying(some(1_000))),
        Row(
            name=WHOLE_AND_WEBHOOK,
            server="sandbox, webhooks",
            work=Paying(some(1_000), webhooks=True),
        ),
        Row(name=LIVE, server="held", work=Reading(some(2_000), stored=False), beside=BARE_READ),
        Row(name=STORED, server=ID, work=Reading(some(2_000), stored=True), beside=BARE_READ),
        Row(name=WEBHOOK, server=ID, work=Hearing(some(1_000)), beside=BARE_WEBHOOK),
        Row(name=AIOHTTP, server="aiohttp", work=Paying(some(1_000))),
        Row(name=FASTAPI, server="fastapi", work=Paying(some(250))),
        *_parts(some),
    )


def _parts(some: Callable[[int], int]) -> Generator[Row]:
    parts = {
        "actor: a message told and handled": ("tell", 100_000),
        "actor: one spawned": ("spawn", 20_000),
        **{f"journal: a row, {group} a group": (f"journal-{group}", 2_000) for group in GROUPS},
        "states: a payment decided, folded": ("decide", 5_000),
        "codec: a request decoded": ("decode", 20_000),
        "codec: a reply rendered, encoded": ("encode", 10_000),
        "codec: an event there and back": ("event", 20_000),
    }
    for name, (what, count) in parts.items():
        yield Row(name=name, server="alone", work=Alone(what, some(count)))


@contextmanager
def _sandboxed(*, webhooks: bool) -> Generator[MeasuredServer]:
    with sandbox() as url, serving(HERE / "gateway_server.py", url, core=SERVER_CORE) as server:
        if webhooks:
            asyncio.run(register(url, server.url))
        yield server


def start(server: str) -> AbstractContextManager[MeasuredServer]:
    """Start a row's server."""
    match server:
        case "sandbox" | "sandbox, webhooks":
            return _sandboxed(webhooks="webhooks" in server)
        case "bare":
            script = HERE / "bare_server.py"
        case "alone":
            script = HERE / "alone_server.py"
        case "aiohttp" | "fastapi":
            script = HERE / "peers" / "serve_peer.py"
        case _:
            script = HERE / "gateway_server.py"
    return serving(script, server, core=SERVER_CORE)
