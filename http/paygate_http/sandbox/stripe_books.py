"""The Stripe-shaped account's own records, beside the books and in the same storage."""

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from paygate_http.sandbox.folder import Storage
from paygate_http.sandbox.stripe_records import Intent, Kept, Method, RefundNote, Told

# Stripe forgets keys after a day and events after 30; the newest events are plenty for a test.
KEY_LIFE_US: Final = 24 * 3_600 * 1_000_000
EVENTS_MAX: Final = 20_000
# As many as the books take operations: a runaway loop is stopped by it.
KEPT_MAX: Final = 1_000_000

Record = Intent | Method | RefundNote | Kept | Told


class StripeBooks:
    """Intents, payment methods, refunds, kept answers and events of one account."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.intents: dict[str, Intent] = _load(storage, "stripe_intent", Intent)
        self.methods: dict[str, Method] = _load(storage, "stripe_method", Method)
        self.refunds: dict[str, RefundNote] = _load(storage, "stripe_refund", RefundNote)
        self.events: dict[str, Told] = _load(storage, "stripe_event", Told)
        # Fields are added to an intent's metadata and never taken away.
        self._with: dict[tuple[str, str], set[str]] = {}
        for intent in self.intents.values():
            self._index(intent)
        self._refunds_of: dict[str, list[str]] = {}
        numbered = [*self.refunds.values(), *self.events.values()]
        self._numbered = max((each.number for each in numbered), default=0)
        for refund in self.refunds.values():
            self._refunds_of.setdefault(refund.intent_id, []).append(refund.id)
        self.answers: dict[str, Kept] = _load(storage, "stripe_kept", Kept)

    def intents_with(self, wanted: Iterable[tuple[str, str]]) -> list[Intent]:
        """Give the intents whose metadata has any of these fields, the newest first."""
        found = {id_ for field in wanted for id_ in self._with.get(field, ())}
        return [self.intents[id_] for id_ in sorted(found, reverse=True)]

    def is_full(self) -> bool:
        """Tell whether no new key can be taken."""
        return len(self.answers) >= KEPT_MAX

    def answer(self, key: str, *, now_us: int) -> Kept | None:
        """Give the answer that the key still stands for."""
        found = self.answers.get(key)
        if found is None or now_us - found.created_at_us >= KEY_LIFE_US:
            return None
        return found

    def keep(self, record: Record) -> None:
        """Take in a new or changed record."""
        match record:
            case Intent():
                self.intents[record.id] = record
                self._index(record)
                self._storage.put("stripe_intent", record.id, record)
            case Method():
                self.methods[record.id] = record
                self._storage.put("stripe_method", record.id, record)
            case RefundNote():
                if record.id not in self.refunds:
                    record.number = self._next_number()
                    self._refunds_of.setdefault(record.intent_id, []).append(record.id)
                self.refunds[record.id] = record
                self._storage.put("stripe_refund", _text(record.number), record)
            case Kept():
                self.answers[record.key] = record
                self._storage.put("stripe_kept", record.key, record)
            case Told():
                self._tell(record)

    def refunds_of(self, intent_id: str) -> list[RefundNote]:
        """Give an intent's refunds, the newest first."""
        return [self.refunds[each] for each in reversed(self._refunds_of.get(intent_id, []))]

    def forget(self) -> None:
        """Forget every record; the storage was cleared."""
        for records in (self.intents, self.methods, self.refunds, self.events, self.answers):
            records.clear()
        self._refunds_of.clear()
        self._with.clear()

    def _index(self, intent: Intent) -> None:
        for field in intent.metadata.items():
            self._with.setdefault(field, set()).add(intent.id)

    def _tell(self, event: Told) -> None:
        event.number = self._next_number()
        self.events[event.id] = event
        self._storage.put("stripe_event", _text(event.number), event)
        if len(self.events) > EVENTS_MAX:
            oldest = self.events.pop(next(iter(self.events)))
            self._storage.drop("stripe_event", _text(oldest.number))

    def _next_number(self) -> int:
        self._numbered += 1
        return self._numbered


_Kind = TypeVar("_Kind", Intent, Method, RefundNote, Told, Kept)


def _load(storage: Storage, kind: str, type_: type[_Kind]) -> dict[str, _Kind]:
    records = [msgspec.msgpack.decode(body, type=type_) for body in storage.load(kind)]
    return {record.key if isinstance(record, Kept) else record.id: record for record in records}


def _text(number: int) -> str:
    # The storage gives records back by their ids: these sort as the numbers do.
    return f"{number:012d}"
