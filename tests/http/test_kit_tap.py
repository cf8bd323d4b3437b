"""The kit's own instruments: what the tap does to a line, and what a case can come to."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from paygate_http.kit import troubles
from paygate_http.kit.accounts import SANDBOX
from paygate_http.kit.runner import run
from paygate_http.kit.stand import Stand
from paygate_http.kit.tap import Spoil, Tap
from paygate_http.kit.verdicts import Case, CaseFailed, NotApplicable, Skipped, Verdict, expect


class End:
    """A provider's end that says what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[tuple[str, str, bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.heard.append((request.method, request.raw_path, body))
        said = {"amount": 1000, "currency": "USD", "said": body.decode()}
        return web.json_response(said, headers={"X-Own": "kept"})


@asynccontextmanager
async def tapped() -> AsyncGenerator[tuple[End, Tap, aiohttp.ClientSession]]:
    end = End()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", end.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    end.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Tap(end.url) as tap, aiohttp.ClientSession(tap.url) as session:
            yield end, tap, session
    finally:
        await runner.cleanup()


async def test_what_passes_is_not_changed_and_is_written_down():
    async with (
        tapped() as (end, tap, session),
        session.post("/a%2Fb?c=d", data=b"body", headers={"X-Key": "k"}) as answer,
    ):
        said = await answer.json()

    assert end.heard == [("POST", "/a%2Fb?c=d", b"body")]
    assert (said["said"], answer.headers["X-Own"]) == ("body", "kept")
    (seen,) = tap.seen
    assert (seen.method, seen.path, seen.headers["x-key"]) == ("POST", "/a%2Fb?c=d", "k")


async def test_only_the_request_that_is_meant_is_struck():
    async with tapped() as (_, tap, session):
        tap.spoil_next(troubles.refused_with(503), skips=1, mentions="ours")
        statuses: list[int] = []
        for method, body in (
            ("GET", b""),
            ("POST", b"theirs"),
            ("POST", b"ours 1"),
            ("POST", b"ours 2"),
            ("POST", b"ours 3"),
        ):
            async with session.request(method, "/x", data=body or None) as answer:
                statuses.append(answer.status)

    assert statuses == [200, 200, 200, 503, 200]


@pytest.mark.parametrize(
    ("spoil", "arrives"), [(troubles.request_lost, False), (troubles.answer_lost, True)]
)
async def test_a_lost_request_never_arrives_and_a_lost_answer_comes_from_one_that_did(
    spoil: Spoil, *, arrives: bool
):
    async with tapped() as (end, tap, session):
        tap.spoil_next(spoil)

        with pytest.raises(aiohttp.ClientError):
            await session.post("/x", data=b"body")

        assert bool(end.heard) is arrives


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (troubles.html, troubles.HTML),
        (troubles.empty, b""),
        (troubles.with_nan, b'{"amount": NaN, "currency": "USD", "said": "x"}'),
        (
            troubles.in_currency("USD", "EUR"),
            b'{"amount": 1000, "currency": "EUR", "said": "x"}',
        ),
        (troubles.cut_off, b'{"amount": 1000, "curren'),
    ],
)
async def test_an_answer_is_spoilt_on_its_way_back(change: troubles.Change, expected: bytes):
    async with tapped() as (end, tap, session):
        tap.spoil_next(troubles.answered_with(change))
        async with session.post("/x", data=b"x") as answer:
            body = await answer.read()

    assert body == expected
    assert len(end.heard) == 1


async def test_two_calls_get_each_others_answers():
    async with tapped() as (_, tap, session):
        for name, side in zip(("first", "second"), troubles.swapped(), strict=True):
            tap.spoil_next(side, mentions=name)

        async def ask(name: str) -> str:
            async with session.post("/x", data=name.encode()) as answer:
                return (await answer.json())["said"]

        said = await asyncio.gather(ask("first"), ask("second"))

    assert said == ["second", "first"]


async def test_whoever_follows_a_redirect_is_noticed():
    async with tapped() as (end, tap, session):
        tap.spoil_next(troubles.redirected)
        async with session.post("/x", data=b"x", allow_redirects=True) as answer:
            status = answer.status

    assert (status, tap.trapped) == (200, 1)
    assert end.heard == [("POST", "/x", b"x")]


async def verdict_of(check: Callable[[Stand], Awaitable[None]]) -> Verdict:
    case = Case(name="x", sentence="A promise.", check=check)
    report = await run(SANDBOX, [case], seed=1)
    return report.verdicts[0]


async def test_whatever_a_case_raises_is_a_verdict():
    async def kept(_: Stand) -> None:
        expect(kept=True, seen="nothing")

    async def broken(_: Stand) -> None:
        raise CaseFailed("seen")

    async def beside(_: Stand) -> None:
        raise NotApplicable("says so")

    async def impossible(_: Stand) -> None:
        raise Skipped("no desk")

    async def raising(_: Stand) -> None:
        raise KeyError("status")

    verdicts = [await verdict_of(each) for each in (kept, broken, beside, impossible, raising)]

    assert [(each.word, each.reason) for each in verdicts] == [
        ("passed", ""),
        ("failed", "seen"),
        ("not applicable", "says so"),
        ("skipped", "no desk"),
        ("failed", "it raised KeyError: 'status'"),
    ]
