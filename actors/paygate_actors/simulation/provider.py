"""A simulated provider: what it is asked, what it does, what it answers, what it tells later.

It speaks the sandbox's language, so that the real adapter reads it. It is as honest as a provider
is: the same key does one thing once for a day, and its books are the truth, also where it does
something by mistake.
"""

from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, Protocol, cast

import msgspec

from paygate_actors.simulation.answers import answer_of, finding_of, trouble
from paygate_actors.simulation.books import Books, Charge, Operation, Verb, refusal
from paygate_actors.simulation.faults import Dice, Options, seeded
from paygate_actors.simulation.tracing import Trace
from paygate_engine.simulation import VirtualLoop

Reply = tuple[int, bytes]


class Tell(Protocol):
    """Sends a webhook; a `sure` one is repeated until it is heard."""

    def __call__(
        self,
        event_type: str,
        operation: Operation | None,
        charge: Charge,
        details: dict[str, object],
        *,
        sure: bool = False,
    ) -> None:
        """Send it."""
        ...


Effect = Callable[[str, Operation, Charge], None]

ACTION_S: Final = 900.0
HOLD_S: Final = 48 * 3_600.0
FIND_LAG_S: Final = 2.0
_DECLINES: Final = {
    "4000000000000002": "card_declined",
    "4000000000009995": "insufficient_funds",
    "wallet_declined": "card_declined",
}
# Declined by the first provider only: what failing over is for.
_HALF_DECLINES: Final = {"4000000000000119": "processing_error"}
CONFIRM_CARD: Final = "4000002760003184"


class SimulatedProvider:
    """One provider account. `effect` hears of each movement of money when it happens."""

    def __init__(
        self,
        id: str,  # noqa: A002 - the protocol's own name for it
        *,
        first: bool,
        loop: VirtualLoop,
        outside: Context,
        options: Options,
        dice: Dice,
        trace: Trace,
        effect: Effect,
        tell: Tell,
    ) -> None:
        self.id = id
        self.books = Books()
        self._first = first
        self._loop = loop
        self._outside = outside
        self._dice = dice
        self._trace = trace
        self._effect = effect
        self._tell = tell
        self._void_window_s = float(options.void_window_s)
        self._life = seeded(options.seed, f"payers at {id}")
        self._down_until_s = 0.0
        self._made = 0
        self.under_way = 0
        """How many things it will still do by itself, holds that run out left aside."""

    # ------------------------------------------------------------------ what it is asked

    def receive(self, path: str, key: str, body: bytes | None) -> Reply | None:
        """Act on one request; None where nothing is answered."""
        if self._is_down():
            return None
        if body is None:
            return self._find(path.rpartition("/")[2])
        if self._dice.strikes("too_many_requests"):
            return 429, trouble("too_many_requests")
        if self._dice.strikes("server_error"):
            return 500, trouble("api_error")
        known = self.books.remembered(key, self._now_s())
        if known is not None:
            if known.params != body:
                return 400, trouble("idempotency_error")
            return known.answer
        asked = cast("dict[str, Any]", msgspec.json.decode(body))
        if path.endswith("/charges"):
            return self._charge(key, body, asked)
        verb = cast("Verb", path.rpartition("/")[2].removesuffix("s"))
        return self._follow_up(verb, key, body, asked)

    def _is_down(self) -> bool:
        if self._dice.strikes("outage", weight=0.1):
            self._down_until_s = self._now_s() + self._dice.between(10.0, 900.0)
            self._note(f"{self.id} is down for a while")
        return self._dice.enabled("outage") and self._now_s() < self._down_until_s

    def _find(self, key: str) -> Reply:
        if self._dice.strikes("find_fails"):
            return 500, trouble("api_error")
        found = self.books.visible(key, self._now_s())
        if found is None:
            return 404, trouble("not_found")
        charge = self.books.charges[found.charge_id]
        return 200, finding_of(found, charge, provider=self.id)

    def _charge(self, key: str, body: bytes, asked: dict[str, Any]) -> Reply:
        asked_minor = int(asked["amountMinor"])
        charge = Charge(
            id=self._new_id("ch"),
            key=key,
            amount_minor=self._twisted(asked_minor),
            currency=asked["currency"],
            status="pending",
        )
        self.books.charges[charge.id] = charge
        verb: Verb = "charge" if asked["capture"] else "authorize"
        operation = self._open(verb, key, body, charge, charge.id, charge.amount_minor)
        operation.as_asked = charge.amount_minor == asked_minor
        instrument = asked["card"]["number"] if "card" in asked else asked["wallet"]["id"]
        code = _DECLINES.get(instrument)
        if self._first:
            code = code or _HALF_DECLINES.get(instrument)
        if self._dice.strikes("server_error_stored"):
            code = "api_error"
        if instrument == CONFIRM_CARD and code is None:
            operation.status = charge.status = "requires_action"
            charge.expires_at_s = self._now_s() + ACTION_S
            self._payer_decides(operation, charge)
        else:
            self._do_now_or_later(operation, charge, code)
        return self._sealed(operation, charge)

    def _follow_up(self, verb: Verb, key: str, body: bytes, asked: dict[str, Any]) -> Reply:
        charge = self.books.charges.get(asked["providerTxnID"])
        if charge is None:
            return 404, trouble("not_found")
        whole = charge.captured_minor if charge.status == "captured" else charge.amount_minor
        minor = int(asked.get("amountMinor", whole))
        code = refusal(verb, charge, minor, now_s=self._now_s(), void_window_s=self._void_window_s)
        if code == "operation_pending":
            return 409, trouble(code)
        txn_id = self._new_id("re") if verb == "refund" else charge.id
        done_minor = self._twisted(minor) if code is None and verb != "void" else minor
        operation = self._open(verb, key, body, charge, txn_id, done_minor)
        operation.as_asked = done_minor == minor
        if self._dice.strikes("server_error_stored"):
            code = "api_error"
        if code is None and charge.status == "requires_action":
            self._done(operation, charge)
        else:
            self._do_now_or_later(operation, charge, code)
        return self._sealed(operation, charge)

    # ------------------------------------------------------------------ what it does

    def _do_now_or_later(self, operation: Operation, charge: Charge, code: str | None) -> None:
        operation.decline_code = code
        if not self._dice.strikes("pending"):
            self._end(operation, charge)
            return
        delay_s = self._dice.between(1.0, 1_800.0)
        operation.due_at_s = self._now_s() + delay_s
        if operation.verb == "refund" and code is None:
            charge.refunding_minor += operation.amount_minor
        elif code is None:
            charge.busy = True
        self._later(delay_s, self._end_pending, operation, charge)

    def _end_pending(self, operation: Operation, charge: Charge) -> None:
        if operation.verb == "refund" and operation.decline_code is None:
            charge.refunding_minor -= operation.amount_minor
        charge.busy = False
        self._end(operation, charge)

    def _end(self, operation: Operation, charge: Charge) -> None:
        if operation.decline_code is None:
            self._done(operation, charge)
            return
        operation.status = "failed"
        self._note(f"{self.id} declines {operation.verb}: {operation.decline_code}", operation.key)
        if operation.verb in ("charge", "authorize"):
            charge.status = "failed"
            self._tell("payment.failed", operation, charge, {"reason": operation.decline_code})
            if self._dice.strikes("late_success"):
                self._later(self._dice.between(1.0, 3_600.0), self._after_all, operation, charge)
        elif operation.verb == "refund":
            self._tell("refund.failed", operation, charge, {"reason": operation.decline_code})

    def _after_all(self, operation: Operation, charge: Charge) -> None:
        operation.decline_code = None
        charge.own_doing = True
        self._done(operation, charge)

    def _done(self, operation: Operation, charge: Charge) -> None:
        operation.status = "succeeded"
        event = self._apply(operation, charge)
        amount = f"{operation.amount_minor} {operation.currency}"
        self._note(f"{self.id} does it: {operation.verb} of {amount}", operation.key)
        self._effect(self.id, operation, charge)
        self._tell(event, operation, charge, {}, sure=charge.own_doing)
        if operation.verb == "refund" and self._dice.strikes("refund_bounces"):
            self._later(self._dice.between(5.0, 3_600.0), self._bounce, operation, charge)
        if charge.status == "captured" and self._dice.strikes("provider_refund"):
            # At once, so that its news may overtake the charge's own answer, or later.
            soon = self._dice.rng.random() < 0.5  # noqa: PLR2004 - a coin
            delay_s = self._dice.between(0.0, 0.3 if soon else 3_600.0)
            self._later(delay_s, self._give_back, charge)

    def _apply(self, operation: Operation, charge: Charge) -> str:
        now_s = self._now_s()
        match operation.verb:
            case "charge" | "capture":
                charge.status = "captured"
                charge.captured_minor = operation.amount_minor
                charge.captured_at_s = now_s
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
                charge.status = "cancelled"
                self._origin(charge).status = "cancelled"
                return "payment.cancelled"

    def _bounce(self, operation: Operation, charge: Charge) -> None:
        operation.status = "failed"
        operation.decline_code = "account_closed"
        charge.refunded_minor -= operation.amount_minor
        self._note(f"{self.id}: the refund came back", operation.key)
        self._effect(self.id, operation, charge)
        self._tell("refund.failed", operation, charge, {"reason": "account_closed"}, sure=True)

    def _give_back(self, charge: Charge) -> None:
        left = charge.kept_minor - charge.refunding_minor
        if charge.status != "captured" or left <= 0 or charge.own_doing:
            return
        minor = max(1, left // 2)
        charge.refunded_minor += minor
        self._note(f"{self.id} refunds {minor} {charge.currency} by itself", charge.key)
        self._tell("refund.succeeded", None, charge, {"amountMinor": minor}, sure=True)

    def _payer_decides(self, operation: Operation, charge: Charge) -> None:
        self._later(ACTION_S, self._expire, charge, "requires_action")
        chance = self._life.random()
        delay_s = 1.0 + 600.0 * self._life.random()
        if chance < 0.7:  # noqa: PLR2004 - most payers confirm
            self._later(delay_s, self._confirmed, operation, charge, None)
        elif chance < 0.85:  # noqa: PLR2004 - some fail, and the rest walk away
            self._later(delay_s, self._confirmed, operation, charge, "authentication_failed")

    def _confirmed(self, operation: Operation, charge: Charge, code: str | None) -> None:
        if charge.status == "requires_action":
            self._do_now_or_later(operation, charge, code)
            if operation.due_at_s is not None and operation.status == "requires_action":
                operation.status = charge.status = "pending"

    def _expire(self, charge: Charge, status: str) -> None:
        if charge.status != status or charge.busy:
            return
        charge.status = "cancelled"
        origin = self._origin(charge)
        origin.status = "cancelled"
        self._note(f"{self.id}: the charge ran out of time", charge.key)
        self._tell("payment.cancelled", origin, charge, {"reason": "expired"})

    # ------------------------------------------------------------------ private

    def _open(
        self, verb: Verb, key: str, body: bytes, charge: Charge, txn_id: str, minor: int
    ) -> Operation:
        now_s = self._now_s()
        lag_s = self._dice.between(60.0, 600.0) if self._dice.strikes("find_lag") else FIND_LAG_S
        operation = Operation(
            key=key,
            verb=verb,
            params=body,
            charge_id=charge.id,
            txn_id=txn_id,
            amount_minor=minor,
            currency=charge.currency,
            as_asked=True,
            status="pending",
            at_s=now_s,
            visible_at_s=now_s + lag_s,
        )
        self.books.open(operation)
        return operation

    def _sealed(self, operation: Operation, charge: Charge) -> Reply:
        """The answer that the key stands for as long as it is remembered."""
        operation.answer = answer_of(operation, charge, provider=self.id)
        return operation.answer

    def _origin(self, charge: Charge) -> Operation:
        return next(
            each
            for each in self.books.operations
            if each.charge_id == charge.id and each.verb in ("charge", "authorize")
        )

    def _twisted(self, minor: int) -> int:
        return minor + 1 if self._dice.strikes("wrong_amount", weight=0.3) else minor

    def _new_id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_{self.id}_{self._made}"

    def _later(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        self.under_way += 1
        self._sometime(delay_s, self._do, act, *args)

    def _do(self, act: Callable[..., None], *args: Any) -> None:
        self.under_way -= 1
        act(*args)

    def _sometime(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        self._loop.call_later(delay_s, act, *args, context=self._outside)

    def _now_s(self) -> float:
        return self._loop.time()

    def _note(self, what: str, key: str = "") -> None:
        self._trace.note(what, about=key)
