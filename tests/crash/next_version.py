"""A later version of the gateway, whose schema is what the migrations of a folder make.

    python next_version.py FOLDER python -m paygate_http serve ...

What follows the folder is how the version of today would be called, as the rig calls it.
"""

import sys
from pathlib import Path

from paygate_engine.stores import sqlite_schema
from paygate_http.__main__ import main

if __name__ == "__main__":
    folder, _, _, _, *arguments = sys.argv[1:]
    sqlite_schema.MIGRATIONS = Path(folder)
    sys.exit(main(arguments))
