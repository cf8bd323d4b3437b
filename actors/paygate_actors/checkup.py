"""What a data folder says about the health of its gateway: gathered here, told elsewhere.

Reads only, a page at a time, beside a running server too. What needs a person is decided by
`troubles`, so that every telling of it agrees.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.backup import Backup
from paygate_actors.chains import rows_count
from paygate_actors.config import Config
from paygate_actors.endpoints import Endpoints
from paygate_actors.evolving import evolve
from paygate_actors.furnish import adapters_of
from paygate_actors.money import Money
from paygate_actors.outbox import DELIVERY, place_of
from paygate_actors.projection import INBOX, MODE, PAYMENT
from paygate_actors.proving import pages
from paygate_actors.record import Call, Payment
from paygate_actors.sums import unresolved
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import PAGE_MAX, Query, Store

US_PER_S: Final = 1_000_000
HOUR_US: Final = 3_600 * US_PER_S
# For a provider that is not configured here: the shortest time for which any that we know of
# remembers a key, Stripe's and the sandbox's.
KEY_WINDOW_US: Final = 24 * HOUR_US
# The write-ahead log keeps 64 MiB; with ten times that there is time to make room.
FREE_BYTES_MIN: Final = 640 * 1024 * 1024
_PAGE: Final = 500


class Bounds(Struct, frozen=True, kw_only=True):
    """How long things may take, in microseconds, before a person is called.

    `backup_us`: how old the last backup may be; None: as old as it likes. `key_windows_us`: how
    long each provider remembers a key.
    """

    doubt_us: int
    parked_us: int
    backup_us: int | None
    key_windows_us: Mapping[str, int]

    @classmethod
    def of(cls, config: Config) -> "Bounds":
        """The bounds that a server with this configuration would keep."""
        limits = config.limits
        return cls(
            doubt_us=round(limits.in_doubt_flag_s * US_PER_S),
            parked_us=round(limits.parked_alert_s * US_PER_S),
            backup_us=limits.backup_alert_hours * HOUR_US or None,
            key_windows_us={
                provider: round(adapter.capabilities.key_window_s * US_PER_S)
                for provider, adapter in adapters_of(config).items()
            },
        )


class Doubt(Struct, frozen=True, kw_only=True):
    """A call whose outcome is not known. `window_us`: how long the provider remembers its key."""

    payment_id: str
    key: str
    provider: str
    amount: Money
    since_us: int
    window_us: int = KEY_WINDOW_US

    def left_us(self, now_us: int) -> int:
        """How long its key is still remembered by the provider; negative: no more."""
        return self.since_us + self.window_us - now_us


class Checkup(Struct, frozen=True, kw_only=True):
    """What the folder holds. `mode`: sandbox or live; None: no server ever started here.

    `published_n`: the newest published end of the audit chain; None: nobody knows, or none is.
    `given_up`: webhooks to merchants that were given up, by endpoint; `gone`: endpoints that their
    receivers switched off.
    """

    mode: str | None
    now_us: int
    by_status: dict[str, int]
    open_payments: int
    doubts: tuple[Doubt, ...]
    attention: dict[str, int]
    parked: int
    parked_oldest_us: int | None
    audit_rows: int
    bounds: Bounds
    given_up: Mapping[str, int] = {}
    gone: tuple[str, ...] = ()
    published_n: int | None = None
    free_bytes: int = FREE_BYTES_MIN
    last_backup: Backup | None = None

    def in_doubt(self) -> dict[str, Money]:
        """What is in doubt, in each currency."""
        sums: dict[str, Money] = {}
        for doubt in self.doubts:
            currency = doubt.amount.currency
            sums[currency] = sums.get(currency, Money(0, currency)) + doubt.amount
        return sums


class _Shown(Struct, frozen=True):
    # A payment's document has more; nothing else of it is looked at here.
    status: str
    attention: str | None = None


_shown = msgspec.json.Decoder(_Shown)


async def check_up(
    store: Store,
    *,
    now_us: int,
    bounds: Bounds,
    published_n: int | None,
    free_bytes: int,
    last_backup: Backup | None,
) -> Checkup:
    """Gather everything. Every payment's document is read, and every open payment's events."""
    by_status: Counter[str] = Counter()
    attention: Counter[str] = Counter()
    async for document in pages(store, Query(kind=PAYMENT, limit=PAGE_MAX)):
        if not document.sound:
            continue  # it is named by the walk over all rows
        shown = _shown.decode(document.body)
        by_status[shown.status] += 1
        if shown.attention is not None:
            attention[shown.attention] += 1
    open_payments, doubts = await _open(store, bounds.key_windows_us)
    parked, oldest_us = await _parked(store)
    endpoints = Endpoints()
    await endpoints.load(store)
    stamp = await store.read_document(MODE, MODE)
    return Checkup(
        mode=None if stamp is None or not stamp.sound else stamp.body.decode(),
        now_us=now_us,
        by_status=dict(by_status),
        open_payments=open_payments,
        doubts=doubts,
        attention=dict(attention),
        parked=parked,
        parked_oldest_us=oldest_us,
        audit_rows=await rows_count(store),
        bounds=bounds,
        given_up=await _given_up(store, endpoints),
        gone=tuple(each.id for each in endpoints.all() if each.disabled == "gone"),
        published_n=published_n,
        free_bytes=free_bytes,
        last_backup=last_backup,
    )


def troubles(found: Checkup) -> Iterator[str]:
    """What needs a person, each as a sentence that says what to do; nothing for the healthy.

    What webhooks to merchants come to is none of it: whoever lets them fail could otherwise keep
    the operator's alarm on for ever.
    """
    if found.mode is None:
        yield "The folder has no stamp: start the server once, or name the right folder."
    if found.free_bytes < FREE_BYTES_MIN:
        free = f"{found.free_bytes // 2**20} MiB"
        yield f"Only {free} are free: make room, or payments will be refused."
    for doubt in found.doubts:
        age_us = found.now_us - doubt.since_us
        if doubt.left_us(found.now_us) <= 0:
            yield (
                f"{doubt.payment_id}: {doubt.provider} has forgotten the key {doubt.key}: find the"
                " call in its dashboard, then set the transaction's status."
            )
        elif age_us > found.bounds.doubt_us:
            yield (
                f"{doubt.payment_id}: {doubt.provider} has not said for {age_us // US_PER_S} s"
                f" what became of {doubt.key}: see whether a server runs and reaches it."
            )
    for code, count in sorted(found.attention.items()):
        yield f"{count} payments ask for a person ({code}): read their events and decide."
    oldest_us = found.parked_oldest_us
    if oldest_us is not None and found.now_us - oldest_us > found.bounds.parked_us:
        yield (
            f"{found.parked} webhooks wait for a payment that nobody knows, the oldest for"
            f" {(found.now_us - oldest_us) // US_PER_S} s: ask the provider which charge it means,"
            " and see whether a server runs."
        )
    if found.published_n is not None and found.published_n > found.audit_rows:
        yield (
            f"The audit chain ends at row {found.audit_rows}, and row {found.published_n} was"
            " published: run `paygate audit verify`, and find out who restored or cut it."
        )
    yield from _backup_troubles(found)


def _backup_troubles(found: Checkup) -> Iterator[str]:
    """A sandbox needs no backup: its money is none. One that was made must be whole anyway."""
    made, bound_us = found.last_backup, found.bounds.backup_us
    if made is not None and made.fault is not None:
        yield f"The last backup is damaged ({made.fault}): keep the older ones, see to the journal."
    if found.mode != "live" or bound_us is None:
        return
    if made is None:
        yield "There is no backup: run `paygate backup DIR`, and take it to another machine."
    elif found.now_us - made.at_us > bound_us:
        hours = (found.now_us - made.at_us) // HOUR_US
        yield f"The last backup is {hours} h old: run `paygate backup DIR`; see why none was made."


async def _open(store: Store, key_windows_us: Mapping[str, int]) -> tuple[int, tuple[Doubt, ...]]:
    count = 0
    doubts: list[Doubt] = []
    after = ""
    while wakes := await store.open_streams(after=after, limit=_PAGE):
        for wake in wakes:
            count += 1
            try:
                payment = await _fold(store, wake.stream)
            except Corrupt:
                continue  # it is named by the walk over all rows
            if payment is not None:
                doubts += (
                    _doubt(payment, call, key_windows_us.get(call.provider, KEY_WINDOW_US))
                    for call in unresolved(payment)
                    if call.in_doubt
                )
        if wakes[-1].stream <= after:
            break  # a damaged name, which would lead back: the walk over all rows tells of it
        after = wakes[-1].stream
    return count, tuple(doubts)


async def _fold(store: Store, payment_id: str) -> Payment | None:
    payment: Payment | None = None
    for event in await store.read_stream(payment_id):
        recorded = e.decode(event.kind, event.body)
        payment = evolve(payment, recorded, id=payment_id, at_us=event.at_us, epoch=event.epoch)
    return payment


async def _parked(store: Store) -> tuple[int, int | None]:
    count = 0
    oldest_us: int | None = None
    after = ""
    while items := await store.waiting(INBOX, after_id=after, limit=_PAGE):
        count += len(items)
        times = [item.at_us for item in items if item.sound]
        oldest_us = min(times if oldest_us is None else [*times, oldest_us], default=None)
        if items[-1].id <= after:
            break  # as above
        after = items[-1].id
    return count, oldest_us


async def _given_up(store: Store, endpoints: Endpoints) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for endpoint in endpoints.all():
        place = ("place", place_of(endpoint.id, "dead"))
        query = Query(kind=DELIVERY, where=(place,), limit=PAGE_MAX)
        count = sum([1 async for _ in pages(store, query)])
        if count:
            counts[endpoint.id] = count
    return counts


def _doubt(payment: Payment, call: Call, window_us: int) -> Doubt:
    return Doubt(
        payment_id=payment.id,
        key=call.key,
        provider=call.provider,
        amount=Money(call.amount_minor, payment.created.currency),
        since_us=call.started_at_us,
        window_us=window_us,
    )
