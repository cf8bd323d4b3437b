"""The Adyen-shaped account's own records, beside the books and in the same storage."""

from typing import Final, TypeVar

import msgspec

from paygate_http.sandbox.adyen_records import Kept, Modification, Sale
from paygate_http.sandbox.folder import Storage

# Adyen promises a week at the least.
KEY_LIFE_US: Final = 7 * 24 * 3_600 * 1_000_000
# As many as the books take operations: a runaway loop is stopped by it.
KEPT_MAX: Final = 1_000_000


class AdyenBooks:
    """Payments, modifications and kept answers of one account."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.sales: dict[str, Sale] = _load(storage, "adyen_sale", Sale)
        self.modifications: dict[str, Modification] = _load(
            storage, "adyen_modification", Modification
        )
        self._answers: dict[str, Kept] = _load(storage, "adyen_kept", Kept)
        self._by_reference = {sale.reference: sale.id for sale in self.sales.values()}

    def sale_of(self, reference: str) -> Sale | None:
        """Give the newest payment with this reference of the merchant's."""
        return self.sales.get(self._by_reference.get(reference, ""))

    def is_full(self) -> bool:
        """Tell whether no new key can be taken."""
        return len(self._answers) >= KEPT_MAX

    def answer(self, key: str, *, now_us: int) -> Kept | None:
        """Give the answer that the key still stands for."""
        found = self._answers.get(key)
        if found is None or now_us - found.created_at_us >= KEY_LIFE_US:
            return None
        return found

    def keep(self, record: Sale | Modification | Kept) -> None:
        """Take in a new or changed record."""
        match record:
            case Sale():
                self.sales[record.id] = record
                self._by_reference[record.reference] = record.id
                self._storage.put("adyen_sale", record.id, record)
            case Modification():
                self.modifications[record.id] = record
                self._storage.put("adyen_modification", record.id, record)
            case Kept():
                self._answers[record.key] = record
                self._storage.put("adyen_kept", record.key, record)

    def forget(self) -> None:
        """Forget every record; the storage was cleared."""
        for records in (self.sales, self.modifications, self._answers, self._by_reference):
            records.clear()


_Kind = TypeVar("_Kind", Sale, Modification, Kept)


def _load(storage: Storage, kind: str, type_: type[_Kind]) -> dict[str, _Kind]:
    records = [msgspec.msgpack.decode(body, type=type_) for body in storage.load(kind)]
    return {record.key if isinstance(record, Kept) else record.id: record for record in records}
