"""Webhooks as they came: body, headers and how they were read, kept for a week.

They are written in the same commit as the events that were read from them, before the provider
hears 200, so that they can be read again by a later version of the adapter. No replay window is
held against them then: that the signature was checked, and when, is part of what is kept.

What a body holds is the provider's choice. None of those that we speak to sends a card number or
a CVV; they send last digits, names and addresses, so these rows are personal data for their week.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from paygate_actors.projection import RAW
from paygate_actors.providers.base import ProviderEvent
from paygate_engine.journal import Journal
from paygate_engine.stores.base import Done, Item, Store, Unit

# A provider repeats an event for days; its signature is too old after minutes. A week is both.
KEEP_US: Final = 7 * 24 * 3_600 * 1_000_000
# All signatures of the industry together fit; what stands behind this many is not kept.
HEADERS_BYTES_MAX: Final = 16_384
# Forgetting looks at whole rows: this many of the largest are 13 MB.
PAGE: Final = 200
# The pages that one round forgets: with a round every ten minutes, a hundred webhooks a second.
PAGES_MAX: Final = 300

# They say who the sender is to us, not what the provider signed: whoever reads the disk must not
# be able to come in with them.
_CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
_AT_DIGITS: Final = 16


class Reading(Struct, frozen=True, kw_only=True):
    """How one event was read: `digest` tells two readings of it apart."""

    event_id: str
    event_type: str
    digest: str


class RawWebhook(Struct, frozen=True, kw_only=True):
    """One webhook. `verified_us`: when its signature was checked and found good."""

    provider: str
    verified_us: int
    headers: dict[str, str]
    body: bytes
    read: tuple[Reading, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(RawWebhook)
_plain = msgspec.json.Encoder(order="sorted").encode
_DEFAULTS: Final = {
    field.name: field.default
    for field in msgspec.structs.fields(ProviderEvent)
    if field.default is not msgspec.NODEFAULT
}


def reading_of(event: ProviderEvent) -> Reading:
    """How this event was read.

    What is as it is by default is left out: a field that a later version adds is no other reading.
    """
    said = {
        name: value
        for name, value in msgspec.structs.asdict(event).items()
        if name not in _DEFAULTS or value != _DEFAULTS[name]
    }
    digest = hashlib.blake2b(_plain(said), digest_size=8).hexdigest()
    return Reading(event_id=event.event_id, event_type=event.event_type, digest=digest)


def raw_webhook(
    provider: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    read: Iterable[ProviderEvent],
    verified_us: int,
) -> RawWebhook:
    """What is kept of a webhook whose signature was just checked. Header names are lower case."""
    return RawWebhook(
        provider=provider,
        verified_us=verified_us,
        headers=_kept(headers),
        body=body,
        read=tuple(map(reading_of, read)),
    )


def raw_item(raw: RawWebhook) -> Item:
    """The row of a webhook; ids sort by the time of arrival, and one body at one time is one."""
    digest = hashlib.blake2b(raw.provider.encode() + b"\0" + raw.body, digest_size=8).hexdigest()
    return Item(
        queue=RAW,
        id=f"{begin_id(raw.verified_us)}-{digest}",
        key=raw.provider,
        at_us=raw.verified_us,
        body=_encode(raw),
    )


def read_raw(item: Item) -> RawWebhook:
    """The webhook in its row."""
    return _decoder.decode(item.body)


def begin_id(at_us: int) -> str:
    """What the ids of webhooks that came at this time begin with."""
    return f"{max(0, at_us):0{_AT_DIGITS}d}"


async def forget_raws(store: Store, journal: Journal, *, now_us: int) -> int:
    """Forget what came over a week ago, a bounded number at a time; how many were forgotten.

    Raises what the journal raises.
    """
    end = begin_id(now_us - KEEP_US)
    # Its whole row is read to see how old the oldest is: one is enough, most of the time.
    oldest = await store.waiting(RAW, limit=1)
    forgotten = 0
    for _ in range(PAGES_MAX):
        if not oldest or oldest[0].id >= end:
            break
        page = [item for item in await store.waiting(RAW, limit=PAGE) if item.id < end]
        done = tuple(Done(queue=RAW, id=item.id, at_us=now_us) for item in page)
        await journal.append_wait(Unit(done=done))
        forgotten += await store.forget(queue=RAW, done_before_us=now_us + 1)
        oldest = await store.waiting(RAW, limit=1)
    return forgotten


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = HEADERS_BYTES_MAX
    for name, value in headers.items():
        # A header may hold bytes that are no text; they verify nothing, and msgpack takes none.
        text = value if value.isascii() else _readable(value)
        room -= len(name) + len(text.encode())
        if name not in _CREDENTIALS and room >= 0:
            kept[name] = text
    return kept


def _readable(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
