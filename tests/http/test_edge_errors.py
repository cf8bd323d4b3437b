"""What the gateway answers when something inside went wrong, and what it tells nobody."""

import io
import logging
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import structlog

from paygate_actors.messages import Fault, Refusal, RefusalCode
from paygate_engine.errors import AskTimeout, Overloaded, StoreFailed, StoreFull
from paygate_http.logs import configure_logs
from paygate_http.problems import KINDS, EdgeCode


def test_every_code_has_a_status_and_a_title_of_its_own() -> None:
    assert set(KINDS) == {*get_args(EdgeCode), *get_args(RefusalCode)}
    assert len({kind.title for kind in KINDS.values()}) == len(KINDS)
    assert all(400 <= kind.status < 600 for kind in KINDS.values())


@pytest.mark.parametrize("code", get_args(RefusalCode))
async def test_every_refusal_becomes_its_problem(gateway: Any, code: Any) -> None:
    fault = Fault(pointer="/provider", code="unknown_provider", detail="is not configured")
    gateway.front.refusal = Refusal(code=code, detail="Why.", faults=(fault,), retry_after_s=7)

    status, problem, headers = await gateway.pay()

    assert status == problem["status"] == KINDS[code].status
    assert problem["code"] == code
    assert problem["detail"] == "Why."
    assert problem["errors"] == [
        {"pointer": "/provider", "code": "unknown_provider", "detail": "is not configured"}
    ]
    assert headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Overloaded("full"), 503, "overloaded"),
        (StoreFull("full"), 503, "overloaded"),
        (StoreFailed("broken"), 503, "outcome_unknown"),
        (AskTimeout("late"), 503, "outcome_unknown"),
        (TimeoutError("late"), 500, "internal_error"),
        (ZeroDivisionError("card 4242424242424242"), 500, "internal_error"),
    ],
)
async def test_an_error_inside_is_answered_and_says_nothing_of_itself(
    gateway: Any, error: Exception, status: int, code: str
) -> None:
    gateway.front.error = error

    answered, problem, headers = await gateway.pay()

    assert (answered, problem["code"]) == (status, code)
    assert headers["X-Request-ID"] == problem["requestID"] == "req_1"
    assert str(error) not in str(problem)
    assert ("Retry-After" in headers) == (status == 503)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged while the test runs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs("debug", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


async def test_an_error_is_logged_with_its_request_id_and_without_card_data(
    gateway: Any, log: io.StringIO
) -> None:
    gateway.front.error = ZeroDivisionError("card 4242 4242 4242 4242, Bearer sk_live_abc")

    await gateway.pay(headers={"X-Request-ID": "find-me"})

    text = log.getvalue()
    assert "find-me" in text
    assert "ZeroDivisionError" in text
    assert "4242 4242" not in text
    assert "sk_live_abc" not in text
    assert "[redacted]" in text


async def test_at_debug_every_answer_is_one_line_without_ids_of_payments(
    gateway: Any, log: io.StringIO
) -> None:
    kept = gateway.front.keep("merchant_a")

    await gateway.ask("GET", f"/api/payments/{kept.id}", headers={"X-Request-ID": "abc"})

    (line,) = [line for line in log.getvalue().splitlines() if '"answered"' in line]
    assert '"route":"/api/payments/{paymentID}"' in line
    assert '"status":200' in line
    assert '"request_id":"abc"' in line
    assert kept.id not in line


async def test_a_canary_card_shows_up_nowhere_but_in_the_command(
    gateway: Any, log: io.StringIO
) -> None:
    pan, cvv = "5555555555554444", "917"
    body = gateway.card_payment()
    body["paymentMethod"] |= {"cardNumber": pan, "cvv": cvv}
    shown: list[str] = []

    shown.append(str(await gateway.pay(body)))
    gateway.front.error = RuntimeError(f"{body}")
    shown.append(str(await gateway.pay(body)))
    shown.append(str(await gateway.pay({**body, "currency": pan, "captureMethod": pan})))
    shown.append(str(await gateway.ask("GET", f"/api/payments?status={pan}&limit={pan}")))
    shown.append(str(await gateway.ask("GET", f"/api/{pan}")))
    shown.append(str(await gateway.ask("GET", "/metrics", key="operator")))
    shown.append(log.getvalue())

    assert "RuntimeError" in log.getvalue()
    for text in shown:
        assert pan not in text
        assert f"'{cvv}'" not in text
