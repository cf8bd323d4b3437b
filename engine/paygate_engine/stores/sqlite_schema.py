"""Connections to a paygate database: how they are set up, and which schema they must find."""

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from paygate_engine.errors import StoreRefused
from paygate_engine.stores.base import Kind
from paygate_engine.stores.migrations import Applied, Migration, pending, read_migrations

# "payg": says that a database file is ours, and no other program's.
APPLICATION_ID = 0x70617967
_MAGIC = b"SQLite format 3\0"
# STRICT tables came with 3.37.
VERSION_MIN = (3, 37, 0)
# Only an outsider's shell can hold our locks; what it does takes no longer than this.
_BUSY_TIMEOUT_MS = 5_000
# 16 MiB of pages: a hot page is copied into the database once for many commits, and the log of a
# crashed server is read in well under a second.
_CHECKPOINT_PAGES = 4_000
# After a burst the log gives its disk space back down to this.
_LOG_BYTES_MAX = 64 * 1024 * 1024
# The working set of the writer: the ends of all indexes and the payments of the last minutes. Twice
# as much saved nothing that could be told from noise; what is missed lies in the kernel's cache.
_WRITER_CACHE_KIB = 32_768
_READER_CACHE_KIB = 16_384
# Every commit empties a reader's cache; what reads single rows needs the tops of two trees.
_LOOP_CACHE_KIB = 2_048

# Every statement of a store in all its sizes, with room to spare: each is compiled once.
_STATEMENTS_MAX = 256

# Each setting is read back after it was made: SQLite ignores what it does not know.
_SHARED: tuple[tuple[str, int | str], ...] = (
    ("busy_timeout", _BUSY_TIMEOUT_MS),
    ("trusted_schema", 0),
    ("temp_store", 2),  # in memory: nothing of ours goes to a disk that nobody protects
)
_WRITER: tuple[tuple[str, int | str], ...] = (
    ("journal_mode", "wal"),
    ("synchronous", 2),  # FULL: with NORMAL a power loss takes acknowledged commits with it
    ("fullfsync", 1),  # for macOS, where fsync alone does not reach the disk
    ("foreign_keys", 1),
    ("wal_autocheckpoint", _CHECKPOINT_PAGES),
    ("journal_size_limit", _LOG_BYTES_MAX),
    ("cache_size", -_WRITER_CACHE_KIB),
)
_READER: tuple[tuple[str, int | str], ...] = (
    # Writer and reader must never checkpoint at the same time: see `wal_reset_bug`.
    ("wal_autocheckpoint", 0),
    ("query_only", 1),
    ("cache_size", -_READER_CACHE_KIB),
)
# On the loop's thread nothing is waited for.
_LOOP: tuple[tuple[str, int | str], ...] = (
    *_READER,
    ("busy_timeout", 0),
    ("cache_size", -_LOOP_CACHE_KIB),
)

MIGRATIONS = Path(__file__).parent / "schema" / "sqlite"


def wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether this SQLite can corrupt a database that two connections checkpoint at once.

    3.7.0 to 3.51.2, but for the backports 3.44.6 and 3.50.7. It does not concern a store whose
    one writer makes every checkpoint, as ours does; it concerns whoever opens the file beside it.
    """
    if (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51):
        return False
    return (3, 7, 0) <= version <= (3, 51, 2)


def check_magic(path: Path) -> None:
    """Raise `StoreRefused` for a file that is neither empty nor a database, or `OSError`.

    To be asked before this process has a connection to the file: whoever closes any descriptor
    of a file gives up all POSIX locks that the process has on it, SQLite's too. The next program
    that looks into the database would then take itself for the last one, and remove the log.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) not in (b"", _MAGIC):
            # SQLite itself would take a file of a few bytes for an empty database, and fill it.
            raise StoreRefused(
                f"{path} cannot be opened (no database): name the right folder, or restore a backup"
            )


def connect(path: Path, *, writes: bool, waits: bool = True) -> sqlite3.Connection:
    """Open the file, which must exist (see `check_magic`), and set the connection up.

    `waits`: for a lock, where somebody else holds it; else the connection is for reads alone.
    Raises `sqlite3.Error` and `StoreRefused`.
    """
    mode = "rw" if writes else "ro"
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,  # transactions begin and end where our text says so
        cached_statements=_STATEMENTS_MAX,
    )
    try:
        # Before the first setting: to choose the kind of its log is to write into the file.
        with _refusals_named(connection):
            _is_ours(connection)
        for name, value in _SHARED + (_WRITER if writes else _READER if waits else _LOOP):
            _set(connection, name, value)
    except BaseException:
        connection.close()
        raise
    return connection


def _set(connection: sqlite3.Connection, name: str, value: int | str) -> None:
    connection.execute(f"PRAGMA {name} = {value}").fetchall()
    found = connection.execute(f"PRAGMA {name}").fetchone()
    if found is None or found[0] != value:
        raise StoreRefused(f"SQLite does not take {name} = {value}: it says {found}")


def upgrade(connection: sqlite3.Connection, kinds: Sequence[Kind]) -> None:
    """Bring a new or an older database to our schema, in one transaction; or `StoreRefused`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        with _refusals_named(connection):
            _bring_up(connection, kinds)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def check(connection: sqlite3.Connection, kinds: Sequence[Kind]) -> None:
    """Raise `StoreRefused` unless the database has our schema already. Writes nothing."""
    with _refusals_named(connection):
        if not _is_ours(connection):
            raise StoreRefused("the database is empty: start the server once, it fills it")
        if pending(read_migrations(MIGRATIONS), _applied(connection)):
            raise StoreRefused("the database is of an older version: start the server once")
        _new_kinds(connection, kinds)


@contextmanager
def _refusals_named(connection: sqlite3.Connection) -> Generator[None]:
    """Let each refusal begin with the path of the database that it is about."""
    try:
        yield
    except StoreRefused as error:
        _, _, path = connection.execute("PRAGMA database_list").fetchone()
        raise StoreRefused(f"{path}: {error}") from error


def _bring_up(connection: sqlite3.Connection, kinds: Sequence[Kind]) -> None:
    if not _is_ours(connection):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(
            "CREATE TABLE migrations "
            "(number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT"
        )
    for migration in pending(read_migrations(MIGRATIONS), _applied(connection)):
        _apply(connection, migration)
    for kind in _new_kinds(connection, kinds):
        row = (kind.name, ",".join(kind.facets))
        connection.execute("INSERT INTO kinds (name, facets) VALUES (?, ?)", row)


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Whether it is a paygate database; False for an empty one, `StoreRefused` for any other."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id == APPLICATION_ID:
        return True
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id or objects:
        raise StoreRefused("the database is another program's: use another folder")
    return False


def _applied(connection: sqlite3.Connection) -> list[Applied]:
    rows = connection.execute("SELECT number, name, checksum FROM migrations ORDER BY number")
    return [Applied(number=number, name=name, checksum=checksum) for number, name, checksum in rows]


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    # Statement by statement: `executescript` would commit the transaction first.
    for statement in _statements(migration.text):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO migrations (number, name, checksum) VALUES (?, ?, ?)",
        (migration.number, migration.name, migration.checksum),
    )


def _statements(text: str) -> Iterator[str]:
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError("a migration ends in the middle of a statement")


def _new_kinds(connection: sqlite3.Connection, kinds: Sequence[Kind]) -> list[Kind]:
    """Kinds that the database does not know; `StoreRefused` where one has other facets there.

    The columns of older documents were filled by the older order: they would be misread.
    """
    rows: list[tuple[str, str]] = connection.execute("SELECT name, facets FROM kinds").fetchall()
    stored = dict(rows)
    for kind in kinds:
        facets = ",".join(kind.facets)
        if stored.get(kind.name, facets) != facets:
            raise StoreRefused(
                f"documents of kind {kind.name} were written with facets {stored[kind.name]}, "
                f"this version has {facets}: start the version that wrote them"
            )
    return [kind for kind in kinds if kind.name not in stored]
