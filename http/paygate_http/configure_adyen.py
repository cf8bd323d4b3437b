"""What the configuration of an Adyen account must be; sentences as in `configure_checks`."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from paygate_actors.config import ProviderConfig
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_tongue import HMAC_KEY

_OPTION = "webhook_login"
_HMAC_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_VERSION = re.compile(r"/v\d{2,3}/?$")
_LIVE_HOST = "-live.adyenpayments.com"


def faults_of_adyen(key: str, provider: ProviderConfig, *, here: bool) -> Iterator[str]:
    """What is wrong with it. `here`: its url leads to this machine."""
    if not provider.secret.strip():
        yield f"{key}.secret: Adyen needs the API key of a web service user"
    if not provider.account:
        yield f"{key}.account: Adyen needs the name of the merchant account"
    # Without one nobody could tell Adyen's word from anybody's: it is never "do not check".
    hmac_keys = provider.webhook_secret.split()
    if not hmac_keys or not all(map(_HMAC_KEY.fullmatch, hmac_keys)):
        yield f"{key}.webhook_secret: Adyen needs the webhook's HMAC key, 64 digits in hex"
    login = provider.options.get(_OPTION)
    if login is not None and not all(login.partition(":")):
        yield f"{key}.options.{_OPTION}: must be USER:PASSWORD"
    for name in sorted(provider.options.keys() - {_OPTION}):
        yield f"{key}.options.{name}: Adyen has no such option; it has {_OPTION}"
    back = urlsplit(provider.return_url)
    door = f"/api/providers/{provider.id}/return"
    if back.scheme not in {"http", "https"} or not back.path.endswith(door):
        yield (
            f"{key}.return_url: must be this gateway's public address of {door}: payers come back"
            " there, and Adyen is told what they bring"
        )
    url = urlsplit(provider.url)
    if url.scheme == "http" and not here:
        yield f"{key}.url: cards go over https alone; http is for a sandbox on this machine"
    if provider.url and _VERSION.search(url.path) is None:
        yield f"{key}.url: must end with the version of Adyen's API, /v72"


def live_faults_of_adyen(key: str, provider: ProviderConfig) -> Iterator[str]:
    """What of it a live server refuses."""
    if not (urlsplit(provider.url).hostname or "").endswith(_LIVE_HOST):
        yield f"{key}.url: a live server refuses Adyen's test platform: it moves no money"
    if provider.secret == API_KEY or HMAC_KEY in provider.webhook_secret.split():
        yield f"{key}: a live server refuses the sandbox's secrets: everybody knows them"
