"""What a simulated provider does with what it took on: now, later, by mistake, and what it tells.

Money moves here and nowhere else; `effect` hears of it in the same moment. What was asked, and
what is answered, is the business of `provider`.
"""

from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, Protocol

from paygate_actors.simulation.books import Books, Charge, Operation
from paygate_actors.simulation.faults import Dice, Options, seeded
from paygate_actors.simulation.tracing import Trace
from paygate_engine.simulation import VirtualLoop


class Tell(Protocol):
    """Sends a webhook; a `sure` one is repeated until it is heard. `about`: the provider's id."""

    def __call__(
        self,
        event_type: str,
        operation: Operation | None,
        charge: Charge,
        details: dict[str, object],
        *,
        sure: bool = False,
        about: str | None = None,
    ) -> None:
        """Send it."""
        ...


Effect = Callable[[str, Operation, Charge], None]

ACTION_S: Final = 900.0
HOLD_S: Final = 48 * 3_600.0
# How long "it takes its time" takes.
_PENDING_S: Final = (1.0, 1_800.0)
# What happens to a charge by itself comes within an hour, or so soon that its news may overtake
# the charge's own answer.
_BY_ITSELF_S: Final = (1.0, 3_600.0)
_AT_ONCE_S: Final = (0.0, 0.3)


class Settlement:
    """The moving half of one provider account."""

    def __init__(
        self,
        provider: str,
        books: Books,
        *,
        loop: VirtualLoop,
        outside: Context,
        options: Options,
        dice: Dice,
        trace: Trace,
        effect: Effect,
        tell: Tell,
    ) -> None:
        self.under_way = 0
        """How many things it will still do by itself, holds that run out left aside."""
        self._provider = provider
        self._books = books
        self._loop = loop
        self._outside = outside
        self._dice = dice
        self._trace = trace
        self._effect = effect
        self._tell = tell
        self._life = seeded(options.seed, f"payers at {provider}")
        self._desk = seeded(options.seed, f"the desk of {provider}")

    # ------------------------------------------------------------------ what was asked for

    def do_now_or_later(self, operation: Operation, charge: Charge, code: str | None) -> None:
        """Do it, or decline it with this code; at once, or when it has taken its time."""
        operation.decline_code = code
        if not self._dice.strikes("pending"):
            self._end(operation, charge)
            return
        delay_s = self._dice.between(*_PENDING_S)
        operation.due_at_s = self._loop.time() + delay_s
        if operation.verb == "refund" and code is None:
            charge.refunding_minor += operation.amount_minor
        elif code is None:
            charge.busy = True
        self._later(delay_s, self._end_pending, operation, charge)

    def done(self, operation: Operation, charge: Charge) -> None:
        """Move the money."""
        operation.status = "succeeded"
        event = self._apply(operation, charge)
        amount = f"{operation.amount_minor} {operation.currency}"
        self._note(f"{self._provider} does it: {operation.verb} of {amount}", operation.key)
        self._effect(self._provider, operation, charge)
        self._tell(event, operation, charge, {}, sure=charge.own_doing)
        if operation.verb == "refund" and self._dice.strikes("refund_bounces"):
            self._later(self._dice.between(*_BY_ITSELF_S), self._bounce, operation, charge)
        if charge.status == "captured":
            self._captured(charge, anew=operation.verb != "refund")
        elif operation.verb == "authorize":
            self._held(charge)

    def payer_decides(self, operation: Operation, charge: Charge) -> None:
        """Wait for the payer, who confirms, fails, or walks away."""
        operation.status = charge.status = "requires_action"
        charge.expires_at_s = self._loop.time() + ACTION_S
        self._later(ACTION_S, self._expire, charge, "requires_action")
        chance = self._life.random()
        delay_s = 1.0 + 600.0 * self._life.random()
        if chance < 0.7:  # noqa: PLR2004 - most payers confirm
            self._later(delay_s, self._confirmed, operation, charge, None)
        elif chance < 0.85:  # noqa: PLR2004 - some fail, and the rest walk away
            self._later(delay_s, self._confirmed, operation, charge, "authentication_failed")

    def _end_pending(self, operation: Operation, charge: Charge) -> None:
        if operation.verb == "refund" and operation.decline_code is None:
            charge.refunding_minor -= operation.amount_minor
        charge.busy = False
        self._end(operation, charge)

    def _end(self, operation: Operation, charge: Charge) -> None:
        if operation.decline_code is None:
            self.done(operation, charge)
            return
        operation.status = "failed"
        code = operation.decline_code
        self._note(f"{self._provider} declines {operation.verb}: {code}", operation.key)
        if operation.verb in ("charge", "authorize"):
            charge.status = "failed"
            self._tell("payment.failed", operation, charge, {"reason": code})
            if self._dice.strikes("late_success"):
                self._later(self._dice.between(*_BY_ITSELF_S), self._after_all, operation, charge)
        elif operation.verb == "refund":
            self._tell("refund.failed", operation, charge, {"reason": code})

    def _apply(self, operation: Operation, charge: Charge) -> str:
        now_s = self._loop.time()
        match operation.verb:
            case "charge" | "capture":
                self._take(charge, operation.amount_minor)
                return "payment.succeeded"
            case "authorize":
                charge.status = "authorized"
                charge.expires_at_s = now_s + HOLD_S
                self._sometime(HOLD_S, self._expire, charge, "authorized")
                return "payment.authorized"
            case "refund":
                charge.refunded_minor += operation.amount_minor
                return "refund.succeeded"
            case "void":
                if charge.status != "prepared":
                    self._origin(charge).status = "cancelled"
                charge.status = "cancelled"
                return "payment.cancelled"

    def _take(self, charge: Charge, minor: int) -> None:
        charge.status = "captured"
        charge.captured_minor = minor
        charge.captured_at_s = self._loop.time()

    def _confirmed(self, operation: Operation, charge: Charge, code: str | None) -> None:
        if charge.status == "requires_action":
            self.do_now_or_later(operation, charge, code)
            if operation.due_at_s is not None and operation.status == "requires_action":
                operation.status = charge.status = "pending"

    def _expire(self, charge: Charge, status: str) -> None:
        if charge.status != status or charge.busy:
            return
        charge.status = "cancelled"
        origin = self._origin(charge)
        origin.status = "cancelled"
        self._note(f"{self._provider}: the charge ran out of time", charge.key)
        self._tell("payment.cancelled", origin, charge, {"reason": "expired"})

    # ------------------------------------------------------------------ what nobody asked for

    def _captured(self, charge: Charge, *, anew: bool) -> None:
        if self._dice.strikes("provider_refund"):
            self._by_itself(self._give_back, charge)
        if anew and not charge.own_doing and self._dice.strikes("disputed", weight=0.5):
            self._by_itself(self._dispute, charge)

    def _held(self, charge: Charge) -> None:
        desk = self._desk
        if self._dice.strikes("provider_capture", weight=4.0, by=desk):
            soon = desk.random() < 0.5  # noqa: PLR2004 - a coin
            delay_s = desk.uniform(*(_AT_ONCE_S if soon else _BY_ITSELF_S))
            self._later(delay_s, self._capture, charge)

    def _capture(self, charge: Charge) -> None:
        """Capture a hold, the whole of it or a part, as somebody has done at a desk there."""
        if charge.status != "authorized" or charge.busy:
            return
        part = self._desk.random() < 0.5  # noqa: PLR2004 - a coin
        minor = self._desk.randint(1, charge.amount_minor) if part else charge.amount_minor
        self._take(charge, minor)
        charge.unasked = True
        # Whoever looks the hold up reads what was taken of it. Its news say how much in any case:
        # one without data would be taken to be of all that is held.
        origin = self._origin(charge)
        origin.amount_minor = minor
        origin.as_asked = False
        self._note(f"{self._provider} captures {minor} {charge.currency} by itself", charge.key)
        self._tell("payment.succeeded", origin, charge, {}, sure=True)
        self._captured(charge, anew=True)

    def _after_all(self, operation: Operation, charge: Charge) -> None:
        operation.decline_code = None
        charge.own_doing = True
        self.done(operation, charge)

    def _bounce(self, operation: Operation, charge: Charge) -> None:
        operation.status = "failed"
        operation.decline_code = "account_closed"
        charge.refunded_minor -= operation.amount_minor
        self._note(f"{self._provider}: the refund came back", operation.key)
        self._effect(self._provider, operation, charge)
        self._tell("refund.failed", operation, charge, {"reason": "account_closed"}, sure=True)

    def _give_back(self, charge: Charge) -> None:
        left = charge.kept_minor - charge.refunding_minor
        if charge.status != "captured" or left <= 0 or charge.own_doing:
            return
        minor = max(1, left // 2)
        charge.refunded_minor += minor
        self._note(f"{self._provider} refunds {minor} {charge.currency} by itself", charge.key)
        self._tell("refund.succeeded", None, charge, {"amountMinor": minor}, sure=True)

    # ------------------------------------------------------------------ disputes

    def _dispute(self, charge: Charge) -> None:
        """Take the money back for now: all that is left, or a part."""
        left = charge.kept_minor - charge.refunding_minor
        if charge.status != "captured" or left <= 0 or charge.busy:
            return
        if charge.dispute is None:
            part = self._life.random() < 0.3  # noqa: PLR2004 - of a shipment, one thing broke
            charge.disputed_minor = max(1, left // 2) if part else left
        elif charge.disputed_minor > left:
            return
        charge.dispute = "open"
        self._note(f"the payer disputes {charge.disputed_minor} {charge.currency}", charge.key)
        self._tell_dispute("dispute.opened", charge, reason="fraudulent")
        self._by_itself(self._decide, charge)

    def _decide(self, charge: Charge) -> None:
        won = self._life.random() < 0.5  # noqa: PLR2004 - a coin
        self._close(charge, won=won)
        if self._life.random() > 0.3:  # noqa: PLR2004 - most judgements stand
            return
        # One that was won may be opened anew; one that was lost may be won in appeal.
        if won:
            self._later(self._dice.between(*_BY_ITSELF_S), self._dispute, charge)
        else:
            self._later(self._dice.between(*_BY_ITSELF_S), self._appeal, charge)

    def _appeal(self, charge: Charge) -> None:
        self._close(charge, won=True)

    def _close(self, charge: Charge, *, won: bool) -> None:
        charge.dispute = "won" if won else "lost"
        self._note(f"the dispute is {charge.dispute}", charge.key)
        self._tell_dispute("dispute.closed", charge, outcome=charge.dispute)

    def _tell_dispute(self, event_type: str, charge: Charge, **details: object) -> None:
        # Nobody asks about disputes: their news come until they are heard.
        told = {"amountMinor": charge.disputed_minor, "reference": charge.key, **details}
        self._tell(event_type, None, charge, told, sure=True, about=charge.id)

    # ------------------------------------------------------------------ private

    def _origin(self, charge: Charge) -> Operation:
        return next(
            each
            for each in self._books.operations
            if each.charge_id == charge.id and each.verb in ("charge", "authorize")
        )

    def _by_itself(self, act: Callable[..., None], *args: Any) -> None:
        soon = self._dice.rng.random() < 0.5  # noqa: PLR2004 - a coin
        self._later(self._dice.between(*(_AT_ONCE_S if soon else _BY_ITSELF_S)), act, *args)

    def _later(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        self.under_way += 1
        self._sometime(delay_s, self._do, act, *args)

    def _do(self, act: Callable[..., None], *args: Any) -> None:
        self.under_way -= 1
        act(*args)

    def _sometime(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        self._loop.call_later(delay_s, act, *args, context=self._outside)

    def _note(self, what: str, key: str) -> None:
        self._trace.note(what, about=key)
