"""What Stripe's calls do: intents are made, confirmed, captured, cancelled and refunded.

The teller and the settlement do it, as for every other account; here stands what Stripe asks for
first, and how it says what came of it. A `StripeTrouble` is a no; nothing has moved then.
"""

import msgspec

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox import refusals
from paygate_http.sandbox.answers import CONFLICT, STORED_500, action_url
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.cards import MESSAGES, Confirm, Decline
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.presence import present
from paygate_http.sandbox.records import Charge, Operation
from paygate_http.sandbox.stripe_cards import words_of
from paygate_http.sandbox.stripe_errors import StripeTrouble
from paygate_http.sandbox.stripe_form import Fields, text
from paygate_http.sandbox.stripe_methods import Methods
from paygate_http.sandbox.stripe_money import LEAST, units_of
from paygate_http.sandbox.stripe_objects import (
    Json,
    charge_id,
    charge_json,
    intent_json,
    intent_status,
    refund_json,
)
from paygate_http.sandbox.stripe_params import (
    BAD,
    BROKEN,
    FULL,
    PAYMENT_FAILED,
    bad_parameter,
    broken,
    busy,
    checked,
    integer,
    metadata,
    missing,
    missing_parameter,
    required,
)
from paygate_http.sandbox.stripe_presence import is_expanded, method_details, presence_of
from paygate_http.sandbox.stripe_records import Intent, RefundNote
from paygate_http.sandbox.teller import Refused, Request, Sale, Teller
from paygate_http.sandbox.wire import FollowUpBody, ProviderId


class StripeDesk:
    """One account's desk. Nothing here waits: a decision and its effect are one step."""

    def __init__(
        self,
        *,
        provider: ProviderId,
        books: Books,
        teller: Teller,
        notices: Notices,
        methods: Methods,
        clock: Clock,
        ids: Ids,
        url: str,
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._records = books.stripe
        self._methods = methods
        self._teller = teller
        self._notices = notices
        self._clock = clock
        self._ids = ids
        self._url = url

    def create(self, fields: Fields) -> Intent:
        """Make an intent that is not confirmed."""
        currency = required(fields, "currency")
        amount = integer(fields, "amount")
        if amount is None:
            raise missing_parameter("amount")
        checked(amount, currency)
        if amount < LEAST.get(currency, 1):
            raise StripeTrouble(
                BAD, "Amount is too small.", code="amount_too_small", param="amount"
            )
        capture_method = text(fields, "capture_method") or "automatic_async"
        if capture_method not in ("automatic", "automatic_async", "manual"):
            raise bad_parameter("capture_method", "Invalid capture_method.")
        method = self._methods.find(fields)
        intent = Intent(
            id=self._ids.new("pi"),
            provider=self._provider,
            amount=amount,
            currency=currency,
            capture_method="manual" if capture_method == "manual" else "automatic",
            metadata=metadata(fields),
            description=text(fields, "description"),
            method_id=method.id if method is not None else None,
            created_at_us=self._clock.now_us(),
            customer=text(fields, "customer"),
        )
        self._records.keep(intent)
        return intent

    def confirm(
        self, intent: Intent, fields: Fields, request: Request, strike: Strike | None
    ) -> Json:
        """Charge or hold."""
        charge = self.charge(intent)
        method = self._methods.find(fields) or self._records.methods.get(intent.method_id or "")
        if charge is not None and charge.status == "failed" and text(fields, "payment_method"):
            intent.method_id = None  # the one that failed was let go of
        elif intent_status(intent, charge) not in (
            "requires_payment_method",
            "requires_confirmation",
        ):
            raise self._unexpected(intent, "confirm")
        if method is None:
            raise self._unexpected(intent, "confirm", "it's missing a payment method")
        presence = presence_of(fields)
        verdict = present(method.verdict, method.asked, presence)
        if isinstance(verdict, Confirm) and text(fields, "error_on_requires_action") == "true":
            verdict = Decline("authentication_required")
        intent.method_id = method.id
        intent.setup_future_usage = text(fields, "setup_future_usage")
        self._records.keep(intent)
        done = self._teller.sell(
            request,
            Sale(
                amount_minor=checked(intent.amount, intent.currency),
                currency=intent.currency.upper(),
                capture=intent.capture_method == "automatic",
                verdict=verdict,
                reference=intent.metadata.get("reference"),
                return_url=text(fields, "return_url"),
                txn_id=intent.id,
                named=presence.named,
            ),
            strike,
        )
        return self._after(intent, done, expand=is_expanded(fields))

    def capture(
        self, intent: Intent, fields: Fields, request: Request, strike: Strike | None
    ) -> Json:
        """Take what is held, in whole or in part."""
        charge = self._in_state(intent, "capture", "requires_capture")
        units = integer(fields, "amount_to_capture")
        minor = charge.amount_minor if units is None else checked(units, intent.currency)
        if minor > charge.amount_minor:
            raise StripeTrouble(
                BAD,
                "The remaining amount to capture is smaller than amount_to_capture.",
                code="amount_too_large",
                param="amount_to_capture",
            )
        intent.metadata = {**intent.metadata, **metadata(fields)}
        self._records.keep(intent)
        done = self._follow(intent, request, strike, minor)
        return self._after(intent, done)

    def cancel(
        self, intent: Intent, fields: Fields, request: Request, strike: Strike | None
    ) -> Json:
        """Give up an intent that was not captured."""
        charge = self.charge(intent)
        status = intent_status(intent, charge)
        if status in ("succeeded", "canceled", "processing"):
            raise self._unexpected(intent, "cancel")
        intent.cancelled_at_us = self._clock.now_us()
        intent.cancellation_reason = text(fields, "cancellation_reason")
        if charge is None or charge.status == "failed":
            self._abandon(intent, charge, request)
            return self.render(intent)
        done = self._follow(intent, request, strike, charge.amount_minor)
        return self._after(intent, done)

    def refund(self, fields: Fields, request: Request, strike: Strike | None) -> Json:
        """Give back a part or all of it."""
        intent = self._refunded_intent(fields)
        charge = self._in_state(intent, "refund", "succeeded")
        units = integer(fields, "amount")
        minor = charge.left_minor if units is None else checked(units, intent.currency)
        self._check_refund(charge, minor)
        note = RefundNote(
            id=self._ids.new("re"),
            intent_id=intent.id,
            metadata=metadata(fields),
            reason=text(fields, "reason"),
            amount=units_of(minor, intent.currency),
            currency=intent.currency,
            created_at_us=self._clock.now_us(),
            key=request.key,
        )
        self._records.keep(note)
        named = msgspec.structs.replace(request, refund_id=note.id)
        done = self._follow(intent, named, strike, minor, reference=note.metadata)
        if isinstance(done, Refused) or done.decline_code == STORED_500:
            return self._after(intent, done)
        return refund_json(note, done)

    def intent(self, id_: str) -> Intent:
        """Give the intent of that id. Raises `StripeTrouble`."""
        found = self._records.intents.get(id_)
        if found is None:
            raise missing("payment_intent", id_)
        return found

    def charge(self, intent: Intent) -> Charge | None:
        """Give the intent's charge in the books; None until it is confirmed."""
        return self._books.charges.get(intent.id)

    def render(self, intent: Intent, *, expand: bool = False) -> Json:
        """Give the intent as it stands; with `expand` its charge is shown in full."""
        charge = self.charge(intent)
        operation = self._books.operation_of(charge) if charge is not None else None
        url = action_url(charge, url=self._url) if charge is not None else ""
        shown = intent_json(intent, charge, operation, url=url)
        if expand and charge is not None:
            shown["latest_charge"] = self.render_charge(intent, charge)
        return shown

    def render_charge(self, intent: Intent, charge: Charge) -> Json:
        """Give the intent's charge as it stands."""
        method = self._records.methods.get(intent.method_id or "")
        details = method_details(charge, method)
        return charge_json(intent, charge, self._books.operation_of(charge), details)

    def _after(self, intent: Intent, done: Operation | Refused, *, expand: bool = False) -> Json:
        if isinstance(done, Refused):
            raise busy() if done.status == CONFLICT else broken(FULL)
        if done.status != "failed":
            return self.render(intent, expand=expand)
        if done.decline_code == STORED_500:
            raise broken(BROKEN)
        words = words_of(done.decline_code or "card_declined")
        raise StripeTrouble(
            PAYMENT_FAILED,
            MESSAGES.get(done.decline_code or "", "Your card was declined."),
            type_="card_error",
            code=words.code,
            decline_code=words.decline_code,
            intent=self.render(intent),
            charge=charge_id(intent.id),
            kept=True,
        )

    def _follow(
        self,
        intent: Intent,
        request: Request,
        strike: Strike | None,
        minor: int,
        *,
        reference: dict[str, str] | None = None,
    ) -> Operation | Refused:
        body = FollowUpBody(
            provider_txn_id=intent.id,
            amount_minor=minor,
            reference=(reference or {}).get("reference"),
        )
        return self._teller.follow_up(request, body, strike)

    def _abandon(self, intent: Intent, charge: Charge | None, request: Request) -> None:
        self._records.keep(intent)
        if charge is not None:
            charge.status = "cancelled"
            self._books.keep(charge)
        self._notices.emit(
            "payment.cancelled",
            provider=self._provider,
            cause="void",
            key=request.key,
            transaction_id=intent.id,
            data={"reference": intent.metadata.get("reference")},
        )

    def _refunded_intent(self, fields: Fields) -> Intent:
        named = text(fields, "payment_intent")
        charged = text(fields, "charge")
        if named is None and charged is not None:
            named = "pi_" + charged.partition("_")[2]
        if named is None:
            raise missing_parameter("payment_intent")
        return self.intent(named)

    def _in_state(self, intent: Intent, verb: str, wanted: str) -> Charge:
        charge = self.charge(intent)
        status = intent_status(intent, charge)
        if charge is not None and status == wanted:
            return charge
        if verb != "refund":
            raise self._unexpected(intent, verb)
        raise StripeTrouble(
            BAD,
            "This PaymentIntent does not have a successful charge to refund.",
            code="charge_not_refundable",
            kept=True,
        )

    def _check_refund(self, charge: Charge, minor: int) -> None:
        code = refusals.refusal(
            "refund",
            charge,
            amount_minor=minor,
            currency=None,
            now_us=self._clock.now_us(),
            void_window_us=0,
        )
        if code == refusals.PENDING:
            raise busy()
        if code == "charge_disputed":
            raise StripeTrouble(
                BAD, "The charge has been charged back.", code="charge_disputed", kept=True
            )
        if code is not None and charge.left_minor <= 0:
            raise StripeTrouble(
                BAD,
                "The charge has already been refunded.",
                code="charge_already_refunded",
                kept=True,
            )
        if code is not None:
            # Stripe gives this no code.
            message = "Refund amount is greater than unrefunded amount on charge."
            raise StripeTrouble(BAD, message, param="amount", kept=True)

    def _unexpected(self, intent: Intent, verb: str, why: str | None = None) -> StripeTrouble:
        status = intent_status(intent, self.charge(intent))
        return StripeTrouble(
            BAD,
            f"You cannot {verb} this PaymentIntent because {why or f'it is {status}'}.",
            code="payment_intent_unexpected_state",
            intent=self.render(intent),
            kept=True,
        )
