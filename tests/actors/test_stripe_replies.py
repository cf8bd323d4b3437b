"""Stripe's adapter before strangers: errors of every kind, answers to something else, noise."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from provider_suite import SUM, charge_call
from sandbox_rig import APPROVED
from stranger_rig import adapter_of_stranger, answer, read_request, saying
from stripe_rig import intent, refund, stripe_adapter

from paygate_actors.outcomes import Approved, Declined, Outcome, Pending, Unknown
from paygate_actors.providers.base import FollowUpCall
from paygate_actors.providers.line_trouble import TOO_SLOW
from paygate_actors.providers.stripe import API_VERSION, StripeProvider
from paygate_actors.providers.stripe_terms import Pace

CALL = charge_call(APPROVED, "txn_1-1")
FOLLOW = FollowUpCall(key="txn_2-1", provider_txn_id="pi_1", amount=SUM)


def said(content: object) -> bytes:
    return answer(200, json.dumps(content).encode())


def error(status: int, *headers: bytes, **fields: object) -> bytes:
    return answer(status, json.dumps({"error": fields}).encode(), *headers)


class Scripted:
    """A stranger that answers by path, and keeps what it was sent."""

    def __init__(self, confirm: bytes, *, method: bytes | None = None) -> None:
        prepared = intent(status="requires_payment_method", amount_received=0)
        kept = said({"id": "pm_1", "object": "payment_method"})
        self.heads: list[bytes] = []
        self._answers: Mapping[bytes, bytes] = {
            b"/confirm": confirm,
            b"/v1/payment_methods": method or kept,
            b"/v1/payment_intents": said(prepared),
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_request(reader)
        self.heads.append(head)
        path = head.split(b" ", 2)[1]
        raw = next(raw for end, raw in self._answers.items() if path.endswith(end))
        # One request a connection: the next one opens another.
        writer.write(raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await writer.drain()


async def confirmed(raw: bytes) -> Outcome:
    """What a charge comes to whose confirmation is answered so."""
    script = Scripted(raw)
    async with adapter_of_stranger(script.serve, stripe_adapter) as provider:
        return await provider.charge(CALL)


async def followed(operation: str, raw: bytes) -> Outcome:
    async with adapter_of_stranger(saying(raw), stripe_adapter) as provider:
        return await getattr(provider, operation)(FOLLOW)


async def test_every_request_carries_the_key_of_its_step_and_the_pinned_version():
    script = Scripted(said(intent()))
    async with adapter_of_stranger(script.serve, stripe_adapter) as provider:
        await provider.charge(CALL)

    def header(name: str, head: bytes) -> str:
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        return lines[name.encode()].decode()

    keys = [header("Idempotency-Key", head) for head in script.heads]
    assert keys == ["txn_1-1-prepare", "txn_1-1-card", "txn_1-1"]
    assert {header("Stripe-Version", head) for head in script.heads} == {API_VERSION}
    assert all(header("Authorization", head).startswith("Bearer sk_") for head in script.heads)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        intent(id="pi_2"),
        intent(metadata={"reference": "txn_9-1"}),
        intent(metadata={}),
        intent(object="charge"),
        intent(status="maybe"),
        intent(status="requires_confirmation"),
        intent(status="requires_payment_method"),
        intent(status="requires_action"),
        intent(status="requires_action", next_action={"type": "use_stripe_sdk"}),
        intent(
            status="requires_action",
            next_action={"type": "redirect_to_url", "redirect_to_url": {"url": "javascript:1"}},
        ),
        intent(amount_received="1000"),
        intent(amount_received=10.5),
        intent(amount_received=-1),
        intent(amount_received=10**30),
        intent(currency="USD"),
        intent(currency="zzz"),
        intent(currency="isk", amount_received=150),
        {name: value for name, value in intent().items() if name != "amount_received"},
        intent(padding="x" * 1_100_000),
    ],
)
async def test_an_answer_that_is_no_answer_is_not_known(content: Any):
    outcome = await confirmed(said(content))

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


@pytest.mark.parametrize(
    "raw",
    [
        answer(200, b"<html>"),
        answer(200, b"\xff\xfe"),
        answer(200, b"NaN"),
        answer(200, b"[" * 60_000),
        answer(302, b"", b"Location: http://127.0.0.1:1/"),
        answer(204, b""),
        answer(418, b"{}"),
        answer(402, b"<html>"),
        error(409, type="invalid_request_error", message="m"),
        error(400, type="something_new", message="m"),
    ],
)
async def test_what_the_documents_do_not_have_is_not_known(raw: bytes):
    outcome = await confirmed(raw)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (error(400, type="idempotency_error"), "key_known"),
        (
            error(409, type="invalid_request_error", code="idempotency_key_in_use"),
            "in_progress",
        ),
        (error(500, type="api_error"), "server_error"),
        (answer(503, b"<html>"), "server_error"),
        (error(400, type="api_error"), "server_error"),
    ],
)
async def test_each_doubt_says_why(raw: bytes, reason: str):
    outcome = await confirmed(raw)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == reason


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (error(429, type="invalid_request_error", code="rate_limit"), "too_many_requests"),
        (answer(429, b'{"error":{}}', b"Retry-After: 1"), "too_many_requests"),
        (error(429, type="invalid_request_error", code="lock_timeout"), "operation_pending"),
        (error(401, type="invalid_request_error"), "provider_misconfigured"),
        (error(403, type="invalid_request_error"), "provider_misconfigured"),
        (
            error(400, type="invalid_request_error", code="amount_too_small"),
            "amount_not_supported",
        ),
        (
            error(400, type="invalid_request_error", code="parameter_unknown"),
            "provider_refused",
        ),
        (
            error(404, type="invalid_request_error", code="resource_missing"),
            "provider_refused",
        ),
    ],
)
async def test_what_was_refused_unlooked_at_proves_nothing_about_an_earlier_call(
    raw: bytes, code: str
):
    outcome = await confirmed(raw)

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable, outcome.conclusive) == (code, True, False)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"code": "card_declined", "decline_code": "lost_card"}, "lost_card"),
        ({"code": "card_declined", "decline_code": "issuer_not_available"}, "issuer_unavailable"),
        ({"code": "processing_error"}, "processing_error"),
        ({"code": "expired_card", "decline_code": "generic_decline"}, "expired_card"),
        ({"code": "card_declined", "decline_code": "never_heard_of"}, "card_declined"),
        ({}, "card_declined"),
    ],
)
async def test_a_decline_is_conclusive_and_in_our_words(fields: dict[str, object], code: str):
    outcome = await confirmed(error(402, type="card_error", **fields))

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive, outcome.provider_txn_id) == (code, True, "pi_1")
    assert outcome.retryable == (code in ("issuer_unavailable", "processing_error"))


async def test_a_decline_of_another_intent_is_not_known():
    other = intent(id="pi_2", status="requires_payment_method")

    outcome = await confirmed(error(402, type="card_error", payment_intent=other))

    assert isinstance(outcome, Unknown)


async def test_a_card_refused_before_the_confirmation_proves_nothing():
    refused = error(402, type="card_error", code="incorrect_number")
    script = Scripted(said(intent()), method=refused)
    async with adapter_of_stranger(script.serve, stripe_adapter) as provider:
        outcome = await provider.charge(CALL)

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == ("incorrect_number", False)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("succeeded", Approved(provider_txn_id="pi_1", amount=SUM, captured=True)),
        ("processing", Pending(provider_txn_id="pi_1")),
    ],
)
async def test_an_intent_that_was_confirmed_before_tells_itself_what_became_of_it(
    status: str, expected: Outcome
):
    raw = error(
        400,
        type="invalid_request_error",
        code="payment_intent_unexpected_state",
        payment_intent=intent(status=status),
    )

    assert await confirmed(raw) == expected


@pytest.mark.parametrize("operation", ["capture", "void"])
@pytest.mark.parametrize(
    "content", [intent(id="pi_2"), intent(status="processing"), refund(), None]
)
async def test_a_follow_up_answered_with_something_else_is_not_known(
    operation: str, content: object
):
    outcome = await followed(operation, said(content))

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "pending"}, Pending(provider_txn_id="re_1")),
        ({"status": "requires_action"}, Pending(provider_txn_id="re_1")),
        (
            {"status": "failed", "failure_reason": "declined"},
            Declined(
                code="refund_failed",
                message="The refund did not reach the payer.",
                decline_code="declined",
                provider_txn_id="re_1",
            ),
        ),
    ],
)
async def test_a_refund_is_what_it_says_of_itself(changes: dict[str, object], expected: Outcome):
    assert await followed("refund", said(refund(**changes))) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"payment_intent": "pi_2"},
        {"metadata": {"reference": "txn_9-1"}},
        {"status": "maybe"},
        {"status": None},
        {"amount": 0.5},
    ],
)
async def test_a_refund_of_something_else_is_not_known(changes: dict[str, object]):
    outcome = await followed("refund", said(refund(**changes)))

    assert isinstance(outcome, Unknown)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 429, 500])
async def test_a_look_up_that_fails_never_says_no(status: int):
    async with adapter_of_stranger(saying(error(status, type="x")), stripe_adapter) as provider:
        outcomes = [await provider.find("txn_1-1"), await provider.find("txn_1-1", "pi_1")]

    assert all(isinstance(outcome, Unknown) for outcome in outcomes)
    assert all(getattr(outcome, "reason", "") != "not_visible" for outcome in outcomes)


@pytest.mark.parametrize(
    "found",
    [
        [intent(), intent(id="pi_2")],
        [intent(metadata={"reference": "txn_9-1"})],
        [{}],
    ],
)
async def test_a_search_that_finds_several_or_another_is_not_known(found: list[object]):
    raw = said({"object": "search_result", "data": found, "has_more": False})
    async with adapter_of_stranger(saying(raw), stripe_adapter) as provider:
        outcome = await provider.find("txn_1-1")

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


@pytest.mark.parametrize(
    ("named", "content"),
    [
        ("pi_1", intent(id="pi_2")),
        ("pi_1", refund()),
        (
            "pi_1",
            intent(
                status="requires_capture",
                metadata={"reference": "txn_9-1", "capture_reference": "txn_1-1"},
            ),
        ),
        ("re_1", refund(id="re_2")),
        ("re_1", intent()),
    ],
)
async def test_a_look_up_answered_with_something_else_is_not_known(
    named: str, content: dict[str, object]
):
    async with adapter_of_stranger(saying(said(content)), stripe_adapter) as provider:
        outcome = await provider.find("txn_1-1", named)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


async def test_a_look_up_that_is_cut_off_is_not_known():
    async with adapter_of_stranger(saying(b""), stripe_adapter) as provider:
        found = await provider.find("txn_1-1")
        page = await provider.events(since_us=0)

    assert isinstance(found, Unknown)
    assert isinstance(page, Unknown)
    assert (found.reason, page.reason) == ("reset", "reset")


async def test_a_page_that_is_none_is_not_known():
    async with adapter_of_stranger(saying(said([])), stripe_adapter) as provider:
        page = await provider.events(since_us=0)

    assert page == Unknown(reason="garbage", detail="ValidationError")


async def test_events_of_a_page_that_cannot_be_read_are_counted():
    page = {"object": "list", "data": [{"id": "evt_1"}, {"id": "evt_2"}], "has_more": True}
    async with adapter_of_stranger(saying(said(page)), stripe_adapter) as provider:
        answered = await provider.events(since_us=0)

    assert not isinstance(answered, Unknown)
    assert (answered.events, answered.unreadable, answered.next_cursor) == ((), 2, "evt_2")


async def test_the_steps_of_a_charge_share_one_deadline():
    # Two steps fit, the third one does not.
    latency_s, deadline_s = 0.4, 1.0
    script = Scripted(said(intent()))

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(latency_s)  # how long this provider takes for each step
        await script.serve(reader, writer)

    def hasty(url: str) -> StripeProvider:
        return stripe_adapter(url, pace=Pace(deadline_s=deadline_s))

    loop = asyncio.get_running_loop()
    async with adapter_of_stranger(slow, hasty) as provider:
        started = loop.time()
        outcome = await provider.charge(CALL)
        took_s = loop.time() - started

    assert outcome == Unknown(reason="timeout", detail=TOO_SLOW)
    assert took_s < 3 * latency_s


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://api.stripe.com"},
        {"url": "https://user:pass@api.stripe.com"},
        {"url": "ftp://127.0.0.1"},
        {"url": "api.stripe.com"},
        {"secret_key": ""},
        {"secret_key": "sk test"},
        {"webhook_secrets": ()},
        {"webhook_secrets": ("",)},
        {"webhook_secrets": ("whsec_a", " ")},
    ],
)
def test_an_unusable_setting_is_refused_at_once(changes: dict[str, Any]):
    settings: dict[str, Any] = {"url": "https://api.stripe.com", **changes}

    with pytest.raises(ValueError, match=r"."):
        stripe_adapter(settings.pop("url"), **settings)


def test_the_real_one_is_waited_for_longer_than_a_sandbox():
    real = stripe_adapter("https://api.stripe.com", pace=None)
    local = stripe_adapter("http://127.0.0.1:8090", pace=None)

    assert real.capabilities.deadline_s > 10
    assert local.capabilities.deadline_s == 2.0
