"""Reads fault plans: the body of `POST /faults`, and the file of `--faults`, TOML or JSON.

A body may be one plan or a whole sheet: `{"seed": 7, "faults": [...]}`. A file is a sheet. Every
complaint names the place and says what would do.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from paygate_http.sandbox.faults import FaultPlan, Faults, FaultSheet, FaultsRefused

# A thousand plans are some 100 KiB.
FILE_BYTES_MAX: Final = 1024 * 1024


def read_plan(body: bytes) -> FaultSheet:
    """Read one plan or a sheet. Raises `FaultsRefused` with a sentence."""
    try:
        said: Any = msgspec.json.decode(body)
        if isinstance(said, dict) and "faults" in said:
            return msgspec.convert(said, FaultSheet)
        return FaultSheet(faults=(msgspec.convert(said, FaultPlan),))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise FaultsRefused(f"The fault makes no sense: {error}.") from error


def read_file(path: Path) -> FaultSheet:
    """Read a sheet: JSON where the name ends in `.json`, else TOML. Raises `FaultsRefused`."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise FaultsRefused(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise FaultsRefused(f"{path}: is larger than {FILE_BYTES_MAX} bytes")
    try:
        if path.suffix == ".json":
            sheet = msgspec.json.decode(raw, type=FaultSheet)
        else:
            sheet = msgspec.convert(tomllib.loads(raw.decode()), FaultSheet)
    except UnicodeDecodeError as error:
        raise FaultsRefused(f"{path}: is not UTF-8 text") from error
    except (tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise FaultsRefused(f"{path}: {error}") from error
    # Checked as it will be used, so that a file is refused where it stands.
    try:
        Faults.check(sheet)
    except FaultsRefused as error:
        raise FaultsRefused(f"{path}: {error}") from error
    return sheet
