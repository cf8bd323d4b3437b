"""Numbered migrations: which there are, which a database has, and what may be done about it.

A migration is a file `NNNN_name.sql`, numbered from 1 without a gap. Its text is never changed
once it was released: the checksum of every applied migration is kept in the database. How its
statements are executed is each store's business.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from paygate_engine.errors import StoreRefused

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


class Migration(Struct, frozen=True, kw_only=True):
    """A step from one version of the schema to the next."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def expands(self) -> bool:
        """Whether the text begins by saying that it only adds: `-- expand: ...`."""
        return self.text.startswith("-- expand")


class Applied(Struct, frozen=True, kw_only=True):
    """What a database says about a migration that it went through.

    `expands`: programs that do not know it go on beside those that do.
    """

    number: int
    name: str
    checksum: str
    expands: bool = False


def read_migrations(folder: Path) -> list[Migration]:
    """All migrations of a folder, in order; `ValueError` for a gap or a stray file name."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        found = _FILE_NAME.fullmatch(path.name)
        if found is None or int(found[1]) != len(migrations) + 1:
            raise ValueError(f"{path}: expected migration {len(migrations) + 1:04}_<name>.sql")
        text = path.read_text(encoding="utf-8")
        migrations.append(Migration(number=int(found[1]), name=found[2], text=text))
    return migrations


def pending(known: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """The migrations that a database still needs, in order.

    Raises `StoreRefused` for a database that these migrations did not make.
    """
    for number, (has, ours) in enumerate(zip(applied, known, strict=False), 1):
        if has.number != number:
            raise StoreRefused(
                f"the database lacks migration {number} but has {has.number}: restore a backup"
            )
        if has.checksum != ours.checksum:
            raise StoreRefused(
                f"migration {number} ({has.name}) of the database is not the one of this version: "
                "start the version that wrote it, or restore a backup"
            )
    if not all(each.expands for each in applied[len(known) :]):
        raise StoreRefused(
            f"the database is at version {applied[-1].number}, this program knows {len(known)}: "
            "start a newer version of the program"
        )
    return list(known[len(applied) :])
