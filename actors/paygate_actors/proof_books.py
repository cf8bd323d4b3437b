"""A payment's history held against its providers' own books: nothing was charged twice. Pure.

Books are what a provider says took effect, one line for each effect. A line is bound by our key;
one without a key is the provider's own doing, and is bound by the provider's id. What is on its
way here (a call whose outcome is not known yet) is no disagreement.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from paygate_actors.events import Verb
from paygate_actors.proof import Approval, Proof, Violation
from paygate_actors.record import Call, Payment, Txn

# A provider, and the key or the id that a line is found by.
Place = tuple[str, str]

_US_PER_S = 1_000_000


class BookLine(Struct, frozen=True, kw_only=True):
    """One effect as the provider booked it, named as the sandbox's `GET /ledger` names it."""

    provider: str
    operation: Verb
    key: str | None = msgspec.field(name="idempotencyKey", default=None)
    provider_txn_id: str = msgspec.field(name="providerTxnID")
    amount_minor: int = msgspec.field(name="amountMinor")
    currency: str
    at: datetime


class _Answer(Struct, frozen=True, kw_only=True):
    data: tuple[BookLine, ...]


class BooksUnreadable(ValueError):
    """The file holds no books; the text says where it goes wrong."""


class Books:
    """The lines that no payment has been held against yet. `lines`: how many there were."""

    def __init__(self, lines: Sequence[BookLine]) -> None:
        self.lines = len(lines)
        # What we learned later than their newest line may have happened after they were copied.
        self.end_us = max((_us(line.at) for line in lines), default=0)
        self._by_key: defaultdict[Place, list[BookLine]] = defaultdict(list)
        self._own: defaultdict[Place, list[BookLine]] = defaultdict(list)
        for line in lines:
            if line.key is None:
                self._own[line.provider, line.provider_txn_id].append(line)
            else:
                self._by_key[line.provider, line.key].append(line)

    def of_call(self, call: Call) -> list[BookLine]:
        """Take out the lines under the call's key."""
        return self._by_key.pop((call.provider, call.key), [])

    def of_provider(self, txn: Txn) -> list[BookLine]:
        """Take out the lines of what the provider did by itself and we booked as `txn`."""
        if txn.provider is None or txn.provider_txn_id is None:
            return []
        return self._own.pop((txn.provider, txn.provider_txn_id), [])

    def left_over(self, payment: Payment | None = None) -> Iterator[Violation]:
        """Name what no payment knew; with `payment`, only keys that are made like its own."""
        for (provider, key), lines in self._by_key.items():
            owner = key.rpartition("-")[0]
            if payment is not None and payment.txn(owner) is None:
                continue
            text = f"{_told(lines[0])} at {provider} under a key that the journal does not know"
            subject = key if payment is None else payment.id
            yield Violation(subject=subject, rule="books: known key", text=text)
        for (provider, id_), lines in self._own.items() if payment is None else ():
            text = f"{_told(lines[0])} by {provider} itself, and the journal does not know of it"
            yield Violation(subject=id_, rule="books: same effect", text=text)


def read_books(raw: bytes) -> Books:
    """Read what `GET /ledger` of the sandbox answers. Raises `BooksUnreadable`."""
    try:
        return Books(msgspec.json.decode(raw, type=_Answer).data)
    except msgspec.MsgspecError as error:
        raise BooksUnreadable(str(error)) from error


def prove_books(proof: Proof, books: Books) -> None:
    """Hold every call of the payment against the lines under its key, and what is kept for it."""
    payment = proof.payment
    if payment is None:
        return
    charges = _Charges(payment)
    for call in payment.calls:
        lines = books.of_call(call)
        for line in lines:
            charges.book(call, line)
        _prove_call(proof, call, lines, books.end_us)
    for txn in payment.txns:
        for line in books.of_provider(txn):
            charges.given_back(line)
            if "refund_without_amount" not in proof.attentions and (
                (line.amount_minor, line.currency) != (txn.amount_minor, txn.currency)
            ):
                text = f"{_told(line)} by {line.provider} itself, here {txn.amount_minor} of them"
                proof.break_("books: same effect", text)
    _prove_kept(proof, payment, charges)


def _prove_call(proof: Proof, call: Call, lines: Sequence[BookLine], end_us: int) -> None:
    approvals = proof.approvals.get(call.key, [])
    if len(lines) > 1:
        text = f"{call.key} took effect {len(lines)} times at {call.provider}"
        proof.break_("books: one effect per key", text)
    if not lines:
        _prove_absent(proof, call, approvals, end_us)
    for line in lines[:1]:
        if line.operation != call.verb:
            text = f"{call.key} is a {call.verb} here, a {line.operation} at {call.provider}"
            proof.break_("books: same effect", text)
        elif approvals:
            if not any(_agrees(line, approval) for approval in approvals):
                text = f"{_told(line)} under {call.key}, here {_said(approvals[-1])}"
                proof.break_("books: same effect", text)
        elif call.state == "declined" and not _voided(proof, call):
            text = f"{_told(line)} under {call.key}, which did nothing according to the journal"
            proof.break_("books: same effect", text)


def _prove_absent(proof: Proof, call: Call, approvals: Sequence[Approval], end_us: int) -> None:
    # A void of what never became a charge moves nothing, and so is in no books.
    if call.verb != "void" and approvals and approvals[0].at_us <= end_us:
        text = f"{call.key} was approved according to the journal, and the books do not hold it"
        proof.break_("books: same effect", text)


def _voided(proof: Proof, charge: Call) -> bool:
    """Whether it ended because a void of it was confirmed, before its own answer was known."""
    assert proof.payment is not None
    return charge.charges and any(
        other.verb == "void" and other.state == "approved" and other.provider == charge.provider
        for other in proof.payment.calls
    )


class _Charges:
    """What the books keep of each charge of a payment: taken, held and given back."""

    def __init__(self, payment: Payment) -> None:
        self._payment = payment
        self.taken: Counter[Place] = Counter()
        self.held: Counter[Place] = Counter()
        self.open: set[Place] = set()

    def book(self, call: Call, line: BookLine) -> None:
        named = line.provider_txn_id if call.charges else call.target or line.provider_txn_id
        charge = (call.provider, named)
        if call.unresolved:
            self.open.add(charge)
        match line.operation:
            case "charge":
                self.taken[charge] += line.amount_minor
            case "authorize":
                self.held[charge] += line.amount_minor
            case "capture":
                self.taken[charge] += line.amount_minor
                del self.held[charge]
            case "void":
                del self.taken[charge], self.held[charge]
            case "refund":
                self.taken[charge] -= line.amount_minor

    def given_back(self, line: BookLine) -> None:
        # By the provider itself: of the payment's own charge, as far as anybody here can know.
        if self._payment.provider == line.provider and self._payment.provider_txn_id is not None:
            self.taken[line.provider, self._payment.provider_txn_id] -= line.amount_minor

    def kept(self) -> Iterator[tuple[Place, int, str]]:
        for sums, word in ((self.taken, "taken"), (self.held, "held")):
            yield from ((place, minor, word) for place, minor in sums.items() if minor > 0)


def _prove_kept(proof: Proof, payment: Payment, charges: _Charges) -> None:
    own = (payment.provider, payment.provider_txn_id)
    over = payment.status in ("failed", "cancelled")
    for place, minor, word in charges.kept():
        if (place == own and not over) or place in charges.open or _undone(payment, place):
            continue
        if word == "held" and (proof.hold_gone or _released(payment, place)):
            continue
        text = (
            f"the payment is {payment.status}, and {minor} minor units stay {word}"
            f" on {place[1]} at {place[0]}, with no reversal"
        )
        proof.break_("books: nothing kept", text)


def _undone(payment: Payment, charge: Place) -> bool:
    """Whether it is being undone, or a person was called because it could not be."""
    if any(
        call.unresolved and charge == _place(call.provider, call.target) for call in payment.calls
    ):
        return True
    failed = any(txn.type == "reverse" and txn.status == "failed" for txn in payment.txns)
    return failed and bool(payment.concerns)


def _released(payment: Payment, charge: Place) -> bool:
    # A hold that its provider lets go by itself moves no money, and so is in no books.
    return any(
        txn.type == "reverse"
        and txn.origin == "provider"
        and _place(txn.provider, txn.provider_txn_id) == charge
        for txn in payment.txns
    )


def _place(provider: str | None, named: str | None) -> Place:
    return (provider or "", named or "")


def _agrees(line: BookLine, approval: Approval) -> bool:
    if line.operation == "void":
        # It undoes the whole charge, and providers name its amount as they like.
        return line.currency == approval.currency
    return (line.amount_minor, line.currency) == (approval.amount_minor, approval.currency)


def _told(line: BookLine) -> str:
    return f"{line.operation} of {line.amount_minor} minor units of {line.currency}"


def _said(approval: Approval) -> str:
    return f"{approval.amount_minor} of {approval.currency}"


def _us(at: datetime) -> int:
    # In integers: a float of seconds since 1970 is exact to the microsecond for some years only.
    seconds = int(at.replace(microsecond=0).timestamp())
    return seconds * _US_PER_S + at.microsecond
