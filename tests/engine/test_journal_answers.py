"""What the journal tells callers, house and log: word by word where somebody acts on it."""

import asyncio
import logging
from collections.abc import Sequence

import msgspec
import pytest
from journal_rig import House, SlowStore, unit
from store_suite import booking, entry, event, item

from paygate_engine import journal as journal_module
from paygate_engine.chain import Head
from paygate_engine.errors import Overloaded, StoreFailed, StoreFull
from paygate_engine.journal import HEAD_ROWS, HEAD_S, Journal
from paygate_engine.stores.base import AuditRow, Claim, Conflict, Done, Unit, Wake
from paygate_engine.system import ActorSystem


@pytest.fixture
async def house() -> House:
    return await House().start()


async def write(house: House, stream: str, seq: int = 1) -> None:
    """Commit one unit, without a drain behind it."""
    async with asyncio.timeout(5):
        assert await house.journal.append_wait(unit(stream, seq)) is None


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records]


async def test_a_new_journal_has_room_and_has_not_failed(house: House) -> None:
    assert house.journal.full is False
    assert house.journal.failed is None
    assert set(msgspec.structs.astuple(house.journal.stats)) == {0}


async def test_what_was_committed_under_a_name_is_read_under_that_name(house: House) -> None:
    await write(house, "a")
    await write(house, "b")

    assert await house.journal.read_stream("b") == [event("b", 1)]
    assert await house.journal.read_stream("c") == []


async def test_each_refusal_for_want_of_room_says_why_and_keeps_its_cause(house: House) -> None:
    error = StoreFull("no room")
    house.store.errors.append(error)
    house.append("a")
    house.append("b")

    await house.drain()

    first, second = (answer for _, answer in house.answers)
    assert isinstance(first, StoreFull) and isinstance(second, StoreFull)
    assert (str(first), str(second)) == ("no room", "no room")
    assert first.__cause__ is error and second.__cause__ is error


async def test_who_waits_for_an_answer_is_raised_the_refusal(house: House) -> None:
    house.store.errors.append(StoreFull("no room"))

    async with asyncio.timeout(5):
        with pytest.raises(StoreFull, match="no room"):
            await house.journal.append_wait(unit("a"))


async def test_who_waits_for_an_answer_is_raised_the_failure_too(house: House) -> None:
    house.store.errors.append(OSError(5, "I/O"))

    async with asyncio.timeout(5):
        with pytest.raises(StoreFailed, match="I/O"):
            await house.journal.append_wait(unit("a"))


async def test_a_failure_that_the_store_explains_is_passed_on_as_it_is(house: House) -> None:
    error = StoreFailed("torn")
    house.store.errors.append(error)
    house.append("a")
    house.append("b")

    await house.drain()

    assert house.journal.failed is error
    assert house.fatal == [error]
    answers = [answer for _, answer in house.answers]
    assert [str(answer) for answer in answers] == ["torn", "torn"]
    assert all(isinstance(each, StoreFailed) and each.__cause__ is error for each in answers)
    assert answers[0] is not answers[1]


async def test_a_failure_that_nobody_foresaw_is_named_and_kept_as_the_cause(house: House) -> None:
    error = OSError(5, "I/O")
    house.store.errors.append(error)
    house.append("a")

    await house.drain()

    failed = house.journal.failed
    assert isinstance(failed, StoreFailed)
    assert str(failed) == f"the commit ended in {error!r}"
    assert failed.__cause__ is error
    ((_, answer),) = house.answers
    assert isinstance(answer, StoreFailed)
    assert str(answer) == str(failed) and answer.__cause__ is failed
    # The task that wrote the group has nothing more to tell: everybody has heard.
    assert house.tasks[-1].exception() is None


async def test_a_cancelled_commit_stays_cancelled(house: House) -> None:
    house.store.hold()
    house.append("a")
    await house.committing()

    house.tasks[-1].cancel()
    await asyncio.wait(house.tasks, timeout=5)

    assert house.tasks[-1].cancelled()
    assert "CancelledError" in str(house.journal.failed)


async def test_after_a_failure_every_unit_is_refused_with_what_happened(house: House) -> None:
    house.store.errors.append(StoreFailed("torn"))
    house.append("a")
    await house.drain()

    with pytest.raises(StoreFailed, match=r"^the journal has failed before$") as refused:
        house.append("b")

    assert refused.value.__cause__ is house.journal.failed


async def test_a_journal_that_cannot_find_its_end_has_failed_before_it_began() -> None:
    house = House()  # whose store nobody opened

    with pytest.raises(StoreFailed, match="not open") as caught:
        await house.journal.start()

    assert house.journal.failed is caught.value
    assert house.fatal == [caught.value]
    with pytest.raises(StoreFailed, match="failed before"):
        house.append("a")


async def test_a_drain_before_the_start_has_nothing_to_wait_for() -> None:
    house = House()

    await house.drain()

    assert house.heads == []


async def test_a_failed_journal_publishes_no_end_of_its_chain(house: House) -> None:
    await write(house, "a")
    house.store.errors.append(StoreFailed("torn"))
    house.append("b")

    await house.drain()

    assert house.heads == []


async def test_a_store_that_answers_for_another_number_of_units_is_not_believed() -> None:
    class Miscounting(SlowStore):
        async def commit(
            self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
        ) -> list[Conflict | None]:
            return [Conflict(what="event", name="a/1")]

    house = House(store=Miscounting())
    await house.start()
    house.append("a")
    house.append("b")

    await house.drain()

    assert isinstance(house.journal.failed, StoreFailed)
    assert isinstance(house.answers[1][1], StoreFailed)


async def test_a_unit_may_be_as_large_as_the_limit_and_no_larger(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = Unit(events=(event("a", 1, bytes(1_000)),))
    size = len(msgspec.msgpack.encode(largest))
    monkeypatch.setattr(journal_module, "UNIT_BYTES_MAX", size)

    assert await house.journal.append_wait(largest) is None

    with pytest.raises(ValueError, match=f"a unit of {size + 1} bytes; the limit is {size}"):
        house.journal.append(Unit(events=(event("a", 2, bytes(1_001)),)), house.waiter("a"))


async def test_a_full_backlog_says_how_many_wait() -> None:
    house = await House(backlog_max=1).start()
    house.append("a")

    with pytest.raises(Overloaded, match=r"^1 units wait for the journal$"):
        house.append("b")

    await house.drain()


async def test_the_stats_add_up_over_groups_and_count_every_kind_of_row(house: House) -> None:
    everything = Unit(
        events=(event("a", 1),),
        documents=(booking(1), booking(2)),
        claims=tuple(Claim(name=f"n{number}", stream="a", body=b"") for number in range(3)),
        items=tuple(item(number) for number in range(4)),
        done=tuple(Done(queue="mail", id=f"itm_{number:04}", at_us=1) for number in range(5)),
        wakes=tuple(Wake(stream=f"s{number}", at_us=None) for number in range(6)),
        audit=(entry("a"),),
    )

    assert await house.journal.append_wait(everything) is None
    await write(house, "b")
    for stream in ("a", "b"):
        assert await house.journal.append_wait(unit(stream)) is not None

    stats = house.journal.stats
    assert (stats.groups, stats.units, stats.rows, stats.last_group_units) == (2, 2, 22 + 2, 1)
    assert stats.conflicts == 2


async def test_an_end_is_published_with_its_thousandth_row_and_then_counted_anew(
    house: House,
) -> None:
    for seq in range(1, 2 * HEAD_ROWS):
        await write(house, "a", seq)

    assert [head.n for head in house.heads] == [HEAD_ROWS]

    await write(house, "a", 2 * HEAD_ROWS)
    assert [head.n for head in house.heads] == [HEAD_ROWS, 2 * HEAD_ROWS]


async def test_an_end_is_published_when_its_time_has_come_and_then_waited_for_anew(
    house: House,
) -> None:
    house.clock.advance(HEAD_S)
    await write(house, "a", 1)
    await write(house, "a", 2)
    house.clock.advance(HEAD_S - 0.001)
    await write(house, "a", 3)

    assert [head.n for head in house.heads] == [1]

    house.clock.advance(0.001)
    await write(house, "a", 4)
    assert [head.n for head in house.heads] == [1, 4]


async def test_an_error_in_who_publishes_takes_nothing_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def on_head(head: Head) -> None:
        raise ZeroDivisionError

    house = await House(on_head=on_head).start()
    house.append("a")

    await house.drain()

    assert house.answers == [("a/1", None)]
    assert house.journal.failed is None
    (told,) = caplog.records
    assert (told.levelname, told.getMessage()) == ("ERROR", "on_head raised")
    assert told.exc_info is not None


async def test_want_of_room_is_told_once_until_there_was_room_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused() -> None:
        house.store.errors.append(StoreFull("no room at all"))
        with pytest.raises(StoreFull):
            await house.journal.append_wait(unit("a"))

    await refused()
    await refused()
    assert levels(caplog) == ["ERROR"]
    assert "no room on the disk" in caplog.text
    assert "no room at all" in caplog.text

    await write(house, "a")
    assert house.journal.full is False
    await refused()
    assert levels(caplog) == ["ERROR", "ERROR"]


async def test_a_failure_is_told_once_as_critical_with_its_reason(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.store.errors.append(StoreFailed("torn at byte 7"))
    house.append("a")
    await house.drain()
    house.store.read_error = StoreFailed("torn again")

    with pytest.raises(StoreFailed, match="torn again"):
        await house.journal.read_stream("a")

    assert levels(caplog) == ["CRITICAL"]
    assert "the journal has failed: torn at byte 7" in caplog.text
    assert len(house.fatal) == 1


async def test_errors_of_others_are_told_with_where_they_come_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def raising(_: object) -> None:
        raise ZeroDivisionError

    house = await House(on_fatal=raising).start()
    house.journal.append(unit("a"), raising)
    await house.drain()
    house.store.errors.append(StoreFailed("torn"))
    house.append("b")
    await house.drain()

    told = [
        (record.getMessage(), record.exc_info is not None)
        for record in caplog.records
        if record.levelno == logging.ERROR
    ]
    assert told == [("a waiter of the journal raised", True), ("on_fatal raised", True)]


async def test_a_journal_opened_for_a_system_opens_its_store_and_fails_with_the_system(
    system: ActorSystem,
) -> None:
    store = SlowStore()

    journal = await Journal.open(store, system, backlog_max=1)

    assert await journal.append_wait(unit("a")) is None
    assert (await store.audit_head())[0] == 1
    store.errors.append(StoreFailed("torn"))
    journal.append(unit("b"), lambda _: None)
    with pytest.raises(Overloaded):
        journal.append(unit("c"), lambda _: None)
    async with asyncio.timeout(5):
        await journal.drain()
    assert system.failure is journal.failed is not None
