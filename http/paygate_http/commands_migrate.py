"""`paygate migrate`: brings a database up to this version, before any node of it starts.

Every node does the same when it starts. The command is for where nodes may not change the schema,
and for doing it at a time of one's own choosing.
"""

import asyncio
import sys

from paygate_http.commands_audit import read_config
from paygate_http.database_url import shown_url
from paygate_http.flags import MigrateFlags
from paygate_http.process import Exit
from paygate_http.stores import migrate_database


def migrate(flags: MigrateFlags) -> Exit:
    """Print what was done; nothing to do is a success too.

    Raises `ConfigInvalid` where no database is named, `StoreRefused` for one that is away, another
    program's, or of a newer version.
    """
    config = read_config(flags.config, flags.settings())
    done = asyncio.run(migrate_database(config))
    name = shown_url(config.database.url or "")
    for migration in done:
        sys.stdout.write(f"migrated: {migration.number:04} {migration.name}\n")
    sys.stdout.write(f"{name}: {'is up to date' if done else 'nothing to do'}\n")
    return Exit.DRAINED
