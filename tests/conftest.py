"""What holds for every test: it leaves the logs of the process as they were."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Take back where a command that ran in this process sent its logs.

    That was what was captured of its own test: later lines would go to a closed file.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
