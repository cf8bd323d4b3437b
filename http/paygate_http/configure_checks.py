"""What the values of a configuration must be, alone and together.

Every check answers with a sentence that names the key and says what to do. No sentence repeats a
secret. No file is read; that TLS files exist is looked at.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit

from paygate_actors.config import Config, ProviderConfig
from paygate_http.configure_adyen import faults_of_adyen, live_faults_of_adyen
from paygate_http.configure_paypal import faults_of_paypal, live_faults_of_paypal
from paygate_http.configure_routing import faults_of_routing
from paygate_http.database_url import fault_of_url
from paygate_http.sandbox.server import WEBHOOK_SECRET
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET as STRIPE_WEBHOOK_SECRET
from paygate_http.web_url import is_url, is_web_url

_KEY_BYTES = 32  # AES-256 and HMAC-SHA256 both take 32
_PORT_MAX = 65_535
# A worker is a core's worth of work, and takes its share of PostgreSQL's connections, of which
# there are 100 where nobody has said otherwise; who has more cores has more machines.
WORKERS_MAX = 32
_DAY_S = 86_400
_SCORE_MAX = 1_000
_MILLION = 1_000_000
_TEST_KEY = re.compile(r"[a-z]{2}_test_")
_PROVIDER_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CURRENCY = re.compile(r"[A-Z]{3}")
# A name for lists and logs: it fits their columns, and needs no quotes there.
_NODE = re.compile(r"[A-Za-z0-9._:@-]{0,48}")
_WEB_URL = f"an http or https URL, with a port up to {_PORT_MAX}"

# Of kinds that have no module of their own for what they demand.
_OPTIONS: dict[str, tuple[str, ...]] = {"sandbox": ("void_window_s",), "stripe": ()}

# Smallest and largest value of every number, by dotted key. The upper ends are no advice: beyond
# them a value is a slip (a port, milliseconds for seconds) or more than one process can hold.
_RANGES: dict[str, tuple[float, float]] = {
    "server.port": (0, _PORT_MAX),
    "server.drain_s": (0, 600),
    "server.requests_per_key_per_s": (0, _MILLION),
    "server.workers": (0, WORKERS_MAX),
    "server.worker_port_base": (1, _PORT_MAX - WORKERS_MAX),
    # Shorter than this, a node that is merely busy is taken for dead; longer, and whoever waits for
    # what a dead one had open gives up first.
    "database.lease_s": (2, 120),
    "database.connections": (1, 64),
    "database.statements": (0, 10_000),
    "sandbox.port": (0, _PORT_MAX),
    "sandbox.latency_ms": (0, 60_000),
    "sandbox.find_lag_ms": (0, 600_000),
    "sandbox.void_window_s": (0, 365 * _DAY_S),
    "fraud.review_score_milli": (0, _SCORE_MAX),
    "fraud.block_score_milli": (0, _SCORE_MAX),
    "fraud.review_amount_usd_minor": (0, 10**15),
    "fraud.high_amount_usd_minor": (0, 10**15),
    "fraud.review_hours": (1, 24 * 30),
    "fraud.velocity_window_s": (1, _DAY_S),
    "fraud.velocity_card_max": (1, _MILLION),
    "fraud.velocity_customer_max": (1, _MILLION),
    "fraud.velocity_ip_max": (1, _MILLION),
    "limits.live_payments_max": (1, 10 * _MILLION),
    "limits.lingering_payments_max": (0, _MILLION),
    "limits.oldest_message_s_max": (0.001, 60),
    "limits.journal_backlog_max": (1, 10 * _MILLION),
    "limits.provider_concurrency": (1, 10_000),
    "limits.provider_queue_max": (1, 10 * _MILLION),
    "limits.idempotency_hours": (1, 24 * 365),
    "limits.in_doubt_flag_s": (1, 30 * _DAY_S),
    "limits.parked_alert_s": (1, 30 * _DAY_S),
    "limits.events_baseline_s": (0, _DAY_S),
    "limits.backup_alert_hours": (0, 24 * 365),
    "webhooks.retention_days": (4, 3_650),  # a delivery is tried for more than three days
    "webhooks.rotation_overlap_hours": (0, 24 * 30),
}


def faults_of(config: Config, *, serves: bool = True) -> tuple[str, ...]:
    """Every fault, as a sentence; empty: the configuration can be used.

    `serves=False` leaves out what only a live server must be given.
    """
    checks = [_ranges, _tls, _database, _workers, _money, _providers, _key_material]
    checks += [_sandbox] if config.sandbox.enabled else [_live] if serves else []
    found = [fault for check in checks for fault in check(config)]
    found += faults_of_routing(config, with_sandbox=config.sandbox.enabled)
    return tuple(found)


def is_loopback(host: str) -> bool:
    """Whether a host name or address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _ranges(config: Config) -> Iterator[str]:
    for key, (low, high) in _RANGES.items():
        section, name = key.split(".")
        value = getattr(getattr(config, section), name)
        # Written so that NaN, which compares with nothing, is outside.
        if value is not None and not low <= value <= high:
            yield f"{key}: must be from {low:g} to {high:.15g}"


def _tls(config: Config) -> Iterator[str]:
    given = {"server.tls_cert": config.server.tls_cert, "server.tls_key": config.server.tls_key}
    missing = [key for key, file in given.items() if file is None]
    if len(missing) == 1:
        yield f"{missing[0]}: HTTPS needs both a certificate and its key; this one is missing"
    for key, file in given.items():
        if file is not None and not Path(file).is_file():
            yield f"{key}: there is no file {file}"


def _database(config: Config) -> Iterator[str]:
    url, node = config.database.url, config.database.node
    if url is not None and (fault := fault_of_url(url)):
        yield f"database.url: {fault}"
    if not _NODE.fullmatch(node):
        yield "database.node: must be at most 48 letters, digits and . _ : @ -"


def _workers(config: Config) -> Iterator[str]:
    server = config.server
    if server.workers and config.database.url is None:
        yield (
            "server.workers: several processes need a database that they share (--database URL): a"
            " data folder has one writer"
        )
    base = server.worker_port_base
    if base is None:
        return
    if not server.workers:
        yield "server.worker_port_base: does nothing without server.workers"
    elif base <= server.port < base + server.workers:
        yield f"server.worker_port_base: {server.port}, the shared port, would be a worker's own"


def _money(config: Config) -> Iterator[str]:
    for currency, rate in config.fraud.usd_rates.items():
        key = f"fraud.usd_rates.{currency}"
        if not _CURRENCY.fullmatch(currency):
            yield f"{key}: a currency is three capital letters"
        try:
            worth = Decimal(rate)
        except InvalidOperation:
            worth = Decimal(0)
        if not (worth.is_finite() and worth > 0):
            yield f'{key}: must be a positive decimal number as text, as in "1.08"'
    for currency, bounds in config.limits.amounts.items():
        key = f"limits.amounts.{currency}"
        if not _CURRENCY.fullmatch(currency):
            yield f"{key}: a currency is three capital letters"
        if not 1 <= bounds.min_minor <= bounds.max_minor:
            yield f"{key}: min_minor must be at least 1 and at most max_minor"


def _providers(config: Config) -> Iterator[str]:
    seen: set[str] = set()
    for index, provider in enumerate(config.providers):
        key = f"providers[{index}]"
        if not _PROVIDER_ID.fullmatch(provider.id):
            yield f"{key}.id: must be 1 to 64 of a-z, 0-9, _ and -, as it is part of a URL"
        if provider.id in seen:
            yield f"{key}.id: {provider.id!r} is taken by a provider above"
        seen.add(provider.id)
        if unreadable := tuple(_unreadable(provider)):
            # What else is wrong cannot be seen before its parts can be told apart.
            yield from (f"{key}.{name}: must be {_WEB_URL}" for name in unreadable)
            continue
        if provider.kind == "stripe":
            yield from _stripe(key, provider)
        if provider.kind in _OPTIONS:
            yield from _options(key, provider, _OPTIONS[provider.kind])
        here = is_loopback(urlsplit(provider.url).hostname or "")
        if provider.kind == "adyen":
            yield from faults_of_adyen(key, provider, here=here)
        if provider.kind == "paypal":
            yield from faults_of_paypal(key, provider, here=here)
        if not provider.url and provider.kind != "sandbox":
            # Most have one address for everybody; the adapter knows it, or refuses to do without.
            continue
        if not is_web_url(provider.url):
            yield f"{key}.url: must be {_WEB_URL}"


def _unreadable(provider: ProviderConfig) -> Iterator[str]:
    for name in ("url", "return_url"):
        if not is_url(getattr(provider, name)):
            yield name


def _options(key: str, provider: ProviderConfig, known: tuple[str, ...]) -> Iterator[str]:
    # A slip in a name would leave the default in force, and nobody would notice.
    for name in sorted(provider.options.keys() - set(known)):
        there = f"; it has {', '.join(known)}" if known else ""
        yield f"{key}.options.{name}: the kind {provider.kind} has no such option{there}"


def _stripe(key: str, provider: ProviderConfig) -> Iterator[str]:
    if not provider.secret.strip():
        yield f"{key}.secret: Stripe needs the account's secret key, sk_... or rk_..."
    # Without one nobody could tell Stripe's word from anybody's: it is never "do not check".
    if not provider.webhook_secret.split():
        yield f"{key}.webhook_secret: Stripe needs the endpoint's signing secret, whsec_..."
    url = urlsplit(provider.url)
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        yield f"{key}.url: cards go over https alone; http is for a sandbox on this machine"


def _key_material(config: Config) -> Iterator[str]:
    ids: set[str] = set()
    for index, key in enumerate(config.vault.keys):
        id_, colon, text = key.partition(":")
        if not (id_ and colon and _is_key(text)):
            yield f"vault.keys[{index}]: must be ID:BASE64, the base64 of {_KEY_BYTES} bytes"
        if id_ in ids:
            yield f"vault.keys[{index}]: its id is taken by a key before it"
        ids.add(id_)
    single = {
        "vault.fingerprint_key": config.vault.fingerprint_key,
        "api_key_pepper": config.api_key_pepper,
    }
    for name, text in single.items():
        if text is not None and not _is_key(text):
            yield f"{name}: must be the base64 of {_KEY_BYTES} bytes"
    # One key for two purposes lets what is said for one be taken for the other.
    taken = {key.partition(":")[2] for key in config.vault.keys}
    for name, text in single.items():
        if text in taken:
            yield f"{name}: is used for something else as well; make it a key of its own"
        if text is not None:
            taken.add(text)


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _sandbox(config: Config) -> Iterator[str]:
    # Its keys are known to everybody, so nobody from outside this machine may reach it.
    if not is_loopback(config.server.host):
        yield (
            f"server.host: the sandbox serves loopback hosts only, and {config.server.host} is"
            " none; use 127.0.0.1, or configure live providers"
        )
    url = config.sandbox.url
    if url is not None:
        parts = urlsplit(url) if is_web_url(url) else None
        if parts is None or parts.scheme != "http" or not is_loopback(parts.hostname or ""):
            yield "sandbox.url: must be an http URL with a loopback host"


def _live(config: Config) -> Iterator[str]:
    make = "make one with: openssl rand -base64 32"
    if not config.vault.keys:
        yield f"vault.keys: a live server needs a key that encrypts cards, as ID:BASE64; {make}"
    if config.vault.fingerprint_key is None:
        yield f"vault.fingerprint_key: a live server needs one, and it never changes; {make}"
    if config.api_key_pepper is None:
        yield f"api_key_pepper: a live server needs one to store API keys under; {make}"
    for index, provider in enumerate(config.providers):
        if not any(_unreadable(provider)):
            yield from _live_provider(f"providers[{index}]", provider)


def _live_provider(key: str, provider: ProviderConfig) -> Iterator[str]:
    if provider.kind == "sandbox":
        yield f"{key}.kind: a live server refuses the sandbox; start it with --sandbox"
    if provider.kind == "stripe" and _TEST_KEY.match(provider.secret):
        yield f"{key}.secret: a live server refuses a key of Stripe's test mode: it moves no money"
    if provider.kind == "adyen":
        yield from live_faults_of_adyen(key, provider)
    if provider.kind == "paypal":
        yield from live_faults_of_paypal(key, provider)
    given = {provider.secret, *provider.webhook_secret.split()}
    if given & {WEBHOOK_SECRET, STRIPE_WEBHOOK_SECRET}:
        yield f"{key}: a live server refuses the sandbox's webhook secret: everybody knows it"
