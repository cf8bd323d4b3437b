"""The factories of our own adapters, as the entry points `paygate.providers` name them.

Each takes the provider's table of the configuration; `registry` says what a factory owes.
"""

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.adyen import API_URL as ADYEN_URL
from paygate_actors.providers.adyen import AdyenProvider
from paygate_actors.providers.base import Provider
from paygate_actors.providers.paypal import API_URL as PAYPAL_URL
from paygate_actors.providers.paypal import PayPalProvider
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_actors.providers.stripe import API_URL, StripeProvider

# As the sandbox has it where nobody says otherwise.
_VOID_WINDOW_S = "86400"


def sandbox(config: ProviderConfig) -> Provider:
    """An account of the sandbox in its own protocol. Raises `ValueError`."""
    return SandboxProvider(
        id=config.id,
        name=config.name or config.id,
        url=config.url,
        webhook_secret=config.webhook_secret,
        void_window_s=float(config.options.get("void_window_s", _VOID_WINDOW_S)),
    )


def stripe(config: ProviderConfig) -> Provider:
    """An account at Stripe. Raises `ValueError`."""
    return StripeProvider(
        id=config.id,
        name=config.name or config.id,
        url=config.url or API_URL,
        secret_key=config.secret,
        webhook_secrets=config.webhook_secret.split(),
        account=config.account or None,
        return_url=config.return_url or None,
    )


def adyen(config: ProviderConfig) -> Provider:
    """A merchant account at Adyen; its `account`. Raises `ValueError`.

    `options.webhook_login`: `USER:PASSWORD` of the webhook, where it has one.
    """
    return AdyenProvider(
        id=config.id,
        name=config.name or config.id,
        url=config.url or ADYEN_URL,
        api_key=config.secret,
        merchant_account=config.account,
        hmac_keys=config.webhook_secret.split(),
        return_url=config.return_url,
        webhook_login=config.options.get("webhook_login"),
    )


def paypal(config: ProviderConfig) -> Provider:
    """An account at PayPal. Raises `ValueError`."""
    return PayPalProvider(
        id=config.id,
        name=config.name or config.id,
        url=config.url or PAYPAL_URL,
        client_id=config.options.get("client_id", ""),
        secret=config.secret,
        webhook_id=config.options.get("webhook_id", ""),
        return_url=config.return_url or None,
    )
