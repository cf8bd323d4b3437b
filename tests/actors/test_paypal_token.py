"""The access token: one fetch for all callers, renewed in time, and a 401 sends the same again."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable

import pytest
from aiohttp import web
from paypal_rig import order, paypal_adapter
from provider_suite import charge_call
from sandbox_rig import APPROVED, sandbox_rig

from paygate_actors.outcomes import Approved, Declined, Outcome, Prepared, Unknown
from paygate_actors.providers.last_look import BARRED, only_while
from paygate_actors.providers.paypal import PayPalProvider
from paygate_actors.providers.paypal_terms import Pace
from paygate_engine.clock import ManualClock

WAIT_S = 5.0


class Clerk:
    """A PayPal that gives out tokens as it is told, and takes those that it likes."""

    def __init__(self) -> None:
        self.url = ""
        self.given = 0
        self.life_s = 32_400
        self.status = 200
        self.body: bytes | None = None
        self.refused: set[str] = set()
        self.seen: list[tuple[str, str]] = []
        self.was_asked = asyncio.Event()
        self.slow_came = asyncio.Event()
        self.slow_may_go = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def token(self, _request: web.Request) -> web.Response:
        self.given += 1
        self.was_asked.set()
        await self.may_answer.wait()
        token = {"access_token": f"token-{self.given}", "expires_in": self.life_s}
        return web.Response(status=self.status, body=self.body or json.dumps(token).encode())

    async def other(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.seen.append((token, request.headers.get("PayPal-Request-Id", "")))
        if "slow" in request.headers.get("PayPal-Request-Id", ""):
            self.slow_came.set()
            await self.slow_may_go.wait()
        if token in self.refused:
            return web.json_response({"name": "AUTHENTICATION_FAILURE"}, status=401)
        named = request.headers.get("PayPal-Request-Id", "").removesuffix("-prepare")
        return web.json_response(order(custom_id=named, payments={}, status="CREATED"))


@pytest.fixture
async def clerk() -> AsyncIterator[Clerk]:
    clerk = Clerk()
    app = web.Application()
    app.add_routes([web.post("/v1/oauth2/token", clerk.token), web.post("/{at:.*}", clerk.other)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clerk.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield clerk
    await runner.cleanup()


@pytest.fixture
async def provider(clerk: Clerk) -> AsyncIterator[PayPalProvider]:
    provider = paypal_adapter(clerk.url)
    yield provider
    await provider.close()


def prepare(provider: PayPalProvider, key: str = "txn_1-1") -> Awaitable[object]:
    return provider.prepare(charge_call(APPROVED, key))


async def test_a_hundred_callers_wait_for_one_token(clerk: Clerk, provider: PayPalProvider):
    clerk.may_answer.clear()
    calls = [asyncio.ensure_future(prepare(provider, f"txn_{each}-1")) for each in range(100)]
    await clerk.was_asked.wait()

    clerk.may_answer.set()
    outcomes = await asyncio.gather(*calls)

    assert clerk.given == 1
    assert all(isinstance(each, Prepared) for each in outcomes)


async def test_a_caller_that_gives_up_leaves_the_others_their_token(
    clerk: Clerk, provider: PayPalProvider
):
    clerk.may_answer.clear()
    first = asyncio.ensure_future(prepare(provider))
    second = asyncio.ensure_future(prepare(provider, "txn_2-1"))
    await clerk.was_asked.wait()

    first.cancel()
    clerk.may_answer.set()

    assert isinstance(await second, Prepared)
    assert clerk.given == 1


async def test_a_token_is_kept_and_one_that_nears_its_end_is_renewed_while_it_works(
    clerk: Clerk, provider: PayPalProvider
):
    clerk.life_s = 2
    await prepare(provider)
    clerk.may_answer.clear()

    async with asyncio.timeout(WAIT_S):
        # Nobody waits for the new one as long as the old one works.
        while clerk.given < 2:
            assert isinstance(await prepare(provider), Prepared)
        clerk.may_answer.set()
        while clerk.seen[-1][0] != "token-2":
            assert isinstance(await prepare(provider), Prepared)

    assert {token for token, _ in clerk.seen} == {"token-1", "token-2"}
    assert clerk.given == 2


async def test_a_401_renews_once_and_sends_the_same_request_id(
    clerk: Clerk, provider: PayPalProvider
):
    await prepare(provider)
    clerk.refused.add("token-1")

    outcome = await prepare(provider, "txn_2-1")

    assert isinstance(outcome, Prepared)
    assert clerk.seen[1:] == [("token-1", "txn_2-1-prepare"), ("token-2", "txn_2-1-prepare")]


async def test_many_that_hear_401_at_once_renew_once(clerk: Clerk, provider: PayPalProvider):
    await prepare(provider)
    clerk.refused.add("token-1")

    outcomes = await asyncio.gather(*(prepare(provider, f"txn_{each}-1") for each in range(20)))

    assert all(isinstance(each, Prepared) for each in outcomes)
    assert clerk.given == 2


async def test_a_late_401_about_the_old_token_leaves_the_new_one(
    clerk: Clerk, provider: PayPalProvider
):
    await prepare(provider)
    clerk.refused.add("token-1")
    slow = asyncio.ensure_future(prepare(provider, "txn_slow-1"))
    await clerk.slow_came.wait()
    await prepare(provider, "txn_2-1")

    clerk.slow_may_go.set()

    assert isinstance(await slow, Prepared)
    assert clerk.given == 2


async def test_a_second_401_is_the_accounts_fault_and_proves_nothing(
    clerk: Clerk, provider: PayPalProvider
):
    clerk.refused |= {"token-1", "token-2"}

    outcome = await prepare(provider)

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable, outcome.conclusive) == (
        "provider_misconfigured",
        True,
        False,
    )
    assert len(clerk.seen) == 2


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, b'{"error":"invalid_client"}', "provider_misconfigured"),
        (429, b"{}", "too_many_requests"),
        (503, b"", "not_sent"),
        (200, b"<html>", "not_sent"),
        (200, b'{"access_token":"x\\r\\nHost: y","expires_in":9}', "not_sent"),
        (200, b'{"access_token":"x","expires_in":0}', "not_sent"),
    ],
)
async def test_without_a_token_nothing_leaves_and_it_is_said_so(
    clerk: Clerk, provider: PayPalProvider, status: int, body: bytes, code: str
):
    clerk.status, clerk.body = status, body

    outcome = await prepare(provider)
    found = await provider.find("txn_1-1", "ORDER1")

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == (code, False)
    assert isinstance(found, Unknown)
    assert clerk.seen == []


async def test_a_call_whose_node_lost_its_place_while_the_token_came_does_not_leave(
    clerk: Clerk, provider: PayPalProvider
):
    clerk.may_answer.clear()
    may_act = True
    with only_while(lambda: may_act):
        call = asyncio.ensure_future(prepare(provider))
    await clerk.was_asked.wait()

    may_act = False
    clerk.may_answer.set()
    outcome = await call

    assert outcome == Declined(code="not_sent", message=BARRED, retryable=True, conclusive=False)
    assert clerk.given == 1
    assert clerk.seen == []


async def test_a_token_that_does_not_come_is_waited_for_no_longer_than_the_deadline(clerk: Clerk):
    provider = paypal_adapter(clerk.url, pace=Pace(deadline_s=0.2))
    clerk.may_answer.clear()

    async with asyncio.timeout(WAIT_S):
        outcome = await prepare(provider)
    clerk.may_answer.set()
    await provider.close()

    assert isinstance(outcome, Declined)
    assert outcome.code == "not_sent"


async def test_a_sandbox_that_forgot_its_tokens_is_asked_for_another():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        provider = paypal_adapter(rig.sandbox.url)
        first: Outcome = await provider.charge(charge_call(APPROVED, "txn_1-1"))
        clock.advance(40_000)

        second = await provider.charge(charge_call(APPROVED, "txn_2-1"))
        await provider.close()

        tokens = [call for call in await rig.calls() if call["operation"] == "token"]
        assert isinstance(first, Approved)
        assert isinstance(second, Approved)
        assert len(tokens) == 2
