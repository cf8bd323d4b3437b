"""What the configuration of a PayPal account must be; sentences as in `configure_checks`."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from paygate_actors.config import ProviderConfig
from paygate_http.sandbox.paypal_tokens import CLIENT_SECRET
from paygate_http.sandbox.paypal_tongue import WEBHOOK_ID

_OPTIONS = frozenset({"client_id", "webhook_id"})
_WEBHOOK_ID = re.compile(r"[A-Za-z0-9]{1,50}")
_TEST_HOST = ".sandbox.paypal.com"


def faults_of_paypal(key: str, provider: ProviderConfig, *, here: bool) -> Iterator[str]:
    """What is wrong with it. `here`: its url leads to this machine."""
    if not provider.options.get("client_id", "").strip():
        yield f"{key}.options.client_id: PayPal needs the client id of the account's REST app"
    if not provider.secret.strip():
        yield f"{key}.secret: PayPal needs the secret of the account's REST app"
    # Without it any webhook that PayPal signed for anybody would be taken for ours.
    if not _WEBHOOK_ID.fullmatch(provider.options.get("webhook_id", "")):
        yield f"{key}.options.webhook_id: PayPal needs the id of the webhook, as it shows it"
    for name in sorted(provider.options.keys() - _OPTIONS):
        yield f"{key}.options.{name}: PayPal has no such option; it has client_id and webhook_id"
    if provider.webhook_secret:
        yield f"{key}.webhook_secret: PayPal signs with certificates and has no webhook secret"
    if urlsplit(provider.url).scheme == "http" and not here:
        yield f"{key}.url: cards go over https alone; http is for a sandbox on this machine"


def live_faults_of_paypal(key: str, provider: ProviderConfig) -> Iterator[str]:
    """What of it a live server refuses."""
    if (urlsplit(provider.url).hostname or "").endswith(_TEST_HOST):
        yield f"{key}.url: a live server refuses PayPal's own sandbox: it moves no money"
    if provider.secret == CLIENT_SECRET or provider.options.get("webhook_id") == WEBHOOK_ID:
        yield f"{key}: a live server refuses the sandbox's secrets: everybody knows them"
