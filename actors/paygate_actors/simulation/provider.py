"""A simulated provider: what it is asked, and what it answers.

It speaks the sandbox's language, so that the real adapter reads it. It is as honest as a provider
is: the same key does one thing once for a day, and its books are the truth, also where it does
something by mistake (`settlement`).
"""

from contextvars import Context
from typing import Any, Final, cast

import msgspec

from paygate_actors.simulation.answers import answer_of, finding_of, prepared_answer, trouble
from paygate_actors.simulation.books import (
    KEY_WINDOW_S,
    Books,
    Charge,
    ChargeStatus,
    Operation,
    Preparation,
    Verb,
    refusal,
)
from paygate_actors.simulation.faults import Dice, Options
from paygate_actors.simulation.kinds import UNCONFIRMED, Kind, PreparationBody
from paygate_actors.simulation.settlement import Effect, Settlement, Tell
from paygate_actors.simulation.tracing import Trace
from paygate_engine.simulation import VirtualLoop

Reply = tuple[int, bytes]

FIND_LAG_S: Final = 2.0
_OUTAGE_S: Final = (10.0, 900.0)
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
        self.kind: Kind = options.kinds[0 if first else 1]
        self.books = Books()
        self._first = first
        self._loop = loop
        self._dice = dice
        self._trace = trace
        self._settlement = Settlement(
            id,
            self.books,
            loop=loop,
            outside=outside,
            options=options,
            dice=dice,
            trace=trace,
            effect=effect,
            tell=tell,
        )
        self._void_window_s = float(options.void_window_s)
        self._down_until_s = 0.0
        self._made = 0

    @property
    def blind(self) -> bool:
        """Whether nobody can look at what it did."""
        return self.kind == "blind"

    @property
    def under_way(self) -> int:
        """How many things it will still do by itself, holds that run out left aside."""
        return self._settlement.under_way

    def receive(self, path: str, key: str, body: bytes | None) -> Reply | None:
        """Act on one request; None where nothing is answered."""
        if self._is_down():
            return None
        if body is None:
            return self._find(path)
        if self._dice.strikes("too_many_requests"):
            return 429, trouble("too_many_requests")
        if self._dice.strikes("server_error"):
            return 500, trouble("api_error")
        known = None if self.kind == "keyless" else self.books.remembered(key, self._now_s())
        if known is not None:
            if known.params != body:
                return 400, trouble("idempotency_error")
            return known.answer
        asked = cast("dict[str, Any]", msgspec.json.decode(body))
        noun, _, named = path.removeprefix(f"/providers/{self.id}/").partition("/")
        if noun == "preparations":
            return self._prepare(key, body)
        if noun == "charges":
            return (
                self._confirm(named, key, body, asked) if named else self._charge(key, body, asked)
            )
        verb = cast("Verb", path.rpartition("/")[2].removesuffix("s"))
        return self._follow_up(verb, key, body, asked)

    def _is_down(self) -> bool:
        if self._dice.strikes("outage", weight=0.1):
            self._down_until_s = self._now_s() + self._dice.between(*_OUTAGE_S)
            self._trace.note(f"{self.id} is down for a while")
        return self._dice.enabled("outage") and self._now_s() < self._down_until_s

    def _find(self, path: str) -> Reply:
        if self._dice.strikes("find_fails"):
            return 500, trouble("api_error")
        key = path.rpartition("/")[2]
        _, _, named = path.rpartition("/operations/")[0].rpartition("/objects/")
        # Who names the object reads it itself; an index of keys lags.
        found = self.books.newest(key) if named else self.books.visible(key, self._now_s())
        if found is None:
            return 404, trouble(self._standing(named, key))
        charge = self.books.charges[found.charge_id]
        return 200, finding_of(found, charge, provider=self.id)

    def _standing(self, named: str, key: str) -> str:
        charge = self.books.charges.get(named)
        if charge is None or charge.key != key or charge.busy:
            return "not_found"
        if charge.status == "cancelled":
            return "charge_cancelled"
        return UNCONFIRMED if charge.status == "prepared" else "not_found"

    def _prepare(self, key: str, body: bytes) -> Reply:
        known = self.books.preparations.get(key)
        if known is not None and self._now_s() - known.at_s <= KEY_WINDOW_S:
            return known.answer if known.params == body else (400, trouble("idempotency_error"))
        asked = msgspec.json.decode(body, type=PreparationBody)
        charge = self._new_charge(asked.reference, asked.amount_minor, asked.currency, "prepared")
        answer = prepared_answer(charge, key)
        self.books.preparations[key] = Preparation(params=body, at_s=self._now_s(), answer=answer)
        return answer

    def _confirm(self, named: str, key: str, body: bytes, asked: dict[str, Any]) -> Reply:
        charge = self.books.charges.get(named)
        if charge is None or charge.key != key:
            return 404, trouble("not_found")
        if charge.status == "cancelled":
            return 402, trouble("cancelled", charge.id)
        if charge.busy or charge.status != "prepared":
            return 409, trouble("operation_pending")
        charge.status = "pending"
        return self._charge(key, body, asked, charge)

    def _new_charge(
        self, key: str, amount_minor: int, currency: str, status: ChargeStatus
    ) -> Charge:
        charge = Charge(
            id=self._new_id("ch"),
            key=key,
            amount_minor=amount_minor,
            currency=currency,
            status=status,
        )
        self.books.charges[charge.id] = charge
        return charge

    def _charge(
        self, key: str, body: bytes, asked: dict[str, Any], charge: Charge | None = None
    ) -> Reply:
        asked_minor = int(asked["amountMinor"])
        if charge is None:
            charge = self._new_charge(key, asked_minor, asked["currency"], "pending")
        charge.amount_minor = self._twisted(asked_minor)
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
            self._settlement.payer_decides(operation, charge)
        else:
            self._settlement.do_now_or_later(operation, charge, code)
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
            self._settlement.done(operation, charge)
        else:
            self._settlement.do_now_or_later(operation, charge, code)
        return self._sealed(operation, charge)

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

    def _twisted(self, minor: int) -> int:
        return minor + 1 if self._dice.strikes("wrong_amount", weight=0.3) else minor

    def _new_id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_{self.id}_{self._made}"

    def _now_s(self) -> float:
        return self._loop.time()
