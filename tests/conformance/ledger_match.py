"""Holds what the gateway says against the sandbox's books, which are the truth.

To be used when nothing is open any more; each disagreement is a sentence.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gateway_words import cents
from process_rig import Settled

Row = dict[str, Any]


class Books:
    """What the books hold of one payment, in minor units."""

    def __init__(self, lines: Iterable[Row]) -> None:
        self.taken: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.refunded = 0
        for line in lines:
            charge, minor = line["providerTxnID"], line["amountMinor"]
            match line["operation"]:
                case "charge":
                    self.taken[charge] += minor
                case "authorize":
                    self.held[charge] += minor
                case "capture":
                    self.taken[charge] += minor
                    self.held.pop(charge, None)
                case "void":
                    self.taken.pop(charge, None)
                    self.held.pop(charge, None)
                case "refund":
                    self.refunded += minor
                case other:
                    raise AssertionError(f"the books hold a line of an unknown kind: {other}")


def disagreements(seen: Settled, ledger: Sequence[Row]) -> list[str]:
    """Every sentence in which the gateway and the books do not agree."""
    found = [
        f"{key} had {count} effects"
        for key, count in Counter(line["idempotencyKey"] for line in ledger).items()
        if key is not None and count > 1
    ]
    owner = {row["id"]: row["paymentID"] for row in seen.transactions}
    lines: defaultdict[str, list[Row]] = defaultdict(list)
    for line in ledger:
        transaction_id = line["idempotencyKey"].rpartition("-")[0]
        if transaction_id in owner:
            lines[owner[transaction_id]].append(line)
        else:
            found.append(f"money moved for a transaction that nobody knows: {line}")
    for row in seen.payments:
        books = Books(lines[row["id"]])
        found += [f"{row['id']} ({row['status']}): {text}" for text in _of_payment(row, books)]
    moved = {line["idempotencyKey"].rpartition("-")[0] for line in ledger}
    found += [
        f"{row['id']} is a refund that is {row['status']}, and the books say otherwise"
        for row in seen.transactions
        if row["type"] == "refund" and (row["status"] == "success") != (row["id"] in moved)
    ]
    return found


def _of_payment(row: Row, books: Books) -> Iterator[str]:
    taken, held = books.taken.total(), books.held.total()
    if len(books.taken) > 1:
        yield f"it was taken more than once: {dict(books.taken)}"
    match row["status"]:
        case "success":
            if taken != cents(row["amountCaptured"]):
                yield f"captured {row['amountCaptured']}, and the books hold {taken}"
            if books.refunded != cents(row["amountRefunded"]):
                yield f"refunded {row['amountRefunded']}, and the books hold {books.refunded}"
            if held:
                yield f"{held} are still held"
        case "authorized" | "review":
            if held != cents(row["amountAuthorized"]) or taken:
                yield f"holds {row['amountAuthorized']}, the books {held} and {taken} taken"
        case "requires_action":
            if held or taken:
                yield f"{held} held and {taken} taken before the payer confirmed"
        case "failed" | "cancelled":
            if held or taken != books.refunded:
                yield f"{held} held, {taken} taken, {books.refunded} refunded"
        case other:
            yield f"a payment that is {other} is not settled"
