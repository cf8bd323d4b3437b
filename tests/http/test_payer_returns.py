"""The door for payers who come back: on to the merchant's page, or a kind word."""

from typing import Any

import pytest

from paygate_actors.messages import Refusal

DOOR = "/api/providers/sandbox/return"
# Where the door leads is what a test is about.
STAY: dict[str, Any] = {"key": None, "allow_redirects": False}


async def test_a_payer_goes_on_to_the_merchant_s_page(gateway: Any) -> None:
    gateway.front.onward = "https://shop.example/paid?order=7&lang=de#end"

    status, _, headers = await gateway.ask("GET", f"{DOOR}?for=a&redirectResult=X%21Y", **STAY)

    assert (status, headers["Location"]) == (303, gateway.front.onward)
    assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert gateway.front.commands == [("sandbox", {"for": "a", "redirectResult": "X!Y"})]


async def test_a_page_in_any_script_is_written_as_headers_must_be(gateway: Any) -> None:
    gateway.front.onward = "https://shop.example/größe?a=%20b\r\nX: y"

    status, _, headers = await gateway.ask("GET", DOOR, **STAY)

    assert status == 303
    assert headers["Location"] == "https://shop.example/gr%C3%B6%C3%9Fe?a=%20b%0D%0AX:%20y"
    assert "X" not in headers


async def test_a_payer_without_a_page_reads_a_kind_word(gateway: Any) -> None:
    status, body, headers = await gateway.ask("GET", DOOR, **STAY)

    assert status == 200
    assert b"go back to the shop" in body
    assert headers["Content-Type"].startswith("text/plain")


async def test_of_a_parameter_that_comes_twice_the_first_counts(gateway: Any) -> None:
    await gateway.ask("GET", f"{DOOR}?to=a&to=b", **STAY)

    assert gateway.front.commands == [("sandbox", {"to": "a"})]


@pytest.mark.parametrize(
    ("code", "status"),
    [("provider_not_found", 404), ("signature_invalid", 401), ("overloaded", 503)],
)
async def test_each_refusal_has_its_status(gateway: Any, code: Any, status: int) -> None:
    gateway.front.refusal = Refusal(code=code, detail="No.", retry_after_s=1)

    found, problem, _ = await gateway.ask("GET", DOOR, **STAY)

    assert (found, problem["code"]) == (status, code)
