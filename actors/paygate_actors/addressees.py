"""Whose payment a provider's event is about, as far as the journal knows by now."""

from collections.abc import Callable
from typing import Final

from paygate_actors.damage import Mender
from paygate_actors.draft import payment_of_first
from paygate_actors.parking import Stored, places
from paygate_actors.projection import TRANSACTION, charge_link, read_transaction
from paygate_engine.stores.base import Query, Store

# Ids that providers give; ours are 32 characters. Longer ones are no ids.
REFERENCE_MAX: Final = 64


class Addressees:
    """Looks payments up by what an event names. Reads only.

    `is_known(payment_id)`: whether its actor runs, or only sleeps; it spares a look into the store.
    """

    def __init__(self, store: Store, mender: Mender, is_known: Callable[[str], bool]) -> None:
        self._store = store
        self._mender = mender
        self._is_known = is_known

    async def find(self, stored: Stored) -> str | None:
        """The payment's id; None: nobody knows it yet. Raises `Corrupt` as the store does."""
        event = stored.event
        if event.reference is not None and len(event.reference) <= REFERENCE_MAX:
            transaction_id = event.reference.rpartition("-")[0]
            if transaction_id.startswith("txn_"):
                first = payment_of_first(transaction_id)
                if self._is_known(first):
                    return first
                document = await self._mender.read(TRANSACTION, transaction_id)
                if document is not None:
                    return read_transaction(document).payment_id
        for provider, named in places(stored):
            query = Query(kind=TRANSACTION, link=(charge_link(provider), named), limit=1)
            for document in await self._store.query(query):
                whole = await self._mender.mended(document)
                if whole is not None:
                    return read_transaction(whole).payment_id
        return None
