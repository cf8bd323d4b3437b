"""What a courier makes of `Retry-After`."""

import pytest

from paygate_actors.courier import retry_after_s

NOW_US = 1_767_225_600_000_000  # Thu, 01 Jan 2026 00:00:00 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("9" * 5_000, 999_999_999),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120),
        ("Thu, 01 Jan 2026 01:02:00 +0100", 120),
        ("Thu, 01 Jan 2026 00:00:00 GMT", None),
        ("Wed, 31 Dec 2025 23:00:00 GMT", None),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0663", None),
        ("Thu, 99 Jan 2026 00:02:00 GMT", None),
        ("Thu, 01 Jan 99999 00:02:00 GMT", None),
    ],
)
def test_seconds_and_dates_are_read_and_nothing_else(text: str | None, seconds: int | None) -> None:
    assert retry_after_s(text, NOW_US) == seconds
