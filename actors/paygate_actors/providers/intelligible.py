"""What cannot be understood is not known: one way to read answers, whoever they are from."""

from collections.abc import Callable
from typing import TypeVar

from paygate_actors.outcomes import Unknown

T = TypeVar("T")


class Unintelligible(Exception):
    """The answer is well-formed but cannot be an answer to what was asked."""


def intelligible(read: Callable[[], T]) -> T | Unknown:
    """Call `read`, and give `Unknown` where it could not make sense of what came.

    A `ValueError` is what decoders raise: for JSON, for text, for amounts and times.
    """
    try:
        return read()
    except (ValueError, RecursionError, Unintelligible) as error:
        # The name alone: the text of a decoding error may quote what came.
        return Unknown(reason="garbage", detail=type(error).__name__)
