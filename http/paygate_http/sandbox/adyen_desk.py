"""What Adyen's calls do: payments are made, captured, cancelled, refunded, reversed.

The teller and the settlement do it, as for every other account. A modification is answered with
`received` whatever becomes of it; a no is told by webhook as well.
"""

from typing import Final

import msgspec

from paygate_actors.brands import brand_of
from paygate_engine.ids import Ids
from paygate_http.sandbox.adyen_books import AdyenBooks
from paygate_http.sandbox.adyen_cards import brand_name, number_of
from paygate_http.sandbox.adyen_errors import (
    AdyenTrouble,
    broken,
    no_such_payment,
    wrong_account,
)
from paygate_http.sandbox.adyen_money import AmountRefused, minor_of
from paygate_http.sandbox.adyen_objects import (
    MERCHANT_ACCOUNT,
    Json,
    modification_json,
    payment_json,
)
from paygate_http.sandbox.adyen_records import Kind, Modification, Sale
from paygate_http.sandbox.adyen_wire import Amount, ModificationBody, PaymentBody
from paygate_http.sandbox.answers import CONFLICT, STORED_500, action_url
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.cards import Approve, Confirm, Decline, Verdict, judge_card
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.records import Charge
from paygate_http.sandbox.teller import Refused, Request, Teller
from paygate_http.sandbox.teller import Sale as Sold
from paygate_http.sandbox.wire import FollowUpBody, ProviderId, Verb

_REFERENCE_LENGTH: Final = 16


class AdyenDesk:
    """One account's desk. Nothing here waits: a decision and its effect are one step."""

    def __init__(
        self,
        *,
        provider: ProviderId,
        books: Books,
        records: AdyenBooks,
        teller: Teller,
        notices: Notices,
        ids: Ids,
        url: str,
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._records = records
        self._teller = teller
        self._notices = notices
        self._ids = ids
        self._url = url

    def pay(self, body: PaymentBody, request: Request, strike: Strike | None) -> Json:
        """Charge or hold."""
        _check_account(body.merchant_account)
        if not body.return_url:
            raise AdyenTrouble(422, "14_030", "Return URL is missing.")
        minor = _minor(body.amount)
        number = number_of(body.payment_method)
        sale = Sale(
            id=self._new_id(),
            reference=body.reference,
            brand=brand_name(brand_of(number)),
            last4=number[-4:],
        )
        self._records.keep(sale)
        done = self._teller.sell(
            request,
            Sold(
                amount_minor=minor,
                currency=body.amount.currency,
                capture=not body.manual,
                verdict=self._verdict(body, number),
                reference=body.reference,
                return_url=body.return_url,
                txn_id=sale.id,
            ),
            strike,
        )
        if isinstance(done, Refused):
            raise broken()
        if done.decline_code == STORED_500:
            raise broken(kept=True)
        return self.render(sale.id)

    def modify(
        self,
        kind: Kind,
        charge: Charge,
        body: ModificationBody,
        request: Request,
        strike: Strike | None,
    ) -> Json:
        """Take a modification in, and do it."""
        _check_account(body.merchant_account)
        made = Modification(
            id=self._new_id(),
            kind=kind,
            sale_id=charge.id,
            reference=body.reference or charge.reference,
            amount_minor=self._minor_of(kind, body, charge),
            refunds=kind == "reversal" and charge.status == "captured",
        )
        self._records.keep(made)
        self._act(made, charge, request, strike)
        return modification_json(made, charge)

    def charge(self, sale_id: str) -> Charge:
        """Give the payment of that id. Raises `AdyenTrouble`."""
        found = self._books.charges.get(sale_id)
        if found is None or found.provider != self._provider:
            raise no_such_payment()
        return found

    def charge_of_reference(self, reference: str | None) -> Charge:
        """Give the payment that the merchant calls so. Raises `AdyenTrouble`."""
        sale = self._records.sale_of(reference or "")
        if sale is None:
            raise no_such_payment()
        return self.charge(sale.id)

    def render(self, sale_id: str) -> Json:
        """Give the payment as it stands. Raises `AdyenTrouble`."""
        charge = self.charge(sale_id)
        operation = self._books.operation_of(charge)
        url = action_url(charge, url=self._url)
        return payment_json(self._records.sales[sale_id], charge, operation, url=url)

    def _verdict(self, body: PaymentBody, number: str) -> Verdict:
        verdict = judge_card(number, provider=self._provider)
        demanded = body.authentication_data.attempt_authentication == "always"
        if demanded and isinstance(verdict, Approve):
            return Confirm()
        if isinstance(verdict, Confirm) and body.shopper_interaction == "ContAuth":
            # Its payer is not there to be asked.
            return Decline("authentication_required")
        return verdict

    def _act(
        self, made: Modification, charge: Charge, request: Request, strike: Strike | None
    ) -> None:
        verb = _verb(made)
        if made.kind in ("cancel", "technical_cancel") and charge.status == "captured":
            # What was captured is refunded or reversed, never cancelled.
            self._fail(made, verb, request, "already_captured")
            return
        done = self._teller.follow_up(
            msgspec.structs.replace(request, verb=verb, refund_id=made.id),
            FollowUpBody(
                provider_txn_id=charge.id, amount_minor=made.amount_minor, reference=made.id
            ),
            strike,
        )
        if isinstance(done, Refused):
            if done.status != CONFLICT:
                raise broken()
            self._fail(made, verb, request, "operation_pending")
        elif done.decline_code == STORED_500:
            raise broken(kept=True)
        elif done.status == "failed" and verb != "refund":
            # Declined refunds are told of for every account, the others for this one alone.
            self._fail(made, verb, request, done.decline_code or "")

    def _fail(self, made: Modification, verb: Verb, request: Request, reason: str) -> None:
        charge = self._books.charges[made.sale_id]
        self._notices.emit(
            f"{verb}.failed",
            provider=self._provider,
            cause=verb,
            key=request.key,
            transaction_id=made.id,
            data={
                "amountMinor": made.amount_minor,
                "currency": charge.currency,
                "reference": made.id,
                "reason": reason,
            },
        )

    def _minor_of(self, kind: Kind, body: ModificationBody, charge: Charge) -> int:
        if kind not in ("capture", "refund"):
            return charge.left_minor if charge.status == "captured" else charge.amount_minor
        if body.amount is None:
            raise AdyenTrouble(422, "100", "No amount specified")
        if body.amount.currency != charge.currency:
            raise AdyenTrouble(422, "137", "Invalid amount specified")
        return _minor(body.amount)

    def _new_id(self) -> str:
        # Sixteen capitals and digits: the end of an id of ours, which is its random part.
        return self._ids.new("psp")[-_REFERENCE_LENGTH:].upper()


def _verb(made: Modification) -> Verb:
    match made.kind:
        case "capture":
            return "capture"
        case "refund":
            return "refund"
        case "reversal" if made.refunds:
            return "refund"
        case "cancel" | "technical_cancel" | "reversal":
            return "void"


def _check_account(named: str) -> None:
    if named != MERCHANT_ACCOUNT:
        raise wrong_account()


def _minor(amount: Amount) -> int:
    try:
        return minor_of(amount.value, amount.currency)
    except AmountRefused as refused:
        raise AdyenTrouble(422, refused.code, str(refused)) from refused
