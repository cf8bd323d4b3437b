"""A part that raises: 500 with the request's id and nothing else, and the journal's state holds."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from inside_gateway import Inside, inside, sandbox_aside
from live_gateway import Live, payment_request, visiting

from paygate_actors.projection import KINDS
from paygate_engine.stores.base import Event
from paygate_engine.stores.sqlite import SqliteStore

pytestmark = pytest.mark.slow

SECRET = "the reason, which is nobody's business"


class Broken(Exception):
    """A bug, as far as the gateway knows."""


class FaultyStore(SqliteStore):
    """The real store, with a bug in reading that can be switched on."""

    broken = False

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Read, or fail as a bug does."""
        if self.broken:
            raise Broken(SECRET)
        return await super().read_stream(stream, after_seq=after_seq)


@pytest.fixture
async def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path / "data", KINDS)


@pytest.fixture
async def running(tmp_path: Path, store: FaultyStore) -> AsyncGenerator[Inside]:
    async with sandbox_aside(tmp_path) as sandbox, inside(tmp_path, sandbox, store=store) as found:
        yield found


@pytest.fixture
async def live(running: Inside) -> AsyncGenerator[Live]:
    async with visiting(running.url) as client:
        yield client


async def test_a_handler_that_raises_gives_500_with_the_requests_id_and_nothing_else(
    live: Live, store: FaultyStore
):
    paid = await live.pay()
    store.broken = True

    answer = await live.call(
        "GET", f"/api/payments/{paid['id']}/events", headers={"X-Request-ID": "broken-1"}
    )

    assert answer.code == (500, "internal_error")
    assert answer.headers["X-Request-ID"] == answer.body["requestID"] == "broken-1"
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert "Broken" not in answer.text
    store.broken = False
    assert await live.payment(paid["id"]) == paid


async def test_after_a_payment_failed_in_the_middle_its_state_is_the_journals(
    live: Live, running: Inside, monkeypatch: pytest.MonkeyPatch
):
    paid = await live.pay()
    before = await live.events(paid["id"])

    def raises(*_: Any, **__: Any) -> Any:
        raise Broken(SECRET)

    with monkeypatch.context() as patched:
        # A decision with a bug, at the point where it has begun to draft.
        patched.setattr("paygate_actors.operating.start_refund", raises)
        failed = await live.operate(paid["id"], "refund", {"amount": 1})

    refund = await live.done(paid["id"], "refund", {"amount": 10})
    assert failed.code == (500, "internal_error")
    assert SECRET not in failed.text
    assert refund["status"] == "success"
    ended = await live.agreed(paid["id"])
    assert (ended["status"], ended["amountRefunded"]) == ("success", 10)
    assert (await live.events(paid["id"]))[: len(before)] == before
    assert running.failures == []


async def test_a_payment_that_fails_does_not_disturb_the_others(
    live: Live, monkeypatch: pytest.MonkeyPatch
):
    sick, well = await live.pay(), await live.pay()

    def raises(draft: Any, command: Any, *_: Any) -> Any:
        raise Broken(SECRET)

    with monkeypatch.context() as patched:
        patched.setattr("paygate_actors.operating.capture", raises)
        failed: Sequence[Any] = await asyncio.gather(
            *(live.operate(sick["id"], "capture") for _ in range(3)),
        )

    assert {answer.status for answer in failed} <= {500, 503}
    assert (await live.done(well["id"], "refund"))["status"] == "success"
    assert (await live.process(payment_request())).body["status"] == "success"
