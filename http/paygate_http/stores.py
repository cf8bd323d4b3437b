"""The store that a configuration names: a PostgreSQL database, or the data folder's own file."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from paygate_actors.config import Config, Database
from paygate_actors.projection import KINDS, WATCHED
from paygate_engine.errors import StoreFailed
from paygate_engine.stores.base import Store
from paygate_engine.stores.migrations import Migration
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.postgres_schema import migrate
from paygate_engine.stores.shared import SharedStore
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http.configure import ConfigInvalid
from paygate_http.process import Exit, Refused

_DRIVER: Final = "asyncpg"


class DriverMissing(Refused):
    """A database is configured, and the program cannot speak with one."""

    exit_code = Exit.MISCONFIGURED


def database_of(
    config: Config,
    *,
    on_failed: Callable[[StoreFailed], None] | None = None,
    read_only: bool = False,
) -> SharedStore | None:
    """The database that is configured, not opened yet; None: the data folder has its own.

    `on_failed` hears once that it can be used no more. Raises `DriverMissing`.
    """
    database = config.database
    if database.url is None:
        return None
    return _postgres(database, database.url, on_failed=on_failed, read_only=read_only)


@asynccontextmanager
async def opened_to_read(config: Config, folder: Path) -> AsyncGenerator[Store]:
    """The configured database, or the folder's store: read only, and closed in the end.

    Nothing is made, upgraded or locked. Raises `StoreRefused` where there is nothing to read, and
    `DriverMissing`.
    """
    store = database_of(config, read_only=True) or SqliteStore(folder, KINDS, read_only=True)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def migrate_database(config: Config) -> list[Migration]:
    """Bring the configured database up to this version; the migrations that were run, in order.

    Raises `StoreRefused`, `DriverMissing`, and `ConfigInvalid` where none is configured.
    """
    url = config.database.url
    if url is None:
        raise ConfigInvalid(
            "database.url: name the database with --database URL; a data folder's own file is"
            " brought up when a server starts"
        )
    check_driver()
    return await migrate(url, KINDS)


def _postgres(
    database: Database,
    url: str,
    *,
    on_failed: Callable[[StoreFailed], None] | None,
    read_only: bool,
) -> SharedStore:
    check_driver()
    return PostgresStore(
        url,
        KINDS,
        watched=WATCHED,
        read_only=read_only,
        on_failed=on_failed,
        lease_s=database.lease_s,
        readers=database.connections,
        statements=database.statements,
    )


def check_driver() -> None:
    """Raise `DriverMissing` where no database can be spoken with."""
    # An extra: who runs one node on SQLite needs none.
    if find_spec(_DRIVER) is None:
        raise DriverMissing(
            f"database.url: {_DRIVER}, which speaks with PostgreSQL, is not installed:"
            " pip install 'paygate[postgres]'"
        )
