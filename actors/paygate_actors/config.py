"""The whole configuration as one frozen Struct; decoded once, unknown keys refused.

Defaults < a TOML file < environment < flags; `paygate_http.configure` does the reading.
Amounts are minor units of the named currency unless a field says otherwise.
"""
# ruff: noqa: RUF012
# msgspec gives each Struct an empty table of its own; ruff does not see that a Section is one.

from typing import Literal

from paygate_actors.routing_config import Routing
from paygate_actors.section import Section
from paygate_engine.stores.shared import LEASE_S


class Server(Section, frozen=True, kw_only=True):
    """Where the gateway listens, and what it refuses.

    `workers`: processes that share the port; 0: this one alone serves. `worker_port_base`: the
    first of them also listens there by itself, the second one port further, and so on.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: str | None = None
    tls_key: str | None = None
    drain_s: float = 10.0
    requests_per_key_per_s: int = 0  # 0: no limit; the sandbox shares its keys
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    workers: int = 0
    worker_port_base: int | None = None


class Database(Section, frozen=True, kw_only=True):
    """PostgreSQL, which several nodes share; without `url` the data folder holds everything.

    `url`: postgresql://USER:PASSWORD@HOST/NAME, several hosts between commas. `node` is what people
    call this process in lists and logs; empty: its host's name and its process id.
    """

    url: str | None = None
    node: str = ""
    lease_s: float = LEASE_S  # a node that is not heard of for so long may be taken for dead
    connections: int = 4  # to read over; two more write and listen
    statements: int = 0  # that each connection keeps prepared; behind a pooler: 0


class Sandbox(Section, frozen=True, kw_only=True):
    """The built-in payment providers; loopback only."""

    enabled: bool = False
    port: int = 8090
    url: str | None = None  # one that runs already
    seed: int | None = None
    latency_ms: int = 50
    find_lag_ms: int = 2_000
    void_window_s: int = 86_400


class Fraud(Section, frozen=True, kw_only=True):
    """Thresholds in thousandths of the score; None: off."""

    review_score_milli: int | None = None
    block_score_milli: int | None = 700
    review_amount_usd_minor: int | None = None
    high_amount_usd_minor: int = 1_000_000
    review_hours: int = 24
    velocity: bool = True
    velocity_window_s: int = 3_600
    velocity_card_max: int = 10
    velocity_customer_max: int = 20
    velocity_ip_max: int = 50
    # US dollars that one major unit is worth, as text ("1.08"): for thresholds, never for money.
    usd_rates: dict[str, str] = {}
    block_cards: tuple[str, ...] = ()  # fingerprints are made of these at start; sandbox: 4100...
    block_customers: tuple[str, ...] = ()
    block_ips: tuple[str, ...] = ()
    allow_customers: tuple[str, ...] = ()


class Vault(Section, frozen=True, kw_only=True):
    """Keys as `id:base64` of 32 bytes; the first encrypts, the others still decrypt."""

    keys: tuple[str, ...] = ()
    fingerprint_key: str | None = None  # base64 of 32 bytes, for every keyed hash; never changes


class Webhooks(Section, frozen=True, kw_only=True):
    """Webhooks to merchants, and their feed of events."""

    allow_loopback: bool = True  # in the sandbox, where also http will do; never live
    retention_days: int = 30  # of the feed and of what was sent
    rotation_overlap_hours: int = 24  # for how long a secret that was replaced still signs


class AmountBounds(Section, frozen=True, kw_only=True):
    """Bounds for one currency, in minor units."""

    min_minor: int = 1
    max_minor: int = 9_999_999_999


class Limits(Section, frozen=True, kw_only=True):
    """Where the gateway says no, early and politely."""

    live_payments_max: int = 150_000  # in memory, or asleep until their provider says more
    lingering_payments_max: int = 1_000  # in memory though each could be read back: last used ones
    oldest_message_s_max: float = 1.0
    journal_backlog_max: int = 50_000
    provider_concurrency: int = 256
    provider_queue_max: int = 200_000
    idempotency_hours: int = 24
    in_doubt_flag_s: float = 900.0
    parked_alert_s: float = 900.0
    # How often a provider's list of events is read though nothing waits for one; 0: never.
    events_baseline_s: float = 900.0
    backup_alert_hours: int = 26  # a daily backup, and two hours for it to be late; 0: never
    amounts: dict[str, AmountBounds] = {}


class ProviderConfig(Section, frozen=True, kw_only=True):
    """One provider: `kind` chooses the adapter; lower priority goes first.

    `url` may be left out where the provider has one address for everybody. Several webhook
    secrets, while they are rotated, stand between spaces. `account` acts for a connected account;
    `return_url` is where payers come back to where the merchant names no place. `options` are the
    adapter's own, for kinds that need what no other does; they are taken for secrets when shown.
    """

    id: str
    kind: str
    url: str = ""
    secret: str = ""
    webhook_secret: str = ""
    account: str = ""
    return_url: str = ""
    name: str = ""
    priority: int = 100
    weight: int = 1
    concurrency: int | None = None  # limits.provider_concurrency
    active: bool = True
    options: dict[str, str] = {}


class Config(Section, frozen=True, kw_only=True):
    """Everything."""

    data_dir: str = "data"
    server: Server = Server()
    database: Database = Database()
    sandbox: Sandbox = Sandbox()
    fraud: Fraud = Fraud()
    vault: Vault = Vault()
    limits: Limits = Limits()
    routing: Routing = Routing()
    webhooks: Webhooks = Webhooks()
    providers: tuple[ProviderConfig, ...] = ()
    api_key_pepper: str | None = None  # base64 of 32 bytes: digests of API keys are made under it
