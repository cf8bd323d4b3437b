"""Payment methods: cards by number, or by the names that exist in every test account."""

from paygate_actors.card import normalise_number
from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.stripe_books import StripeBooks
from paygate_http.sandbox.stripe_cards import NAMED, method_of
from paygate_http.sandbox.stripe_errors import StripeTrouble
from paygate_http.sandbox.stripe_form import Fields, text
from paygate_http.sandbox.stripe_params import PAYMENT_FAILED, bad_parameter, integer, missing
from paygate_http.sandbox.stripe_records import Method
from paygate_http.sandbox.wire import ProviderId


class Methods:
    """Makes and finds the payment methods of one account."""

    def __init__(
        self, *, provider: ProviderId, records: StripeBooks, clock: Clock, ids: Ids
    ) -> None:
        self._provider: ProviderId = provider
        self._records = records
        self._clock = clock
        self._ids = ids

    def make(self, fields: Fields) -> Method:
        """Make a payment method of a card. Raises `StripeTrouble`."""
        if text(fields, "type") != "card":
            raise bad_parameter("type", "Only cards are taken here.")
        method = self._new(fields)
        self._records.keep(method)
        return method

    def find(self, fields: Fields) -> Method | None:
        """Give the method that a call names or describes; None where it does neither."""
        named = text(fields, "payment_method")
        if named is not None:
            found = self._records.methods.get(named)
            if found is not None:
                return found
            if named not in NAMED:
                raise missing("payment_method", named)
            method = self._judged(NAMED[named], exp_month=12, exp_year=2040, name=None)
        else:
            described = fields.get("payment_method_data")
            if not isinstance(described, dict):
                return None
            method = self._new(described)
        self._records.keep(method)
        return method

    def last4(self, fields: Fields) -> str | None:
        """Give the last four digits of the card that a call names; None where it names none."""
        named = text(fields, "payment_method")
        if named is None:
            described = fields.get("payment_method_data")
            number = text(described, "card", "number") if isinstance(described, dict) else None
            return number[-4:] if number else None
        found = self._records.methods.get(named)
        return found.last4 if found is not None else NAMED.get(named, "")[-4:] or None

    def _new(self, fields: Fields) -> Method:
        number = normalise_number(text(fields, "card", "number") or "")
        if number is None:
            raise StripeTrouble(
                PAYMENT_FAILED,
                "Your card number is incorrect.",
                type_="card_error",
                code="incorrect_number",
                param="number",
            )
        month = integer(fields, "card", "exp_month")
        year = integer(fields, "card", "exp_year")
        if month is None or not 1 <= month <= 12:  # noqa: PLR2004 - months
            raise _bad_expiry("invalid_expiry_month", "exp_month")
        if year is None or not 2_000 <= year <= 9_999:  # noqa: PLR2004 - four digits
            raise _bad_expiry("invalid_expiry_year", "exp_year")
        name = text(fields, "billing_details", "name")
        return self._judged(number, exp_month=month, exp_year=year, name=name)

    def _judged(self, number: str, *, exp_month: int, exp_year: int, name: str | None) -> Method:
        return method_of(
            number,
            id_=self._ids.new("pm"),
            provider=self._provider,
            exp_month=exp_month,
            exp_year=exp_year,
            holder_name=name,
            now_us=self._clock.now_us(),
        )


def _bad_expiry(code: str, name: str) -> StripeTrouble:
    message = "Your card's expiry is not valid."
    return StripeTrouble(PAYMENT_FAILED, message, type_="card_error", code=code, param=name)
