"""The command line: which commands there are, and what the process ends with.

Exit codes: 0 when it was done (a server: after its drain), 2 for a bad command line or bad
configuration, 1 for anything else. Results go to standard output, everything else to standard
error.
"""
# ruff: noqa: PLC0415
# What a command needs is imported when it runs: neither --help nor a typo waits for a server.

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError

from paygate_engine.errors import Overloaded, StoreFailed, StoreRefused
from paygate_http.flags import (
    AuditFlags,
    BackupFlags,
    CheckFlags,
    CopyFlags,
    DoctorFlags,
    FolderFlags,
    ListenFlags,
    MigrateFlags,
    ProveFlags,
    ReplayFlags,
    RoutingReplayFlags,
    SandboxFlags,
    ServeFlags,
    SimulateFlags,
    TriggerFlags,
    WorkerFlags,
    flag,
)
from paygate_http.process import Exit, Refused

app = App(
    name="paygate",
    help="A payment gateway built of actors.",
    version=lambda: version("paygate"),
    help_format="plaintext",
)
keys = App(name="keys", help="Make, list and revoke API keys.")
audit = App(name="audit", help="Prove that the audit chain was not touched.")
webhooks = App(name="webhooks", help="Read webhooks again that were kept.")
config = App(name="config", help="Check the configuration, or show where it comes from.")
provider = App(name="provider", help="List the kinds of providers, and try them.")
routing = App(name="routing", help="Try routing rules on payments that were made.")
app.command(routing)
app.command(keys)
app.command(audit)
app.command(config)
app.command(provider)
app.command(webhooks)

Json = Annotated[bool, flag("--json", "One JSON object a line.")]
Role = Literal["merchant", "operator", "metrics"]


@app.command
def serve(*, flags: ServeFlags | None = None) -> int:
    """Run the gateway until SIGTERM or SIGINT; a second one ends it without a drain."""
    from paygate_http import commands_serve

    return commands_serve.serve(flags or ServeFlags())


@app.command(show=False)
def worker(*, flags: WorkerFlags | None = None) -> int:
    """Be one of the processes of `serve --workers`, until standard input ends."""
    from paygate_http import commands_serve

    return commands_serve.worker(flags or WorkerFlags())


@app.command
def sandbox(*, flags: SandboxFlags | None = None) -> int:
    """Run the sandbox's providers alone, so that their books outlive the gateway."""
    from paygate_http import commands_sandbox

    return commands_sandbox.sandbox(flags or SandboxFlags())


@app.command
def listen(*, flags: ListenFlags | None = None) -> int:
    """Show the sandbox's webhooks as they are sent, and send them on, until Ctrl-C."""
    from paygate_http import commands_listen

    return commands_listen.listen(flags or ListenFlags())


@app.command
def trigger(event: str | None = None, /, *, flags: TriggerFlags | None = None) -> int:
    """Make something happen in a running sandbox, so that its webhook comes: payment.failed..."""
    from paygate_http import commands_trigger

    return commands_trigger.trigger(event, flags or TriggerFlags())


@app.command
def simulate(*, flags: SimulateFlags | None = None) -> int:
    """Live whole worlds of clients, providers and faults in virtual time, by their seeds."""
    from paygate_http import commands_simulate

    return commands_simulate.simulate(flags or SimulateFlags())


@app.command
def prove(payment: str | None = None, /, *, flags: ProveFlags | None = None) -> int:
    """Prove a payment, or all: nothing is missing, and nothing was done twice. Reads only."""
    from paygate_http import commands_prove

    return commands_prove.prove(payment, flags or ProveFlags())


@app.command
def doctor(*, flags: DoctorFlags | None = None) -> int:
    """Look at a data folder, or a running server, and say what needs a person. Reads only."""
    from paygate_http import commands_doctor

    return commands_doctor.doctor(flags or DoctorFlags())


@app.command
def migrate(*, flags: MigrateFlags | None = None) -> int:
    """Bring a database up to this version, as every node does when it starts."""
    from paygate_http import commands_migrate

    return commands_migrate.migrate(flags or MigrateFlags())


@app.command
def backup(folder: Path, /, *, flags: BackupFlags | None = None) -> int:
    """Copy the data folder to a new one, verified, while the server runs or when none does."""
    from paygate_http import commands_backup

    return commands_backup.backup(folder, flags or BackupFlags())


@app.command
def copy(*, flags: CopyFlags) -> int:
    """Move a data folder over to an empty PostgreSQL database, all of it or nothing."""
    from paygate_http import commands_copy

    return commands_copy.copy(flags)


@routing.command(name="replay")
def routing_replay(*, flags: RoutingReplayFlags) -> int:
    """Say what new rules would have done with the payments of a folder. Reads only."""
    from paygate_http import commands_routing

    return commands_routing.replay(flags)


@keys.command(name="create")
def keys_create(
    *,
    role: Annotated[Role, flag("--role", "What the key may do.")],
    merchant: Annotated[str, flag("--merchant", "Whose payments a merchant's key sees.")] = "",
    label: Annotated[str, flag("--label", "What it is for, in your words.")] = "",
    flags: FolderFlags | None = None,
) -> int:
    """Make a key; it is printed once and cannot be shown again."""
    from paygate_http import commands_keys

    new = commands_keys.NewKey(role=role, merchant=merchant, label=label)
    return commands_keys.create(flags or FolderFlags(), new)


@keys.command(name="list")
def keys_list(*, json: Json = False, flags: FolderFlags | None = None) -> int:
    """List all keys, newest first, revoked ones too; never the keys themselves."""
    from paygate_http import commands_keys

    return commands_keys.show(flags or FolderFlags(), as_json=json)


@keys.command(name="revoke")
def keys_revoke(key_id: str, /, *, flags: FolderFlags | None = None) -> int:
    """Revoke a key by its id; within seconds no server takes it any more."""
    from paygate_http import commands_keys

    return commands_keys.revoke(flags or FolderFlags(), key_id)


@audit.command(name="verify")
def audit_verify(*, flags: AuditFlags | None = None) -> int:
    """Walk the chain and name the first bad row; a running server is not disturbed."""
    from paygate_http import commands_audit

    return commands_audit.verify(flags or AuditFlags())


@webhooks.command(name="replay")
def webhooks_replay(*, flags: ReplayFlags | None = None) -> int:
    """Read kept webhooks with the adapters of today; bring what is read otherwise now."""
    from paygate_http import commands_webhooks

    return commands_webhooks.replay(flags or ReplayFlags())


@config.command(name="check")
def config_check(*, flags: ServeFlags | None = None) -> int:
    """Say whether a server would start with this configuration, and what is wrong with it."""
    from paygate_http import commands_config

    return commands_config.check(flags or ServeFlags())


@config.command(name="show")
def config_show(*, flags: ServeFlags | None = None) -> int:
    """Print every key with its value and who set it; secrets are not shown."""
    from paygate_http import commands_config

    return commands_config.show(flags or ServeFlags())


@provider.command(name="list")
def provider_list(*, json: Json = False) -> int:
    """List the kinds that are installed, and the package that each comes from."""
    from paygate_http import commands_provider

    return commands_provider.show_kinds(as_json=json)


@provider.command(name="check")
def provider_check(name: str, /, *, flags: CheckFlags | None = None) -> int:
    """Try a kind case by case at a sandbox, and print what it can do; fails if it breaks one."""
    from paygate_http import commands_provider

    return commands_provider.check(name, flags or CheckFlags())


@provider.command(name="matrix")
def provider_matrix() -> int:
    """Try every kind, and print the page that tells of it, as Markdown."""
    from paygate_http import commands_provider

    return commands_provider.matrix()


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the process's exit code."""
    try:
        done = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(Exit.MISCONFIGURED, str(error), "see paygate --help")
    except Refused as error:
        return _complain(error.exit_code, *error.lines)
    except (Overloaded, StoreFailed, StoreRefused) as error:
        return _complain(Exit.FAILED, str(error))
    except OSError as error:
        return _complain(Exit.FAILED, str(error))
    except KeyboardInterrupt:
        return Exit.FAILED
    return done or 0


def _complain(code: int, *lines: str) -> int:
    for line in lines:
        sys.stderr.write(f"paygate: {line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
