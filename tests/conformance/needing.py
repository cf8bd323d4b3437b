"""What a test needs of its machine, and what becomes of it where that is missing."""

import os

import pytest


def needs(reason: str, *, met: bool) -> None:
    """Skip where the machine cannot do it; where everything is promised to be there, fail."""
    if not met:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
