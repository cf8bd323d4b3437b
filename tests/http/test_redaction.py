"""What the log's last net catches, and what it lets through."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from paygate_http.logs import configure_logs
from paygate_http.redact import REDACTED, redact, redact_text


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "3782 822463 10005",
        "6011.1111.1111.1117",
        "a4242424242424242"[1:],
    ],
)
def test_a_card_number_is_caught_wherever_it_stands(text: str) -> None:
    assert redact_text(f"before {text}, after") == f"before {REDACTED}, after"


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424241",
        "1768473000000000",
        "pay_01h4242424242424242xyz",
        "12345",
        "2026-01-15T10:30:00.000000Z",
    ],
)
def test_what_is_no_card_number_is_let_through(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize("text", ["Bearer abc.def", "sk_sandbox_merchant_a", "whsec_cGF5Z2F0ZQ=="])
def test_keys_and_secrets_are_caught(text: str) -> None:
    assert redact_text(f"x {text} y") == f"x {REDACTED} y"


@pytest.mark.parametrize("password", ["hunter2", "a:b", "p/q", "%40"])
def test_the_password_of_a_url_is_caught_and_the_rest_of_it_is_not(password: str) -> None:
    text = f"cannot reach postgresql://paygate:{password}@db-1:5432,db-2/books at all"

    expected = f"cannot reach postgresql://paygate:{REDACTED}@db-1:5432,db-2/books at all"
    assert redact_text(text) == expected


def test_fields_are_redacted_by_name_and_by_value_at_any_depth() -> None:
    event: dict[str, Any] = {
        "event": "paid",
        "cardNumber": "anything",
        "api_key": "k",
        "amount_minor": 100,
        "number": 4242424242424242,
        "nested": {"CVV": 123, "list": ["4242424242424242", {"card-number": 1}]},
        "flag": True,
        "nothing": None,
    }

    assert redact(None, "info", event) == {
        "event": "paid",
        "cardNumber": REDACTED,
        "api_key": REDACTED,
        "amount_minor": 100,
        "number": REDACTED,
        "nested": {"CVV": REDACTED, "list": [REDACTED, {"card-number": REDACTED}]},
        "flag": True,
        "nothing": None,
    }


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    lines = io.StringIO()
    configure_logs("info", stream=lines)
    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_of_log_is_one_json_object(stream: io.StringIO) -> None:
    structlog.stdlib.get_logger("paygate.test").info("hello", number="4242424242424242", n=1)
    structlog.stdlib.get_logger("paygate.test").debug("not this one")

    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event["event"] == "hello"
    assert event["level"] == "info"
    assert event["logger"] == "paygate.test"
    assert event["number"] == REDACTED
    assert event["n"] == 1
    assert event["at"].endswith("Z")


def test_libraries_that_log_the_old_way_are_redacted_too(stream: io.StringIO) -> None:
    try:
        int("card 4242424242424242")
    except ValueError:
        logging.getLogger("aiohttp.server").exception(
            "Error handling %s", "4242 4242 4242 4242", extra={"authorization": "Bearer x"}
        )

    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event["event"] == f"Error handling {REDACTED}"
    assert "ValueError" in event["exception"]
    assert event["authorization"] == REDACTED
    assert "4242" not in line
