"""The sandbox's adapter: the suite against the sandbox, and strangers that answer anything."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
from provider_suite import SUM, ProviderSuite, charge_call
from sandbox_adapter_rig import adapter, event_body, signed
from sandbox_rig import APPROVED, Rig, sandbox_rig
from sandbox_stage import StageAtSandbox
from stranger_rig import Handler, adapter_of_stranger, answer, read_request, saying

from paygate_actors.outcomes import Approved, Declined, Outcome, Unknown
from paygate_actors.providers.base import FollowUpCall, Provider
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.server import WEBHOOK_SECRET

FIND_LAG_S = 2


class SandboxStage(StageAtSandbox):
    def __init__(self, rig: Rig, clock: ManualClock) -> None:
        super().__init__(rig, clock, adapter(rig.sandbox.url))

    async def see_everything(self) -> None:
        self.clock.advance(FIND_LAG_S)

    def unreachable(self) -> Provider:
        return adapter(self.closed)

    def signed(self, body: bytes, *, at_us: int) -> dict[str, str]:
        return signed(body, at_us=at_us)

    def webhook_body(self) -> bytes:
        return event_body()

    def secrets(self) -> list[str]:
        return [WEBHOOK_SECRET, WEBHOOK_SECRET.removeprefix("whsec_")]


class TestSandboxProvider(ProviderSuite):
    @pytest.fixture
    async def stage(self) -> AsyncIterator[SandboxStage]:
        clock = ManualClock()
        async with sandbox_rig(clock=clock, find_lag_ms=FIND_LAG_S * 1_000) as rig:
            stage = SandboxStage(rig, clock)
            yield stage
            await stage.provider.close()


def stranger(handle: Handler) -> AbstractAsyncContextManager[SandboxProvider]:
    return adapter_of_stranger(handle, adapter)


def said(**changes: object) -> bytes:
    """What a provider says of a charge that it made."""
    body: dict[str, object] = {
        "id": "ch_1",
        "operation": "charge",
        "status": "succeeded",
        "amountMinor": 1_000,
        "currency": "USD",
        "idempotencyKey": "txn_1-1",
        "chargeID": "ch_1",
        "captured": True,
    }
    return json.dumps({**body, **changes}).encode()


async def charge_at(raw: bytes) -> Outcome:
    async with stranger(saying(raw)) as provider:
        return await provider.charge(charge_call(APPROVED, "txn_1-1"))


def trouble(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": "m"}}).encode()


async def test_an_answer_is_taken_as_it_was_echoed():
    outcome = await charge_at(answer(200, said(amountMinor=999, currency="EUR")))

    assert isinstance(outcome, Approved)
    assert (outcome.amount.minor, outcome.amount.currency) == (999, "EUR")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        said(idempotencyKey="another-1"),
        said(operation="refund"),
        said(status="maybe"),
        said(status="requires_action"),
        said(id=""),
        said(amountMinor=10.5),
        said(amountMinor="1000"),
        said(amountMinor=10**30),
        said(amountMinor=-1),
        said(currency="usd"),
        said(padding="x" * 70_000),
    ],
)
async def test_an_answer_that_is_no_answer_is_not_known(body: bytes):
    outcome = await charge_at(answer(200, body))

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        answer(302, b"", b"Location: http://127.0.0.1:1/"),
        answer(204, b""),
        answer(401, trouble("unauthorized")),
        answer(402, b"<html>"),
        answer(418, trouble("teapot")),
    ],
)
async def test_what_is_no_answer_of_the_documents_is_not_known(raw: bytes):
    outcome = await charge_at(raw)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"])
async def test_a_connection_that_ends_early_is_a_reset(raw: bytes):
    outcome = await charge_at(raw)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "reset"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (402, "insufficient_funds", Declined(code="insufficient_funds", retryable=False)),
        (402, "processing_error", Declined(code="processing_error", retryable=True)),
        (409, "already_settled", Declined(code="already_settled")),
        (
            409,
            "operation_pending",
            Declined(code="operation_pending", retryable=True, conclusive=False),
        ),
        (400, "invalid_request", Declined(code="invalid_request", conclusive=False)),
        (404, "not_found", Declined(code="not_found", conclusive=False)),
        (
            429,
            "too_many_requests",
            Declined(code="too_many_requests", retryable=True, conclusive=False),
        ),
    ],
)
async def test_each_no_says_what_it_proves(status: int, code: str, expected: Declined):
    outcome = await charge_at(answer(status, trouble(code)))

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable, outcome.conclusive) == (
        expected.code,
        expected.retryable,
        expected.conclusive,
    )


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "idempotency_error", "key_known"),
        (409, "idempotency_in_progress", "in_progress"),
        (500, "api_error", "server_error"),
        (503, "sandbox_full", "server_error"),
    ],
)
async def test_each_doubt_says_why(status: int, code: str, reason: str):
    outcome = await charge_at(answer(status, trouble(code)))

    assert isinstance(outcome, Unknown)
    assert outcome.reason == reason


async def test_an_answer_about_another_charge_is_not_known():
    body = said(operation="refund", id="re_1", chargeID="ch_2")
    async with stranger(saying(answer(200, body))) as provider:
        outcome = await provider.refund(
            FollowUpCall(key="txn_1-1", provider_txn_id="ch_1", amount=SUM)
        )

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


@pytest.mark.parametrize("status", [302, 400, 403, 429, 500])
async def test_a_look_up_that_fails_never_says_no(status: int):
    async with stranger(saying(answer(status, trouble("x")))) as provider:
        outcome = await provider.find("txn_1-1")

    assert isinstance(outcome, Unknown)


@pytest.mark.parametrize(
    "changes",
    [
        {"idempotencyKey": "txn_2-1"},
        {"status": "maybe"},
        {"providerTxnID": None},
        {"status": "requires_action"},
        {"amountMinor": "1000"},
    ],
)
async def test_a_finding_that_is_no_answer_is_not_known(changes: dict[str, object]):
    finding = said(**{"providerTxnID": "ch_1", **changes})
    async with stranger(saying(answer(200, finding))) as provider:
        outcome = await provider.find("txn_1-1")

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


async def test_a_finding_says_why_it_failed():
    finding = said(providerTxnID="ch_1", status="failed", declineCode="processing_error")
    async with stranger(saying(answer(200, finding))) as provider:
        outcome = await provider.find("txn_1-1")

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable, outcome.conclusive) == ("processing_error", True, True)


async def test_a_kept_alive_connection_that_was_closed_is_not_known_and_never_sent_twice():
    bodies = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal bodies
        await read_request(reader)
        bodies += 1
        writer.write(answer(200, said()))
        # The second request on this connection is read and never answered.
        await reader.readuntil(b"\r\n\r\n")
        bodies += 1
        writer.transport.abort()

    async with stranger(handle) as provider:
        first = await provider.charge(charge_call(APPROVED, "txn_1-1"))
        second = await provider.charge(charge_call(APPROVED, "txn_1-1"))

    assert isinstance(first, Approved)
    assert isinstance(second, Unknown)
    assert (second.reason, bodies) == ("reset", 2)


async def test_a_tls_handshake_that_fails_never_left():
    async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 no TLS here\r\n\r\n")
        await writer.drain()

    async with stranger(no_tls) as plain:
        url = str(plain.redacted_config()["url"]).replace("http:", "https:")
        provider = adapter(url)

        outcome = await provider.charge(charge_call(APPROVED, "txn_1-1"))
        await provider.close()

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == ("not_sent", False)


async def test_waiting_for_a_free_connection_is_not_sent_when_the_adapter_closes():
    reached = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        reached.set()
        await reader.read()

    async with stranger(hold) as named:
        url = named.redacted_config()["url"]
        provider = SandboxProvider(
            id="sandbox", name="S", url=url, webhook_secret=WEBHOOK_SECRET, connections_max=1
        )
        sent = asyncio.create_task(provider.charge(charge_call(APPROVED, "txn_1-1")))
        await reached.wait()
        waiting = asyncio.create_task(provider.charge(charge_call(APPROVED, "txn_2-1")))
        await asyncio.sleep(0)  # let it queue behind the first
        await provider.close()

        outcomes = await asyncio.gather(sent, waiting)

    assert isinstance(outcomes[0], Unknown)
    assert isinstance(outcomes[1], Declined)
    assert outcomes[1].code == "not_sent"


async def test_a_cancelled_call_is_cancelled():
    reached = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()

    async with stranger(hold) as provider:
        call = asyncio.create_task(provider.charge(charge_call(APPROVED, "txn_1-1")))
        await reached.wait()
        call.cancel()

        with pytest.raises(asyncio.CancelledError):
            await call
