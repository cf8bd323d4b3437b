"""A server on a folder that was restored from a backup: what it must not do, and what it says."""

from pathlib import Path

import structlog

from paygate_actors.backup import restored_from
from paygate_engine.errors import StoreRefused
from paygate_http.control import is_served

_log = structlog.get_logger("paygate.serve")


def check_restored(folder: Path) -> None:
    """Warn that a copy does not know what was done since. For any other folder, nothing.

    Raises `StoreRefused` while a server on this machine serves the folder that the copy was made
    of: both would ask and call the providers for the same payments, each without the other's
    books. One on another machine cannot be seen from here.
    """
    made = restored_from(folder)
    if made is None:
        return
    source = Path(made.source)
    if source != folder.resolve() and is_served(made.source):
        raise StoreRefused(
            f"{folder} is a backup of {source}, which is being served: two gateways must never go"
            " on with the same payments; stop the other one first"
        )
    _log.warning(
        "restored_from_backup",
        source=made.source,
        taken_at_us=made.at_us,
        audit_rows=made.audit_rows,
        do="payments made since are not in it: run `paygate prove --all --books FILE`",
    )
