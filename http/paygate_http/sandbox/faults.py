"""What goes wrong on purpose: plans made by a test or a file, drawn by the calls they name.

Plans live in memory: they are a test's set-up, not the provider's state. `fault_plan` reads them.
"""

import random
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from paygate_http.sandbox.wire import ProviderId, Wire

# Both sides of one call, and its webhook: more plans than this are a mistake of a loop.
PLANS_MAX = 1_000

# Longer than any deadline under test, shorter than the wait for a person.
DELAY_MS_MAX = 3_600_000
HANG_MS = 60_000
DELAY_MS = 1_000

# These strike before the provider looks at the call: nothing is done, no key is kept.
Before = Literal["reset_before_effect", "hang_before_effect", "error_500", "too_many_requests"]
# These change what the call does, so they are of no use to a replay.
During = Literal["error_500_stored", "wrong_amount", "decline", "pending"]
# These spoil the answer only.
After = Literal["reset_after_effect", "hang_after_effect", "garbage", "slow"]
OnWebhook = Literal[
    "webhook_drop", "webhook_duplicate", "webhook_delay", "webhook_reorder", "webhook_before_reply"
]
CallFault = Before | During | After
FaultOperation = Literal[
    "prepare", "charge", "authorize", "capture", "refund", "void", "find", "dispute"
]

_DURING: frozenset[str] = frozenset(get_args(During))
_ON_WEBHOOK: frozenset[str] = frozenset(get_args(OnWebhook))
_ON_FIND: frozenset[str] = frozenset((*get_args(Before), *get_args(After)))
_MOVES_NOTHING = ("find", "prepare")
_HANGS = ("hang_before_effect", "hang_after_effect")


class FaultsRefused(Exception):
    """The body of `POST /faults` makes no sense; the text says why."""


class FaultPlan(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The next `count` matching calls (or webhooks) are struck, by chance.

    No provider or operation means any; but what moves no money is struck only where it is named:
    look-ups as `find`, the first of two steps as `prepare`. With a `card` (matched by its last four
    digits) only charges and holds of it are struck. Times are milliseconds.
    """

    fault: Before | During | After | OnWebhook
    provider: ProviderId | None = None
    operation: FaultOperation | None = None
    card: Annotated[str, Meta(pattern="^[0-9]{13,19}$")] | None = None
    count: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    delay_ms: Annotated[int, Meta(ge=0, le=DELAY_MS_MAX)] | None = None
    probability: Annotated[float, Meta(gt=0, le=1)] = 1.0


class FaultSheet(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several plans, in the order in which they are looked at. `seed` fixes what chance decides."""

    faults: Annotated[tuple[FaultPlan, ...], Meta(max_length=PLANS_MAX)]
    seed: int | None = None


class Strike(Struct, frozen=True):
    """A fault that hits now; `delay_ms` is filled in."""

    fault: str
    delay_ms: int


class _Entry(Struct):
    plan: FaultPlan
    left: int


class Faults:
    """The plans that stand, in the order in which they were posted. The first match strikes."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._entries: list[_Entry] = []

    def plan_all(self, sheet: FaultSheet) -> None:
        """Add all plans of a sheet, or none of them. Raises `FaultsRefused`.

        With a seed the draws start anew from it.
        """
        if len(self._entries) + len(sheet.faults) > PLANS_MAX:
            raise FaultsRefused(f"There is room for {PLANS_MAX} faults: DELETE /faults first.")
        self.check(sheet)
        if sheet.seed is not None:
            self._rng = random.Random(sheet.seed)  # noqa: S311 - chance, not secrecy
        self._entries += [_Entry(each, each.count) for each in sheet.faults]

    @staticmethod
    def check(sheet: FaultSheet) -> None:
        """Raise `FaultsRefused` where one of the plans could never strike."""
        for number, each in enumerate(sheet.faults, start=1):
            if why := _never_strikes(each):
                alone = len(sheet.faults) == 1
                raise FaultsRefused(why if alone else f"Fault {number}: {why}")

    def add(self, plan: FaultPlan) -> None:
        """Add a plan. Raises `FaultsRefused` where it could never strike, or too many stand."""
        self.plan_all(FaultSheet(faults=(plan,)))

    def clear(self) -> None:
        """Drop every plan."""
        self._entries.clear()

    def standing(self) -> list[FaultPlan]:
        """Give the plans that can still strike, with the counts that are left."""
        return [msgspec.structs.replace(entry.plan, count=entry.left) for entry in self._entries]

    def on_call(
        self, provider: str, operation: str, *, replay: bool, card: str | None = None
    ) -> Strike | None:
        """Draw for a call. A replay is struck only by what needs no effect to change.

        `card`: the last four digits of the card that is charged, where one is.
        """
        without = _ON_WEBHOOK | _DURING if replay else _ON_WEBHOOK
        return self._draw(provider, operation, card=card, without=without)

    def on_webhook(self, provider: str, operation: str) -> Strike | None:
        """Draw for the webhook that an operation (or `dispute`) causes."""
        return self._draw(provider, operation, only=_ON_WEBHOOK)

    def _draw(
        self,
        provider: str,
        operation: str,
        *,
        card: str | None = None,
        only: frozenset[str] | None = None,
        without: frozenset[str] = frozenset(),
    ) -> Strike | None:
        for entry in self._entries:
            plan = entry.plan
            if plan.fault in without or (only is not None and plan.fault not in only):
                continue
            if not _matches(plan, provider, operation, card):
                continue
            if plan.probability < 1 and self._rng.random() >= plan.probability:
                continue
            entry.left -= 1
            if entry.left == 0:
                self._entries.remove(entry)
            return Strike(plan.fault, _delay_ms(plan))
        return None


def _never_strikes(plan: FaultPlan) -> str | None:
    if plan.operation in _MOVES_NOTHING and plan.fault not in _ON_FIND:
        what = "look-up" if plan.operation == "find" else "preparation"
        return f"A {what} cannot suffer {plan.fault}."
    if plan.operation == "dispute" and plan.fault not in _ON_WEBHOOK:
        return f"A dispute has webhooks only and cannot suffer {plan.fault}."
    if plan.card is not None and plan.fault in _ON_WEBHOOK:
        return "A webhook has no card: leave the card out."
    if plan.card is not None and plan.operation not in (None, "charge", "authorize"):
        return f"A {plan.operation} brings no card: leave out the card, or the operation."
    return None


def _matches(plan: FaultPlan, provider: str, operation: str, card: str | None) -> bool:
    if plan.provider is not None and plan.provider != provider:
        return False
    if plan.card is not None and (card is None or plan.card[-4:] != card):
        return False
    if plan.operation is None:
        return operation not in _MOVES_NOTHING
    return plan.operation == operation


def _delay_ms(plan: FaultPlan) -> int:
    if plan.delay_ms is not None:
        return plan.delay_ms
    return HANG_MS if plan.fault in _HANGS else DELAY_MS
