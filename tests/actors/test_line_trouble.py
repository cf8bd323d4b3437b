"""What merchants read of a call that went wrong on its way: a sentence, and no name of a class."""

import asyncio
import re
from collections.abc import Callable

import pytest
from adyen_rig import adyen_adapter
from paypal_rig import paypal_adapter
from provider_suite import charge_call
from sandbox_adapter_rig import adapter as sandbox_adapter
from sandbox_rig import APPROVED
from stranger_rig import Handler, adapter_of_stranger, answer, free_url, read_request, saying
from stripe_rig import stripe_adapter

from paygate_actors.outcomes import Declined
from paygate_actors.providers.base import Provider
from paygate_actors.providers.http_client import Broken, HttpClient, NotSent

CALL = charge_call(APPROVED, "txn_1-1")
# Words alone: no class, no address, nothing that a stranger worded.
SENTENCES = re.compile(r"([A-Z][A-Za-z]*( (PayPal|HTTP|[a-z']+),?)+[.:]? ?)+")
ADAPTERS = (adyen_adapter, paypal_adapter, sandbox_adapter, stripe_adapter)
# Reserved for names that nobody has.
NO_NAME = "https://nobody.invalid"


async def trouble_at(url: str, *, deadline_s: float = 5.0) -> NotSent | Broken:
    client = HttpClient(url)
    try:
        met = await client.send("POST", "/", deadline_s=deadline_s, body=b"{}")
    finally:
        await client.close()
    assert isinstance(met, NotSent | Broken), met
    return met


async def trouble_with(handle: Handler, *, scheme: str = "http") -> NotSent | Broken:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        return await trouble_at(f"{scheme}://127.0.0.1:{port}", deadline_s=1.0)
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("make", ADAPTERS)
@pytest.mark.parametrize("url_of", [free_url, lambda: NO_NAME], ids=["nobody", "no name"])
async def test_a_payment_that_never_left_says_why_in_a_sentence(
    make: Callable[[str], Provider], url_of: Callable[[], str]
):
    provider = make(url_of())
    try:
        outcome = await provider.charge(CALL)
    finally:
        await provider.close()

    assert isinstance(outcome, Declined)
    assert outcome.code == "not_sent"
    assert SENTENCES.fullmatch(outcome.message or ""), outcome.message


@pytest.mark.parametrize(
    "said",
    [answer(200, b"{"), answer(503, b""), answer(200, b'{"access_token":1}'), b"", b"SSH-2\n"],
)
async def test_a_token_that_was_not_had_says_why_in_a_sentence(said: bytes):
    async with adapter_of_stranger(saying(said), paypal_adapter) as provider:
        outcome = await provider.charge(CALL)

    assert isinstance(outcome, Declined)
    assert SENTENCES.fullmatch(outcome.message or ""), outcome.message


async def test_what_went_wrong_is_told_apart():
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.close()

    nobody = await trouble_at(free_url())
    nameless = await trouble_at(NO_NAME)
    impossible = await trouble_at("http://a..b")
    broken = await trouble_with(hang_up)

    assert nobody == NotSent(detail="The provider could not be reached.")
    assert nameless == NotSent(detail="The provider's host name could not be resolved.")
    assert impossible == nameless
    assert broken == Broken(reason="reset", detail="The connection to the provider broke.")


async def test_a_provider_that_speaks_no_tls_is_told_as_such():
    async def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    met = await trouble_with(speak_plainly, scheme="https")

    assert met == NotSent(detail="No secure connection to the provider could be made.")
