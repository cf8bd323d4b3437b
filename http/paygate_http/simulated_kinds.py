"""The real adapters that may take part in simulated worlds, and their accounts at the sandbox."""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.adyen import AdyenProvider
from paygate_actors.providers.base import Provider
from paygate_actors.providers.http_client import HttpClient
from paygate_actors.providers.paypal import PayPalProvider
from paygate_actors.providers.paypal_certificates import LOCAL_NAMES, Certificates
from paygate_actors.providers.stripe import StripeProvider
from paygate_actors.providers.trial import TrialAccount
from paygate_engine.clock import Clock
from paygate_http.kit.accounts import ADYEN, PAYPAL, STRIPE
from paygate_http.sandbox.inside import SANDBOX_URL

# Builds the real adapter over the world's network, on the gateway's clock.
Build = Callable[[ProviderConfig, HttpClient, Clock], Provider]


def _stripe(config: ProviderConfig, client: HttpClient, clock: Clock) -> Provider:
    del clock  # Stripe's adapter is told what time it is
    return StripeProvider(
        id=config.id,
        name=config.id,
        secret_key=config.secret,
        webhook_secrets=[config.webhook_secret],
        url=config.url,
        client=client,
    )


def _adyen(config: ProviderConfig, client: HttpClient, clock: Clock) -> Provider:
    return AdyenProvider(
        id=config.id,
        name=config.id,
        url=config.url,
        api_key=config.secret,
        merchant_account=config.account,
        hmac_keys=[config.webhook_secret],
        return_url=config.return_url,
        client=client,
        clock=clock,
    )


def _paypal(config: ProviderConfig, client: HttpClient, clock: Clock) -> Provider:
    return PayPalProvider(
        id=config.id,
        name=config.id,
        url=config.url,
        client_id=config.options["client_id"],
        secret=config.secret,
        webhook_id=config.options["webhook_id"],
        return_url=config.return_url,
        certificates=Certificates([config.url], names=LOCAL_NAMES, roots=None, client=client),
        client=client,
        clock=clock,
    )


KINDS: Final[Mapping[str, tuple[TrialAccount, Build]]] = {
    "stripe": (STRIPE, _stripe),
    "paypal": (PAYPAL, _paypal),
    "adyen": (ADYEN, _adyen),
}


def config_of(trial: TrialAccount) -> ProviderConfig:
    """How the gateway of a world is told of the account."""
    # They go before the world's own accounts, in no order among themselves.
    return replace(trial.config, url=SANDBOX_URL + trial.path, priority=0)
