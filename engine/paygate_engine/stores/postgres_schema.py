"""The schema `paygate` in a PostgreSQL database: what it must find, and how it is brought up.

Migrations run one node at a time, behind a lock that is held for their transaction and no longer.
One that only adds (`-- expand`) does not keep programs out that do not know it, so that nodes of
two versions run side by side. One that takes something away does, and is refused while a node
lives: whoever lives then does not know it.
"""

from collections.abc import Sequence
from pathlib import Path

from paygate_engine.errors import StoreRefused
from paygate_engine.stores.base import Kind
from paygate_engine.stores.migrations import Applied, Migration, pending, read_migrations
from paygate_engine.stores.postgres_durability import why_not
from paygate_engine.stores.postgres_link import Answered, Link, Links, Lost, Unreachable

MIGRATIONS = Path(__file__).parent / "schema" / "postgres"
# 15 is the oldest that is tested, and that its makers look after until the end of 2027.
VERSION_MIN = 150_000
# A migration that waits for a lock, or builds an index, may take its time; not for ever.
MIGRATION_S = 600.0
CHECK_S = 10.0

_SETTINGS = """
SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
    current_setting('synchronous_commit'), current_setting('fsync'),
    current_setting('full_page_writes'), current_setting('client_min_messages'),
    current_setting('default_transaction_isolation'),
    (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database())
"""
_OURS = "SELECT to_regclass('paygate.migrations') IS NOT NULL"
# Tables of nobody's extension, in no schema of the server's own.
_OTHERS = """
SELECT n.nspname || '.' || c.relname FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg\\_%'
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 LIMIT 1
"""
_FIRST = """
CREATE SCHEMA IF NOT EXISTS paygate;
CREATE TABLE paygate.migrations (
    number bigint NOT NULL PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    expands boolean NOT NULL
);
"""
# Who may be working; ten are enough to see whom to stop.
_LIVE = """
SELECT seat, name FROM paygate.nodes
WHERE over IS NULL AND lease_until_us >= paygate.now_us_1() ORDER BY seat LIMIT 10
"""
# What is frozen just now must not go on with a schema that it does not know.
_BURY_ALL = "UPDATE paygate.nodes SET over = 'buried' WHERE over IS NULL"
# The server's code for a lock that was not to be had in time.
_LOCK_HELD = "55P03"
# "paygate" as a number, and which of its locks: 0 for migrations.
_LOCK = "SELECT pg_advisory_xact_lock(7306914, 0)"


async def check_server(link: Link, *, durable: bool) -> None:
    """Raise `StoreRefused` for a server that cannot keep what a store promises."""
    ((version, recovers, *settings, isolation, encoding),) = await link.fetch(
        _SETTINGS, deadline_s=CHECK_S
    )
    if version < VERSION_MIN:
        raise StoreRefused(f"PostgreSQL {version // 10_000} is too old: 15 or newer")
    if recovers:
        raise StoreRefused("the server is a standby: name the primary, or all hosts")
    if encoding != "UTF8":
        raise StoreRefused(f"the database is encoded as {encoding}: make it with ENCODING 'UTF8'")
    if isolation != "read committed":
        raise StoreRefused(
            f"default_transaction_isolation is {isolation}: a group that waited for another must"
            " see what that one wrote; make it 'read committed' for this role and database"
        )
    reason = why_not(*settings) if durable else None
    if reason is not None:
        raise StoreRefused(reason)


async def upgrade(link: Link, kinds: Sequence[Kind]) -> list[Migration]:
    """Bring a new or an older database to our schema, in one transaction; what was run for it.

    Raises `StoreRefused`.
    """
    if await _is_up(link, kinds):
        return []
    async with link.transaction():
        return await bring_up(link, kinds)


async def bring_up(link: Link, kinds: Sequence[Kind]) -> list[Migration]:
    """As `upgrade`, inside of a transaction of the caller's, whose end gives the lock back."""
    await link.fetch(_LOCK, deadline_s=MIGRATION_S)
    if not await _is_ours(link):
        await link.run_script(_FIRST, deadline_s=CHECK_S)
    applied = await _applied(link)
    due = pending(read_migrations(MIGRATIONS), applied)
    if applied and not all(migration.expands for migration in due):
        await keep_nodes_out(link)
        await link.fetch(_BURY_ALL, deadline_s=CHECK_S)
    for migration in due:
        await _apply(link, migration)
    for kind in await _new_kinds(link, kinds):
        await link.fetch(
            "INSERT INTO paygate.kinds (name, facets) VALUES ($1, $2)",
            kind.name,
            ",".join(kind.facets),
            deadline_s=CHECK_S,
        )
    return due


async def keep_nodes_out(link: Link) -> None:
    """Let no node join or beat up to the end of the transaction.

    Raises `StoreRefused` where one lives. Its beats wait meanwhile, and so do those of one that
    joins: for as long as they may, and then they fail.
    """
    await link.fetch("SET LOCAL lock_timeout = '5s'", deadline_s=CHECK_S)
    try:
        await link.fetch("LOCK TABLE paygate.nodes IN EXCLUSIVE MODE", deadline_s=CHECK_S)
    except Answered as error:
        if error.sqlstate != _LOCK_HELD:
            raise
        raise StoreRefused("the database is in use by nodes: stop them all first") from error
    live = await link.fetch(_LIVE, deadline_s=CHECK_S)
    if live:
        names = ", ".join(f"seat {seat} ({name})" for seat, name in live)
        raise StoreRefused(f"the database is in use by nodes: stop them all first: {names}")


async def check(link: Link, kinds: Sequence[Kind]) -> None:
    """Raise `StoreRefused` unless the database has our schema already. Writes nothing."""
    if not await _is_ours(link):
        raise StoreRefused("the database is empty: start a node once, it fills it")
    if pending(read_migrations(MIGRATIONS), await _applied(link)):
        raise StoreRefused("the database is of an older version: start a node once")
    await _new_kinds(link, kinds)


async def migrate(dsn: str, kinds: Sequence[Kind] = ()) -> list[Migration]:
    """Bring a database up without a store, as a role that may; the migrations that were run.

    Raises `StoreRefused`.
    """
    try:
        link = await Links(dsn).connect()
        try:
            await check_server(link, durable=False)
            return await upgrade(link, kinds)
        finally:
            link.end()
    except (Unreachable, Lost, Answered) as error:
        raise StoreRefused(f"the database was not migrated ({error})") from error


async def _is_up(link: Link, kinds: Sequence[Kind]) -> bool:
    """Whether nothing is to be done: a role that may not change the schema then need not."""
    if not await _is_ours(link):
        return False
    if pending(read_migrations(MIGRATIONS), await _applied(link)):
        return False
    return not await _new_kinds(link, kinds)


async def _is_ours(link: Link) -> bool:
    """Whether it is a paygate database; False for an empty one, `StoreRefused` for any other."""
    # In this order: tables that another node has just made are ours by the second look.
    others = await link.fetch(_OTHERS, deadline_s=CHECK_S)
    if (await link.fetch(_OURS, deadline_s=CHECK_S))[0][0]:
        return True
    if others:
        raise StoreRefused(f"the database is another program's ({others[0][0]}): make another one")
    return False


async def _applied(link: Link) -> list[Applied]:
    rows = await link.fetch(
        "SELECT number, name, checksum, expands FROM paygate.migrations ORDER BY number",
        deadline_s=CHECK_S,
    )
    return [
        Applied(number=number, name=name, checksum=checksum, expands=expands)
        for number, name, checksum, expands in rows
    ]


async def _apply(link: Link, migration: Migration) -> None:
    await link.run_script(migration.text, deadline_s=MIGRATION_S)
    await link.fetch(
        "INSERT INTO paygate.migrations (number, name, checksum, expands) VALUES ($1, $2, $3, $4)",
        migration.number,
        migration.name,
        migration.checksum,
        migration.expands,
        deadline_s=CHECK_S,
    )


async def _new_kinds(link: Link, kinds: Sequence[Kind]) -> list[Kind]:
    """Kinds that the database does not know; `StoreRefused` where one has other facets there.

    The columns of older documents were filled by the older order: they would be misread.
    """
    rows = await link.fetch("SELECT name, facets FROM paygate.kinds", deadline_s=CHECK_S)
    stored: dict[str, str] = {row[0]: row[1] for row in rows}
    for kind in kinds:
        facets = ",".join(kind.facets)
        if stored.get(kind.name, facets) != facets:
            raise StoreRefused(
                f"documents of kind {kind.name} were written with facets {stored[kind.name]}, "
                f"this version has {facets}: start the version that wrote them"
            )
    return [kind for kind in kinds if kind.name not in stored]
