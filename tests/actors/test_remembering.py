"""What was made lately is given out again, and never for anything else than it was made of."""

import pytest

from paygate_actors.remembering import Remembered


def test_it_is_made_once_while_its_source_stays_the_same() -> None:
    made: list[list[int]] = []
    remembered = Remembered[list[int], str](lambda source: made.append(source) or str(source))
    same = [1]

    assert [remembered.of("a", same) for _ in range(3)] == ["[1]"] * 3
    # An equal one that is another object, as what is read from the disk again.
    assert remembered.of("a", [1]) == "[1]"
    assert made == [[1]]


def test_another_source_under_the_name_is_made_anew() -> None:
    remembered = Remembered[str, str](str.upper)

    assert [remembered.of("a", source) for source in ("x", "y", "x")] == ["X", "Y", "X"]
    assert len(remembered) == 1


def test_names_are_kept_apart() -> None:
    remembered = Remembered[str, str](str.upper)

    assert [remembered.of(name, name) for name in ("a", "b", "a")] == ["A", "B", "A"]


def test_the_oldest_goes_where_there_are_too_many() -> None:
    made: list[str] = []
    remembered = Remembered[str, str](
        lambda source: made.append(source) or source.upper(), kept_max=2
    )

    for source in ("a", "b", "c", "c", "b", "a"):
        remembered.of(source, source)

    assert len(remembered) == 2
    assert made == ["a", "b", "c", "a"]


def test_what_cannot_be_made_is_not_kept() -> None:
    remembered = Remembered[bytes, str](bytes.decode)

    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            remembered.of("a", b"\xff")

    assert len(remembered) == 0
