"""What a data folder says about the health of its gateway: gathered here, told elsewhere.

Reads only, a page at a time, beside a running server too. What needs a person is decided by
`troubles`, so that every telling of it agrees.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.evolving import evolve
from paygate_actors.money import Money
from paygate_actors.projection import INBOX, MODE, PAYMENT
from paygate_actors.proving import pages
from paygate_actors.record import Call, Payment
from paygate_actors.sums import unresolved
from paygate_engine.stores.base import PAGE_MAX, Query, Store

US_PER_S: Final = 1_000_000
# The shortest time for which a provider remembers a key: Stripe's, and the sandbox's.
KEY_WINDOW_US: Final = 24 * 3_600 * US_PER_S
# A restart pays for a few seconds; what is not known for longer than this is asked about in vain.
DOUBT_US_MAX: Final = 900 * US_PER_S
# Longer than any webhook overtakes the answer that it belongs to.
PARKED_US_MAX: Final = 900 * US_PER_S
# The write-ahead log keeps 64 MiB; with ten times that there is time to make room.
FREE_BYTES_MIN: Final = 640 * 1024 * 1024
_PAGE: Final = 500


class Doubt(Struct, frozen=True, kw_only=True):
    """A call whose outcome is not known."""

    payment_id: str
    key: str
    provider: str
    amount: Money
    since_us: int

    def left_us(self, now_us: int) -> int:
        """How long its key is still remembered by the provider; negative: no more."""
        return self.since_us + KEY_WINDOW_US - now_us


class Checkup(Struct, frozen=True, kw_only=True):
    """What the folder holds. `mode`: sandbox or live; None: no server ever started here.

    `published_n`: the newest published end of the audit chain; None: nobody knows, or none is.
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
    published_n: int | None = None
    free_bytes: int = FREE_BYTES_MIN

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
    store: Store, *, now_us: int, published_n: int | None, free_bytes: int
) -> Checkup:
    """Gather everything. Every payment's document is read, and every open payment's events."""
    by_status: Counter[str] = Counter()
    attention: Counter[str] = Counter()
    async for document in pages(store, Query(kind=PAYMENT, limit=PAGE_MAX)):
        shown = _shown.decode(document.body)
        by_status[shown.status] += 1
        if shown.attention is not None:
            attention[shown.attention] += 1
    open_payments, doubts = await _open(store)
    parked, oldest_us = await _parked(store)
    stamp = await store.read_document(MODE, MODE)
    return Checkup(
        mode=None if stamp is None else stamp.body.decode(),
        now_us=now_us,
        by_status=dict(by_status),
        open_payments=open_payments,
        doubts=doubts,
        attention=dict(attention),
        parked=parked,
        parked_oldest_us=oldest_us,
        audit_rows=(await store.audit_head())[0],
        published_n=published_n,
        free_bytes=free_bytes,
    )


def troubles(found: Checkup) -> Iterator[str]:
    """What needs a person, each as a sentence that says what to do; nothing for the healthy."""
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
        elif age_us > DOUBT_US_MAX:
            yield (
                f"{doubt.payment_id}: {doubt.provider} has not said for {age_us // US_PER_S} s"
                f" what became of {doubt.key}: see whether a server runs and reaches it."
            )
    for code, count in sorted(found.attention.items()):
        yield f"{count} payments ask for a person ({code}): read their events and decide."
    oldest_us = found.parked_oldest_us
    if oldest_us is not None and found.now_us - oldest_us > PARKED_US_MAX:
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


async def _open(store: Store) -> tuple[int, tuple[Doubt, ...]]:
    count = 0
    doubts: list[Doubt] = []
    after = ""
    while wakes := await store.open_streams(after=after, limit=_PAGE):
        for wake in wakes:
            count += 1
            payment = await _fold(store, wake.stream)
            if payment is not None:
                doubts += (_doubt(payment, call) for call in unresolved(payment) if call.in_doubt)
        after = wakes[-1].stream
    return count, tuple(doubts)


async def _fold(store: Store, payment_id: str) -> Payment | None:
    payment: Payment | None = None
    for event in await store.read_stream(payment_id):
        recorded = e.decode(event.kind, event.body)
        payment = evolve(payment, recorded, id=payment_id, at_us=event.at_us)
    return payment


async def _parked(store: Store) -> tuple[int, int | None]:
    count = 0
    oldest_us: int | None = None
    after = ""
    while items := await store.waiting(INBOX, after_id=after, limit=_PAGE):
        count += len(items)
        first_us = min(item.at_us for item in items)
        oldest_us = first_us if oldest_us is None else min(oldest_us, first_us)
        after = items[-1].id
    return count, oldest_us


def _doubt(payment: Payment, call: Call) -> Doubt:
    return Doubt(
        payment_id=payment.id,
        key=call.key,
        provider=call.provider,
        amount=Money(call.amount_minor, payment.created.currency),
        since_us=call.started_at_us,
    )
