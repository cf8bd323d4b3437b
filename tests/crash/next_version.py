"""A later version of the gateway, whose schema is what the migrations of a folder make.

    python next_version.py STORE FOLDER python -m paygate_http serve ...

STORE is `sqlite` or `postgres`. What follows the folder is how the version of today would be
called, as the rig calls it. Over PostgreSQL it commits by a function of its own.
"""

import sys
from pathlib import Path

from paygate_engine.stores import postgres_commit, postgres_schema, sqlite_schema
from paygate_http.__main__ import main

if __name__ == "__main__":
    store, folder, _, _, _, *arguments = sys.argv[1:]
    if store == "postgres":
        postgres_schema.MIGRATIONS = Path(folder)
        postgres_commit.COMMIT = postgres_commit.COMMIT.replace("commit_group_1", "commit_group_2")
    else:
        sqlite_schema.MIGRATIONS = Path(folder)
    sys.exit(main(arguments))
