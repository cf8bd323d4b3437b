"""What an adapter declines by itself, before anything is sent: another provider may take it."""

from typing import Final

from paygate_actors.outcomes import Declined

NO_METHOD: Final = Declined(
    code="payment_method_not_supported",
    message="The provider does not take this kind of payment method.",
    retryable=True,
)
NO_AMOUNT: Final = Declined(
    code="amount_not_supported",
    message="The provider cannot represent this amount exactly.",
    retryable=True,
)
