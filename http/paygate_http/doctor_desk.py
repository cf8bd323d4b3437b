"""What a running server says of its open calls: when each is asked about next, and until when.

The folder alone does not know the first: asking is planned in memory.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct

# The rest is on the desk itself, `GET /api/in-doubt`.
SHOWN_MAX: Final = 10
_OK: Final = 200
_FORBIDDEN: Final = 403

Rows = list[tuple[str, str]]


class _Call(Struct, frozen=True, rename="camel"):
    # A call on the desk has more; nothing else of it is shown here.
    provider: str
    asks: int | None = None
    asking: bool = False
    next_check_at: datetime | None = None
    key_window_ends_at: datetime | None = None


class _Entry(Struct, frozen=True, rename="camel"):
    payment_id: str = msgspec.field(name="paymentID")
    calls: list[_Call] = []


class _Page(Struct, frozen=True, rename="camel"):
    data: list[_Entry]
    has_more: bool


_decode = msgspec.json.Decoder(_Page).decode


async def desk_rows(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], *, now_us: int
) -> Rows:
    """A row for each open call on the desk. Raises what aiohttp and decoding raise."""
    path = f"{url}/api/in-doubt?limit={SHOWN_MAX}"
    async with session.get(path, headers=headers) as answer:
        if answer.status == _FORBIDDEN:
            return [("  desk", "not asked for: it needs an operator's key")]
        if answer.status != _OK:
            return [("  desk", f"not to be had now ({answer.status})")]
        page = _decode(await answer.read())
    now = datetime.fromtimestamp(now_us / 1_000_000, UTC)
    rows = [row for entry in page.data for row in _calls(entry, now)]
    if page.has_more:
        rows.append(("  ...", "and more: GET /api/in-doubt"))
    return rows


def _calls(entry: _Entry, now: datetime) -> Iterator[tuple[str, str]]:
    for call in entry.calls:
        text = f"{call.provider} asked {call.asks or 0} times"
        if call.asking:
            text += ", being asked"
        elif call.next_check_at is not None:
            text += f", again in {_seconds(call.next_check_at, now)} s"
        if call.key_window_ends_at is not None:
            left_min = _seconds(call.key_window_ends_at, now) // 60
            text += f"; its key is kept for {left_min // 60} h {left_min % 60} min"
        yield f"  {entry.payment_id}", text


def _seconds(at: datetime, now: datetime) -> int:
    return max(0, round((at - now).total_seconds()))
