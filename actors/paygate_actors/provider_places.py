"""Which account each provider's name stands for, kept in the store from one start to the next.

A payment knows its provider by name alone. Where a name is given to another account, the calls
that the first one has not settled would be asked about, and made again, at the second: it sees
none of them, and charges the payer once more.
"""

from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from paygate_actors.config import Config, ProviderConfig
from paygate_actors.events import decode
from paygate_actors.evolving import evolve
from paygate_actors.projection import PLACE
from paygate_actors.record import Payment
from paygate_actors.states import FINAL
from paygate_engine.errors import Corrupt, StoreRefused
from paygate_engine.journal import Journal
from paygate_engine.stores.base import AuditEntry, Document, Store, Unit

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_PAGE: Final = 500


class Place(Struct, frozen=True, kw_only=True):
    """Where a name leads: the kind of adapter, the origin of its address, and the account."""

    kind: str
    origin: str
    account: str

    def __str__(self) -> str:
        named = [self.kind, self.origin and f"at {self.origin}", self.account]
        return " ".join(part for part in named if part)


def place_of(config: ProviderConfig) -> Place:
    """Read it from the configuration. Keys say nothing of an account: they are rotated."""
    parts = urlsplit(config.url)
    # A sandbox on this machine listens where there is room, and is the same one everywhere.
    port = "" if parts.hostname in _LOOPBACK or parts.port is None else f":{parts.port}"
    origin = f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else ""
    return Place(kind=config.kind, origin=origin, account=config.account)


async def refuse_moved(config: Config, store: Store) -> None:
    """Raise `StoreRefused` for a name that was another account's, where that is not at rest.

    To be asked before anything is written.
    """
    moved: dict[str, Place] = {}
    for each in config.providers:
        known = await _known(store, each.id)
        if known is not None and known != place_of(each):
            moved[each.id] = known
    if not moved:
        return
    async for payment in _open_payments(store):
        name = next((name for name in moved if _is_open_at(payment, name)), None)
        if name is not None:
            raise StoreRefused(
                f"providers: {name} was {moved[name]} until now, where {payment.id} (and maybe"
                " more) is not over: give the new account another id, and keep the old one under"
                f" {name} until nothing is open there"
            )


async def note_places(config: Config, store: Store, journal: Journal, *, at_us: int) -> None:
    """Write down what is new; a name that leads elsewhere now is told to the audit."""
    documents: list[Document] = []
    audit: list[AuditEntry] = []
    for each in config.providers:
        known, place = await _known(store, each.id), place_of(each)
        if known == place:
            continue
        documents.append(Document(kind=PLACE, id=each.id, body=msgspec.json.encode(place)))
        if known is not None:
            what = f"provider moved from {known} to {place}"
            audit.append(AuditEntry(at_us=at_us, who="system", what=what, stream=each.id))
    if documents:
        await journal.append_wait(Unit(documents=tuple(documents), audit=tuple(audit)))


async def _known(store: Store, provider: str) -> Place | None:
    stored = await store.read_document(PLACE, provider)
    # What is damaged says nothing, and is written anew.
    if stored is None or not stored.sound:
        return None
    return msgspec.json.decode(stored.body, type=Place)


def _is_open_at(payment: Payment, provider: str) -> bool:
    waits = payment.provider == provider and payment.status not in FINAL
    return waits or any(call.unresolved and call.provider == provider for call in payment.calls)


async def _open_payments(store: Store) -> AsyncIterator[Payment]:
    after = ""
    while wakes := await store.open_streams(after=after, limit=_PAGE):
        for wake in wakes:
            try:
                payment = await _fold(store, wake.stream)
            except Corrupt:
                continue  # it is set aside when it is looked at: nobody is asked about it
            if payment is not None:
                yield payment
        if wakes[-1].stream <= after:
            return  # a damaged name, which would lead back
        after = wakes[-1].stream


async def _fold(store: Store, payment_id: str) -> Payment | None:
    payment: Payment | None = None
    for event in await store.read_stream(payment_id):
        recorded = decode(event.kind, event.body)
        payment = evolve(payment, recorded, id=payment_id, at_us=event.at_us, epoch=event.epoch)
    return payment
