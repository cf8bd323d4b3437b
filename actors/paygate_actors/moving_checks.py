"""What is held against streams and the audit chain while their rows pass by, in their order."""

from collections.abc import Iterator

import msgspec

from paygate_actors import events as e
from paygate_actors.evolving import evolve
from paygate_actors.projection import wake_at_us
from paygate_actors.record import Payment
from paygate_actors.states import IllegalTransition
from paygate_actors.tallying import tallied
from paygate_engine.chain import GENESIS, row_hash
from paygate_engine.stores.copy_rows import Page, Row
from paygate_engine.stores.row_reading import to_audit_row

_PAYMENT = "pay_"


class Folding:
    """Folds payments out of events that come in the order of streams and numbers.

    `payments` were folded to their end; `open` of them wait for something; of `tallied` the
    database has a row of its own.
    """

    def __init__(self) -> None:
        self.payments = 0
        self.open = 0
        self.tallied = 0
        self._stream = ""
        self._seq = 0
        self._broken = False
        self._payment: Payment | None = None
        self._tallies: list[Row] = []

    def take(self, page: Page) -> Iterator[str]:
        """Fold a page of events; what is wrong with them, each stream once.

        Rows that the page itself names as damaged are missing here, and not named once more.
        """
        damaged = {each.name.rpartition(" ")[0] for each in page.damage}
        for stream, seq, at_us, kind, body, _epoch, _crc in page.rows:
            if stream != self._stream:
                self._end()
                self._stream = stream
            if self._broken:
                continue
            fault = self._step(seq, at_us, kind, body)
            if fault is not None:
                self._broken = True
                if stream not in damaged:
                    yield f"events {stream}: {fault}"
        if page.ends:
            self._end()

    def take_tallies(self) -> list[Row]:
        """What each payment that came to its end since adds up to: stream, limit, used."""
        taken, self._tallies = self._tallies, []
        return taken

    def _step(self, seq: int, at_us: int, kind: str, body: bytes) -> str | None:
        self._seq += 1
        if seq != self._seq:
            return f"event {self._seq} is missing"
        if not self._stream.startswith(_PAYMENT):
            return None
        try:
            recorded = e.decode(kind, body)
            self._payment = evolve(self._payment, recorded, id=self._stream, at_us=at_us)
        except (KeyError, TypeError, IllegalTransition, msgspec.MsgspecError) as error:
            return f"event {seq} ({kind}) does not fold: {error}"
        return None

    def _end(self) -> None:
        payment, self._payment = self._payment, None
        broken, self._broken = self._broken, False
        self._seq = 0
        if payment is None or broken:
            return
        self.payments += 1
        self.open += wake_at_us(payment) is not None
        limit, used = tallied(payment)
        if limit or used:
            self.tallied += 1
            self._tallies.append((payment.id, limit, used))


class ChainCheck:
    """Holds each row of the audit chain against the one before."""

    def __init__(self) -> None:
        self._n = 0
        self._hash = GENESIS
        self._broken = False

    def take(self, page: Page) -> Iterator[str]:
        """The first row that does not follow; of those behind it nothing can be said."""
        for _chain, *columns in page.rows:
            row = to_audit_row(columns)
            fits = row.n == self._n + 1 and row_hash(self._hash, row) == row.hash
            self._n, self._hash = row.n, row.hash
            if not fits and not self._broken:
                self._broken = True
                yield f"audit {row.n}: the row does not follow from the one before"
