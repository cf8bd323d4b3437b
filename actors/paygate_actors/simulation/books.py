"""The books of a simulated provider: the ground truth that the gateway is measured by.

Written apart from the sandbox's, so that one mistake is not made twice. Plain values and rules;
who calls, what gets lost and when things happen is the business of `provider`.
"""

from typing import Final, Literal

from msgspec import Struct

Verb = Literal["charge", "authorize", "capture", "void", "refund"]
OperationStatus = Literal["pending", "requires_action", "succeeded", "failed", "cancelled"]
ChargeStatus = Literal[
    "prepared", "pending", "requires_action", "authorized", "captured", "cancelled", "failed"
]

# As Stripe keeps them.
KEY_WINDOW_S: Final = 24 * 3_600.0


class Charge(Struct, kw_only=True):
    """Money taken or held, or an object that nobody has confirmed so far (`prepared`).

    `own_doing`: it was declined, and done by the provider all the same. `unasked`: it was held, and
    captured by the provider alone.
    """

    id: str
    key: str
    amount_minor: int
    currency: str
    status: ChargeStatus
    captured_minor: int = 0
    refunded_minor: int = 0
    refunding_minor: int = 0
    captured_at_s: float = 0.0
    expires_at_s: float | None = None
    busy: bool = False
    own_doing: bool = False
    unasked: bool = False
    dispute: Literal["open", "won", "lost"] | None = None
    disputed_minor: int = 0

    @property
    def taken_back_minor(self) -> int:
        """What a dispute took back, for good or for now."""
        return self.disputed_minor if self.dispute in ("open", "lost") else 0

    @property
    def kept_minor(self) -> int:
        """What the payer is out of pocket by: captured and not given back."""
        taken = self.captured_minor if self.status == "captured" else 0
        return taken - self.refunded_minor - self.taken_back_minor

    @property
    def live(self) -> bool:
        """Whether money is taken, or held, or still can be."""
        if self.status == "captured":
            return self.kept_minor > 0
        return self.status in ("pending", "requires_action", "authorized")


class Operation(Struct, kw_only=True):
    """One call that was looked at, under its key. `answer` is what the key says from now on.

    `as_asked`: it is of the amount that was asked for.
    """

    key: str
    verb: Verb
    params: bytes
    charge_id: str
    txn_id: str
    amount_minor: int
    currency: str
    as_asked: bool
    status: OperationStatus
    at_s: float
    visible_at_s: float
    decline_code: str | None = None
    due_at_s: float | None = None
    answer: tuple[int, bytes] = (500, b"")


class Preparation(Struct, frozen=True, kw_only=True):
    """An object that was made under a key of its own, and what that key answers."""

    params: bytes
    at_s: float
    answer: tuple[int, bytes]


class Books:
    """One provider's charges and operations; `preparations` by their keys."""

    def __init__(self) -> None:
        self.preparations: dict[str, Preparation] = {}
        self.charges: dict[str, Charge] = {}
        self.operations: list[Operation] = []
        self._newest: dict[str, Operation] = {}

    def open(self, operation: Operation) -> None:
        """Write an operation down."""
        self.operations.append(operation)
        self._newest[operation.key] = operation

    def remembered(self, key: str, now_s: float) -> Operation | None:
        """The operation that the key stands for; None for a fresh or a forgotten key."""
        found = self._newest.get(key)
        return None if found is None or now_s - found.at_s > KEY_WINDOW_S else found

    def newest(self, key: str) -> Operation | None:
        """What was asked for under this key, for those who know where to look."""
        return self._newest.get(key)

    def ever(self, key: str) -> bool:
        """Whether anything was ever asked for under this key."""
        return key in self._newest

    def visible(self, key: str, now_s: float) -> Operation | None:
        """What a look-up finds."""
        found = self._newest.get(key)
        return None if found is None or now_s < found.visible_at_s else found

    def of_keys(self, prefix: str) -> list[Charge]:
        """The charges that were made under keys of one transaction."""
        return [each for each in self.charges.values() if each.key.startswith(prefix)]


def refusal(
    verb: Verb, charge: Charge, amount_minor: int, *, now_s: float, void_window_s: float
) -> str | None:
    """The code of the provider's no; None where it can be done; `operation_pending`: not yet."""
    if charge.busy or charge.status == "pending":
        return "operation_pending"
    if charge.status == "cancelled":
        return "charge_cancelled"
    if charge.status == "failed":
        return "charge_failed"
    match verb:
        case "capture":
            if charge.status != "authorized":
                return "already_captured" if charge.status == "captured" else "not_confirmed"
            return "amount_too_large" if amount_minor > charge.amount_minor else None
        case "refund":
            if charge.status != "captured":
                return "not_captured"
            if charge.taken_back_minor:
                return "charge_disputed"
            left = charge.captured_minor - charge.refunded_minor - charge.refunding_minor
            return None if 0 < amount_minor <= left else "amount_too_large"
        case "void":
            return _void_refusal(charge, now_s=now_s, void_window_s=void_window_s)
        case "charge" | "authorize":
            raise ValueError("a charge follows nothing")


def _void_refusal(charge: Charge, *, now_s: float, void_window_s: float) -> str | None:
    if charge.status != "captured":
        return None
    if charge.refunding_minor:
        return "operation_pending"
    if charge.taken_back_minor:
        return "charge_disputed"
    if charge.refunded_minor:
        return "charge_refunded"
    return "already_settled" if now_s - charge.captured_at_s > void_window_s else None
