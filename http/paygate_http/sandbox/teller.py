"""The teller takes a call with a fresh key, decides, and leaves an operation in the books.

Keys, faults before and after the effect, and HTTP are `calls`' business. A fault that changes the
effect (`decline`, `wrong_amount`, `pending`, `error_500_stored`) comes in as a `Strike`.
"""

from msgspec import Struct

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox import refusals
from paygate_http.sandbox.answers import CONFLICT, FULL, NOT_FOUND, STORED_500, answer_of
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.cards import Approve, Confirm, Decline, Verdict, judge
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.later import Later
from paygate_http.sandbox.presence import Presence, asked_of, network_id_of, present
from paygate_http.sandbox.records import Charge, Operation
from paygate_http.sandbox.settlement import Settlement
from paygate_http.sandbox.wire import ChargeBody, FollowUpBody, ProviderId, Verb, trouble

# A payer who has not confirmed by then went away.
ACTION_US = 15 * 60 * 1_000_000


class Terms(Struct, frozen=True, kw_only=True):
    """The provider's terms. `url` is where payers reach it."""

    find_lag_us: int
    void_window_us: int
    url: str


class Request(Struct, frozen=True, kw_only=True):
    """One call with a fresh key, whatever its verb.

    `refund_id`: the id that a refund gets, where the account names its refunds itself.
    """

    provider: ProviderId
    key: str
    verb: Verb
    params_digest: bytes
    refund_id: str | None = None


class Sale(Struct, frozen=True, kw_only=True):
    """What a charge is about, once its instrument was judged.

    `txn_id`: the id of the object that becomes the charge, where there was one before. `named`:
    the card network's id of the charge is given out.
    """

    amount_minor: int
    currency: str
    capture: bool
    verdict: Verdict
    reference: str | None = None
    return_url: str | None = None
    txn_id: str | None = None
    named: bool = False


class Refused(Struct, frozen=True):
    """Nothing was done and the key is as fresh as before."""

    status: int
    body: bytes


class Teller:
    """Both accounts' teller. Nothing here waits: a decision and its effect are one step."""

    def __init__(
        self,
        *,
        books: Books,
        settlement: Settlement,
        later: Later,
        clock: Clock,
        ids: Ids,
        terms: Terms,
    ) -> None:
        self._books = books
        self._settlement = settlement
        self._later = later
        self._clock = clock
        self._ids = ids
        self._terms = terms

    def charge(
        self, request: Request, body: ChargeBody, strike: Strike | None
    ) -> Operation | Refused:
        """Charge or hold."""
        presence = Presence(
            initiator=body.initiator,
            store=body.store,
            network_txn_id=body.network_transaction_id,
            step_up=body.three_d_secure == "required",
        )
        asked = "challenge" if body.card is None else asked_of(body.card.number)
        sale = Sale(
            amount_minor=body.amount_minor,
            currency=body.currency,
            capture=body.capture,
            verdict=present(judge(body, provider=request.provider), asked, presence),
            reference=body.reference,
            return_url=body.return_url,
            named=presence.named and body.wallet is None,
        )
        return self.sell(request, sale, strike)

    def sell(self, request: Request, sale: Sale, strike: Strike | None) -> Operation | Refused:
        """Charge or hold what was judged."""
        if self._books.is_full():
            return Refused(FULL, trouble("sandbox_full", "The books are full: POST /reset."))
        if strike is not None and strike.fault == "error_500_stored":
            return self._broken(request, sale.amount_minor, sale.currency, sale.reference)
        charge = Charge(
            id=sale.txn_id or self._ids.new("ch"),
            provider=request.provider,
            key=request.key,
            reference=sale.reference or request.key,
            amount_minor=_twisted(sale.amount_minor, strike),
            currency=sale.currency,
            capture=sale.capture,
            status="pending",
            created_at_us=self._clock.now_us(),
            return_url=sale.return_url,
        )
        if sale.named:
            charge.network_txn_id = network_id_of(charge.id)
        operation = self._operation(
            request, charge, charge.id, charge.amount_minor, charge.reference
        )
        self._books.keep(charge)
        self._books.keep(operation)
        self._begin(operation, charge, _verdict(sale, strike), strike)
        return self._sealed(operation, charge)

    def follow_up(
        self, request: Request, body: FollowUpBody, strike: Strike | None
    ) -> Operation | Refused:
        """Capture, void or refund an earlier charge."""
        charge = self._books.charges.get(body.provider_txn_id)
        if charge is None or charge.provider != request.provider:
            return Refused(NOT_FOUND, trouble("not_found", "There is no such charge."))
        if self._books.is_full():
            return Refused(FULL, trouble("sandbox_full", "The books are full: POST /reset."))
        whole_minor = refusals.whole_minor(request.verb, charge)
        amount_minor = whole_minor if request.verb == "void" else body.amount_minor or whole_minor
        if strike is not None and strike.fault == "error_500_stored":
            return self._broken(request, amount_minor, charge.currency, body.reference)
        code = refusals.refusal(
            request.verb,
            charge,
            amount_minor=amount_minor,
            currency=body.currency,
            now_us=self._clock.now_us(),
            void_window_us=self._terms.void_window_us,
        )
        if code == refusals.PENDING:
            message = "Another operation on this charge has not ended yet."
            return Refused(CONFLICT, trouble(code, message))
        if code is None and strike is not None and strike.fault == "decline":
            code = "card_declined"
        txn_id = charge.id
        if request.verb == "refund":
            txn_id = request.refund_id or self._ids.new("re")
        operation = self._operation(
            request, charge, txn_id, _twisted(amount_minor, strike), body.reference
        )
        self._books.keep(operation)
        if code is not None:
            self._settlement.decline(operation, charge, code)
        else:
            self._follow(operation, charge, strike)
        return self._sealed(operation, charge)

    def _begin(
        self, operation: Operation, charge: Charge, verdict: Verdict, strike: Strike | None
    ) -> None:
        match verdict:
            case Confirm():
                operation.status = charge.status = "requires_action"
                charge.authentication = "challenge"
                charge.expires_at_us = charge.created_at_us + ACTION_US
                self._settlement.watch(charge)
            case Decline(code):
                if _is_pending(strike):
                    operation.decline_code = code
                    self._later.defer(operation, strike)
                else:
                    self._settlement.decline(operation, charge, code)
            case Approve(disputed, authentication):
                charge.authentication = authentication
                charge.dispute = "due" if disputed else None
                if _is_pending(strike):
                    self._later.defer(operation, strike)
                else:
                    self._settlement.charge(operation, charge)

    def _follow(self, operation: Operation, charge: Charge, strike: Strike | None) -> None:
        if charge.status == "requires_action":
            # Only a void gets here; nothing moved yet, so nothing moves back, and at once.
            self._settlement.void(operation, charge, moved=False)
        elif _is_pending(strike):
            if operation.verb == "refund":
                charge.refunding_minor += operation.amount_minor
            else:
                charge.busy_key = operation.key
            self._books.keep(charge)
            self._later.defer(operation, strike)
        else:
            self._settlement.effect_of(operation.verb)(operation, charge)

    def _operation(
        self,
        request: Request,
        charge: Charge,
        txn_id: str,
        amount_minor: int,
        reference: str | None,
    ) -> Operation:
        now_us = self._clock.now_us()
        return Operation(
            provider=request.provider,
            key=request.key,
            verb=request.verb,
            params_digest=request.params_digest,
            status="pending",
            charge_id=charge.id,
            txn_id=txn_id,
            reference=reference or request.key,
            amount_minor=amount_minor,
            currency=charge.currency,
            created_at_us=now_us,
            visible_at_us=now_us + self._terms.find_lag_us,
        )

    def _broken(
        self, request: Request, amount_minor: int, currency: str, reference: str | None
    ) -> Operation:
        now_us = self._clock.now_us()
        operation = Operation(
            provider=request.provider,
            key=request.key,
            verb=request.verb,
            params_digest=request.params_digest,
            status="failed",
            charge_id="",
            txn_id="",
            reference=reference or request.key,
            amount_minor=amount_minor,
            currency=currency,
            created_at_us=now_us,
            visible_at_us=now_us + self._terms.find_lag_us,
            decline_code=STORED_500,
        )
        return self._sealed(operation, None)

    def _sealed(self, operation: Operation, charge: Charge | None) -> Operation:
        operation.answer_status, operation.answer = answer_of(
            operation, charge, url=self._terms.url
        )
        self._books.keep(operation)
        return operation


def _verdict(sale: Sale, strike: Strike | None) -> Verdict:
    if strike is not None and strike.fault == "decline":
        return Decline("card_declined")
    return sale.verdict


def _is_pending(strike: Strike | None) -> bool:
    return strike is not None and strike.fault == "pending"


def _twisted(amount_minor: int, strike: Strike | None) -> int:
    if strike is None or strike.fault != "wrong_amount":
        return amount_minor
    # One less: more could not be captured from a hold, or refunded from a charge.
    return amount_minor - 1 if amount_minor > 1 else amount_minor + 1
