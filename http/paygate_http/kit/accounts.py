"""Accounts of our own sandbox to try our own kinds with: its public secrets, its test cards."""

from typing import Final

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.trial import TrialAccount
from paygate_http.kit.stand import RETURN_URL
from paygate_http.sandbox.adyen_calls import API_KEY as ADYEN_KEY
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT as ADYEN_MERCHANT
from paygate_http.sandbox.adyen_tongue import HMAC_KEY as ADYEN_HMAC_KEY
from paygate_http.sandbox.paypal_tokens import CLIENT_ID as PAYPAL_CLIENT
from paygate_http.sandbox.paypal_tokens import CLIENT_SECRET as PAYPAL_SECRET
from paygate_http.sandbox.paypal_tongue import WEBHOOK_ID as PAYPAL_WEBHOOK
from paygate_http.sandbox.server import WEBHOOK_SECRET
from paygate_http.sandbox.stripe_calls import SECRET_KEY as STRIPE_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET as STRIPE_WEBHOOK_SECRET

APPROVED: Final = "4242424242424242"
APPROVED_TOO: Final = "5555555555554444"
CONFIRM: Final = "4000002760003184"
DISPUTED: Final = "4000000000000259"
DECLINES: Final = {
    "card_declined": "4000000000000002",
    "insufficient_funds": "4000000000009995",
    "lost_card": "4000000000009987",
    "stolen_card": "4000000000009979",
    "expired_card": "4000000000000069",
    "incorrect_cvc": "4000000000000127",
    "processing_error": "4000000000000119",
}

SANDBOX: Final = TrialAccount(
    config=ProviderConfig(id="sandbox", kind="sandbox", webhook_secret=WEBHOOK_SECRET),
    account="sandbox",
    approved=APPROVED,
    approved_too=APPROVED_TOO,
    declines=DECLINES,
    confirm=CONFIRM,
    disputed=DISPUTED,
    token="token_of_a_payer",  # noqa: S106 - public: every token but a few is approved
    declined_token="token_declined",  # noqa: S106 - likewise
)

STRIPE: Final = TrialAccount(
    config=ProviderConfig(
        id="sandbox_stripe",
        kind="stripe",
        secret=STRIPE_KEY,
        webhook_secret=STRIPE_WEBHOOK_SECRET,
        return_url=RETURN_URL,
    ),
    account="sandbox_stripe",
    approved=APPROVED,
    approved_too=APPROVED_TOO,
    declines=DECLINES,
    confirm=CONFIRM,
    disputed=DISPUTED,
    token="pm_card_visa",  # noqa: S106 - a public name of Stripe's, not a secret
    declined_token="pm_card_visa_chargeDeclined",  # noqa: S106 - likewise
    unknown_token="pm_nobody_keeps_this",  # noqa: S106 - likewise
)

# Some have one code for cards that were lost and for those that were stolen.
_COARSE_DECLINES: Final = {
    code: card for code, card in DECLINES.items() if code not in ("lost_card", "stolen_card")
}

ADYEN: Final = TrialAccount(
    config=ProviderConfig(
        id="sandbox_adyen",
        kind="adyen",
        secret=ADYEN_KEY,
        webhook_secret=ADYEN_HMAC_KEY,
        account=ADYEN_MERCHANT,
        return_url=RETURN_URL,
    ),
    account="sandbox_adyen",
    path="/v72",
    approved=APPROVED,
    approved_too=APPROVED_TOO,
    declines=_COARSE_DECLINES,
    confirm=CONFIRM,
    disputed=DISPUTED,
    token="STOREDVISA000001",  # noqa: S106 - a public name of the sandbox's, not a secret
    declined_token="STOREDREFUSED001",  # noqa: S106 - likewise
    unknown_token="STOREDBYNOBODY01",  # noqa: S106 - likewise
    timed_webhooks=False,
)

PAYPAL: Final = TrialAccount(
    config=ProviderConfig(
        id="sandbox_paypal",
        kind="paypal",
        secret=PAYPAL_SECRET,
        return_url=RETURN_URL,
        options={"client_id": PAYPAL_CLIENT, "webhook_id": PAYPAL_WEBHOOK},
    ),
    account="sandbox_paypal",
    approved=APPROVED,
    approved_too=APPROVED_TOO,
    declines=_COARSE_DECLINES,
    confirm=CONFIRM,
    disputed=DISPUTED,
    token="vault_ok",  # noqa: S106 - a public name of the sandbox's, not a secret
    declined_token="vault_declined",  # noqa: S106 - likewise
    unknown_token="vault_of_nobody",  # noqa: S106 - likewise
    # An order that lapses, or whose payer goes back, is asked about: nobody is told of it.
    silent=("payment.expired",),
)
