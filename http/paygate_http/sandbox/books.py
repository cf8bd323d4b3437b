"""The sandbox's books: what was charged, under which keys, and who called. The ground truth.

In memory for reading, in a `Storage` for good. Whoever changes a record says `keep`; whoever
answers a caller awaits `flush` first, so that nothing that was told is ever forgotten.
"""

import hashlib
import hmac
import secrets
from collections import deque

import msgspec

from paygate_http.sandbox.adyen_books import AdyenBooks
from paygate_http.sandbox.folder import Storage
from paygate_http.sandbox.paypal_books import PayPalBooks
from paygate_http.sandbox.records import CallLine, Charge, LedgerLine, Notice, Operation
from paygate_http.sandbox.stripe_books import StripeBooks
from paygate_http.sandbox.wire import ProviderId, time_text

# Some 2.4 GiB with their calls: a load test ends before that, a runaway loop is stopped by it.
OPERATIONS_MAX = 1_000_000

# The newest calls are kept; a test that counts calls makes fewer.
CALLS_MAX = 500_000

# Stripe's keys live that long; afterwards a key is as good as new.
KEY_LIFE_US = 24 * 3_600 * 1_000_000


class Settings(msgspec.Struct, kw_only=True):
    """What outlives a restart beside the records.

    `digest_key` keys the hashes of parameters: those of two sandboxes cannot be compared.
    """

    digest_key: bytes
    starts: int = 0
    gateway_url: str | None = None


class Books:
    """All records of one sandbox, of all its accounts."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._calls_begun = 0
        self.charges: dict[str, Charge] = {}
        self.operations: dict[tuple[str, str], Operation] = {}
        self.ledger: list[LedgerLine] = []
        self.calls: deque[tuple[int, CallLine]] = deque()
        self.notices: dict[str, Notice] = {}
        self.settings = Settings(digest_key=secrets.token_bytes(32))
        self.stripe = StripeBooks(storage)
        self.adyen = AdyenBooks(storage)
        self.paypal = PayPalBooks(storage)
        self._load()

    async def flush(self) -> None:
        """Wait until every change so far is written. Raises `StoreFailed`."""
        await self._storage.flush()

    async def clear(self) -> None:
        """Forget every record; the settings stay."""
        for records in (self.charges, self.operations, self.ledger, self.calls, self.notices):
            records.clear()
        self.stripe.forget()
        self.adyen.forget()
        self.paypal.forget()
        self._storage.clear()
        self.keep_settings()
        await self._storage.flush()

    async def close(self) -> None:
        """Write what is left and let go of the storage."""
        await self._storage.close()

    def is_full(self) -> bool:
        """Tell whether no new key can be taken."""
        return len(self.operations) >= OPERATIONS_MAX

    def digest(self, *parts: bytes) -> bytes:
        """Give a keyed hash of a call's parameters (which hold the card number)."""
        return hmac.digest(self.settings.digest_key, b"\0".join(parts), hashlib.sha256)

    def find(self, provider: str, key: str) -> Operation | None:
        """Give the operation of the key, however old."""
        return self.operations.get((provider, key))

    def remembered(self, provider: str, key: str, *, now_us: int) -> Operation | None:
        """Give the operation whose answer the key still stands for."""
        found = self.find(provider, key)
        if found is None or now_us - found.created_at_us >= KEY_LIFE_US:
            return None
        return found

    def keep(self, record: Charge | Operation | Notice) -> None:
        """Take in a new or changed record."""
        match record:
            case Charge():
                self.charges[record.id] = record
                self._storage.put("charge", record.id, record)
            case Operation():
                self.operations[record.provider, record.key] = record
                self._storage.put("operation", f"{record.provider}/{record.key}", record)
            case Notice():
                self.notices[record.id] = record
                self._storage.put("notice", record.id, record)

    def drop_notice(self, notice: Notice) -> None:
        """Forget a webhook that was delivered or given up."""
        if self.notices.pop(notice.id, None) is not None:
            self._storage.drop("notice", notice.id)

    def keep_settings(self) -> None:
        """Take in changed settings."""
        self._storage.put("settings", "settings", self.settings)

    def book(self, line: LedgerLine) -> None:
        """Write down that money moved."""
        self.ledger.append(line)
        self._storage.put("ledger", _number(len(self.ledger)), line)

    def begin_call(
        self, *, provider: str, operation: str, key: str | None, at_us: int
    ) -> tuple[int, CallLine]:
        """Write down that a call came in; `end_call` says what became of it."""
        line = CallLine(
            provider=provider, operation=operation, idempotency_key=key, at=time_text(at_us)
        )
        self._calls_begun += 1
        entry = (self._calls_begun, line)
        self.calls.append(entry)
        self._storage.put("call", _number(entry[0]), entry)
        if len(self.calls) > CALLS_MAX:
            self._storage.drop("call", _number(self.calls.popleft()[0]))
        return entry

    def end_call(self, entry: tuple[int, CallLine]) -> None:
        """Write down what became of a call, unless it was forgotten meanwhile."""
        if self.calls and entry[0] >= self.calls[0][0]:
            self._storage.put("call", _number(entry[0]), entry)

    def _load(self) -> None:
        storage = self._storage
        for body in storage.load("settings"):
            self.settings = msgspec.msgpack.decode(body, type=Settings)
        for body in storage.load("charge"):
            charge = msgspec.msgpack.decode(body, type=Charge)
            self.charges[charge.id] = charge
        for body in storage.load("operation"):
            operation = msgspec.msgpack.decode(body, type=Operation)
            self.operations[operation.provider, operation.key] = operation
        for body in storage.load("notice"):
            notice = msgspec.msgpack.decode(body, type=Notice)
            self.notices[notice.id] = notice
        self.ledger += [
            msgspec.msgpack.decode(body, type=LedgerLine) for body in storage.load("ledger")
        ]
        for body in storage.load("call"):
            self.calls.append(msgspec.msgpack.decode(body, type=tuple[int, CallLine]))
        self._calls_begun = self.calls[-1][0] if self.calls else 0
        self.settings.starts += 1
        self.keep_settings()

    def operation_of(self, charge: Charge) -> Operation:
        """Give the operation that made the charge."""
        return self.operations[charge.provider, charge.key]


def _number(count: int) -> str:
    return f"{count:012d}"


def account(provider: str) -> ProviderId | None:
    """Give the account of that name that speaks the sandbox's own protocol, or None."""
    return provider if provider in ("sandbox", "sandbox_backup") else None
