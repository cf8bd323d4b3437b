"""The flags that commands share, and which key of the configuration each of them sets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from paygate_http.configure_sources import Setting

LogLevel = Literal["debug", "info", "warning", "error"]

# Flag (as the command line spells it) to the path of the key that it sets.
_KEYS: dict[str, tuple[str, ...]] = {
    "--sandbox": ("sandbox", "enabled"),
    "--host": ("server", "host"),
    "--port": ("server", "port"),
    "--data": ("data_dir",),
    "--database": ("database", "url"),
    "--workers": ("server", "workers"),
    "--worker-port-base": ("server", "worker_port_base"),
    "--tls-cert": ("server", "tls_cert"),
    "--tls-key": ("server", "tls_key"),
    "--log-level": ("server", "log_level"),
    "--sandbox-port": ("sandbox", "port"),
    "--sandbox-url": ("sandbox", "url"),
    "--sandbox-seed": ("sandbox", "seed"),
    "--sandbox-latency-ms": ("sandbox", "latency_ms"),
    "--sandbox-find-lag-ms": ("sandbox", "find_lag_ms"),
    "--sandbox-void-window-s": ("sandbox", "void_window_s"),
}


def flag(name: str, text: str) -> Parameter:
    """Describe one flag; it has one spelling, so no `--no-...` and no `--empty-...`."""
    return Parameter(name=name, help=text, negative=())


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DatabaseFlags:
    """What names a database in the place of a data folder's own; None: not said.

    Dataclasses, because that is what the command line's library reads flags from.
    """

    database: Annotated[
        str | None,
        flag(
            "--database",
            "URL of a PostgreSQL database. Others see a command line: one with a password belongs"
            " in a file that PAYGATE__DATABASE__URL_FILE names.",
        ),
    ] = None

    def settings(self) -> Iterator[Setting]:
        """Yield what was said, as the layer above all others."""
        if self.database is not None:
            yield Setting(path=_KEYS["--database"], value=self.database, origin="--database")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FolderFlags(DatabaseFlags):
    """What names a data folder and how it is read; None: not said."""

    sandbox: Annotated[
        bool | None, flag("--sandbox", "Run with the built-in providers and keys; loopback only.")
    ] = None
    config: Annotated[Path | None, flag("--config", "A TOML file.")] = None
    data: Annotated[
        str | None, flag("--data", "Folder that holds everything the gateway writes [data].")
    ] = None

    def settings(self) -> Iterator[Setting]:
        """Yield what was said, as the layer above all others."""
        for flag, path in _KEYS.items():
            value: Any = getattr(self, flag.removeprefix("--").replace("-", "_"), None)
            if value is not None:
                yield Setting(path=path, value=value, origin=flag)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReplayFlags(FolderFlags):
    """Which webhooks are read again, and by whom: the folder's server, or the one at `url`."""

    url: Annotated[str | None, flag("--url", "Ask the server that runs there.")] = None
    key_file: Annotated[
        Path | None, flag("--key-file", "File with an operator key; a sandbox has its own.")
    ] = None
    provider: Annotated[str | None, flag("--provider", "Of this provider alone, by its id.")] = None
    id: Annotated[str | None, flag("--id", "This event alone, by the provider's id of it.")] = None
    from_: Annotated[
        str | None, flag("--from", "What came from this RFC 3339 time on, included.")
    ] = None
    to: Annotated[str | None, flag("--to", "What came before this RFC 3339 time.")] = None
    dry_run: Annotated[bool, flag("--dry-run", "Say what would change, and change nothing.")] = (
        False
    )
    json: Annotated[bool, flag("--json", "One JSON object a line.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServeFlags(FolderFlags):
    """Everything that can be said on the command line of a server."""

    host: Annotated[str | None, flag("--host", "Address to listen on [127.0.0.1].")] = None
    port: Annotated[
        int | None, flag("--port", "Port to listen on; 0 takes any free one [8080].")
    ] = None
    workers: Annotated[
        int | None, flag("--workers", "Processes that share the port; they need --database.")
    ] = None
    worker_port_base: Annotated[
        int | None,
        flag("--worker-port-base", "Each worker also has a port of its own, from this one on."),
    ] = None
    tls_cert: Annotated[
        str | None, flag("--tls-cert", "Certificate chain (PEM); with --tls-key: HTTPS.")
    ] = None
    tls_key: Annotated[str | None, flag("--tls-key", "The certificate's key (PEM).")] = None
    log_level: Annotated[
        LogLevel | None, flag("--log-level", "How much goes to standard error [info].")
    ] = None
    sandbox_port: Annotated[
        int | None, flag("--sandbox-port", "Port of the sandbox's server; 0: any [8090].")
    ] = None
    sandbox_url: Annotated[
        str | None, flag("--sandbox-url", "Use the sandbox that runs at this URL already.")
    ] = None
    sandbox_seed: Annotated[
        int | None, flag("--sandbox-seed", "Fixes every random choice of the sandbox.")
    ] = None
    sandbox_latency_ms: Annotated[
        int | None, flag("--sandbox-latency-ms", "How long the sandbox takes for a call [50].")
    ] = None
    sandbox_find_lag_ms: Annotated[
        int | None,
        flag("--sandbox-find-lag-ms", "How long its look-ups miss what just happened [2000]."),
    ] = None
    sandbox_void_window_s: Annotated[
        int | None,
        flag("--sandbox-void-window-s", "How long after capture it can still void [86400]."),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class WorkerFlags(ServeFlags):
    """What a parent says to one of its workers."""

    own_port: Annotated[
        int | None, flag("--own-port", "Port at which this process alone answers.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SandboxFlags:
    """Everything that can be said on the command line of the sandbox alone."""

    host: Annotated[str, flag("--host", "Address to listen on; loopback only.")] = "127.0.0.1"
    port: Annotated[int, flag("--port", "Port to listen on; 0 takes any free one.")] = 8090
    data: Annotated[
        Path | None, flag("--data", "Folder of its books; without one they end with the process.")
    ] = None
    seed: Annotated[int | None, flag("--seed", "Fixes every random choice.")] = None
    gateway: Annotated[
        str | None, flag("--gateway", "URL that takes its webhooks until a gateway registers.")
    ] = None
    latency_ms: Annotated[int, flag("--latency-ms", "How long it takes for a call.")] = 50
    find_lag_ms: Annotated[
        int, flag("--find-lag-ms", "How long its look-ups miss what just happened.")
    ] = 2_000
    void_window_s: Annotated[
        int, flag("--void-window-s", "How long after capture it can still void.")
    ] = 86_400
    until_eof: Annotated[
        bool, flag("--until-eof", "End also when standard input does: whoever holds it is gone.")
    ] = False
    faults: Annotated[
        Path | None, flag("--faults", "TOML or JSON file of what goes wrong (docs/sandbox.md).")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SimulateFlags:
    """What is simulated. Exactly one of `seed` and `seeds` is given."""

    seed: Annotated[int | None, flag("--seed", "Live the world of this seed.")] = None
    seeds: Annotated[str | None, flag("--seeds", "Live the worlds A..B, both included.")] = None
    faults: Annotated[
        str | None,
        flag("--faults", "Only these, by comma (or `none`, or `all`); default: a random half."),
    ] = None
    hours: Annotated[float, flag("--hours", "Virtual hours to come to rest in.")] = 72.0
    nodes: Annotated[
        int | None,
        flag(
            "--nodes", "Nodes over one database, 2 or 3, or 1 over its disk; default: the seed's."
        ),
    ] = None
    adapters: Annotated[
        str | None,
        flag("--adapters", "Real adapters that take part, by comma (stripe, paypal, adyen)."),
    ] = None
    trace: Annotated[
        str | None,
        flag("--trace", "Print the story of one payment of --seed, by its id or `first`."),
    ] = None
    jobs: Annotated[int, flag("--jobs", "Processes to live them in.")] = 1
    hashes: Annotated[
        bool, flag("--hashes", "Print the hash of each of --seeds, a line each, and no table.")
    ] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ProveFlags(DatabaseFlags):
    """What is proved, and out of what."""

    all: Annotated[bool, flag("--all", "Every payment of the folder or database.")] = False
    books: Annotated[
        Path | None,
        flag("--books", "A provider's books, as GET /ledger of the sandbox gives them."),
    ] = None
    data: Annotated[Path, flag("--data", "Folder of the gateway.")] = Path("data")
    config: Annotated[
        Path | None, flag("--config", "TOML file with the vault's keys, for published ends.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MigrateFlags(DatabaseFlags):
    """Which database is brought up."""

    config: Annotated[Path | None, flag("--config", "A TOML file.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CopyFlags:
    """From which folder to which database."""

    from_: Annotated[Path, flag("--from", "Data folder of a gateway that does not run.")]
    to: Annotated[
        str | None,
        flag(
            "--to",
            "URL of an empty PostgreSQL database. Others see a command line: one with a password"
            " belongs in a file that PAYGATE__DATABASE__URL_FILE names.",
        ),
    ] = None
    config: Annotated[
        Path | None, flag("--config", "TOML file with the vault's keys; a sandbox has its own.")
    ] = None
    no_prove: Annotated[
        bool,
        flag(
            "--no-prove", "Leave out the proofs of what leaves and what arrives: each reads it all."
        ),
    ] = False

    def settings(self) -> Iterator[Setting]:
        """Yield what was said, as the layer above all others."""
        if self.to is not None:
            yield Setting(path=_KEYS["--database"], value=self.to, origin="--to")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AuditFlags(DatabaseFlags):
    """Whose chain is walked, and what it is held against."""

    data: Annotated[Path, flag("--data", "Folder of the gateway.")] = Path("data")
    config: Annotated[
        Path | None, flag("--config", "TOML file with the vault's keys, for published ends.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RoutingReplayFlags(DatabaseFlags):
    """Which rules are tried, over which payments."""

    rules: Annotated[
        Path, flag("--rules", "A configuration file (TOML) with the rules and the providers.")
    ]
    from_: Annotated[
        str | None, flag("--from", "From this day or time on (RFC 3339, UTC); default: all.")
    ] = None
    to: Annotated[str | None, flag("--to", "Before this day or time.")] = None
    data: Annotated[Path, flag("--data", "Folder of the gateway.")] = Path("data")
    sandbox: Annotated[
        bool | None, flag("--sandbox", "The folder is a sandbox's: its providers are there too.")
    ] = None
    json: Annotated[bool, flag("--json", "One JSON object.")] = False

    def settings(self) -> Iterator[Setting]:
        """Yield what was said about the configuration."""
        yield from super().settings()
        if self.sandbox is not None:
            yield Setting(path=_KEYS["--sandbox"], value=self.sandbox, origin="--sandbox")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DoctorFlags(DatabaseFlags):
    """What is looked at. A key is read from a file: others can read a command line."""

    data: Annotated[Path, flag("--data", "Folder of the gateway.")] = Path("data")
    config: Annotated[
        Path | None, flag("--config", "TOML file with the vault's keys, for published ends.")
    ] = None
    url: Annotated[str | None, flag("--url", "Also ask the server that runs there.")] = None
    key_file: Annotated[
        Path | None,
        flag("--key-file", "File with a metrics or operator key; a sandbox has its own."),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BackupFlags:
    """What is copied."""

    data: Annotated[Path, flag("--data", "Folder of the gateway.")] = Path("data")
    config: Annotated[
        Path | None, flag("--config", "TOML file with the vault's keys, for published ends.")
    ] = None
    damaged: Annotated[
        bool, flag("--damaged", "Keep a copy that does not verify; what is wrong is noted in it.")
    ] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CheckFlags:
    """How an adapter is tried."""

    base_url: Annotated[
        str | None, flag("--base-url", "The provider's end; default: a sandbox of its own.")
    ] = None
    config: Annotated[
        Path | None, flag("--config", "TOML file with the provider's table: its keys, its options.")
    ] = None
    cases: Annotated[
        str | None, flag("--cases", "Only these, by comma: names, or how they begin (`webhooks`).")
    ] = None
    seed: Annotated[int | None, flag("--seed", "Fixes every random choice but the time.")] = None
    json: Annotated[bool, flag("--json", "One JSON object instead of lines and a table.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ListenFlags:
    """Which webhooks are shown, and where they are sent on to."""

    url: Annotated[str, flag("--url", "The sandbox that is listened to.")] = "http://127.0.0.1:8090"
    forward_to: Annotated[
        str | None, flag("--forward-to", "URL that each webhook is posted to, as it was signed.")
    ] = None
    events: Annotated[
        str | None, flag("--events", "Only these, by comma: payment.succeeded,refund.failed...")
    ] = None
    provider: Annotated[
        str | None, flag("--provider", "Only this account of the sandbox: sandbox_stripe...")
    ] = None
    json: Annotated[bool, flag("--json", "One JSON object a line, whole.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TriggerFlags:
    """What is made to happen, and where."""

    list: Annotated[bool, flag("--list", "List what can be triggered.")] = False
    url: Annotated[str, flag("--url", "The sandbox where it happens.")] = "http://127.0.0.1:8090"
    provider: Annotated[
        str, flag("--provider", "The account of the sandbox it happens at: sandbox_stripe...")
    ] = "sandbox"
    gateway: Annotated[
        str | None, flag("--gateway", "URL of a gateway with a sandbox: it is asked to do it.")
    ] = None
    amount: Annotated[str, flag("--amount", "How much is paid, in major units.")] = "10.00"
    currency: Annotated[str, flag("--currency", "In which currency.")] = "USD"
