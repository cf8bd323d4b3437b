"""Entities and regions: record first, wake by id, restart from the journal, park, sleep."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from account_rig import Account, Add, Fail, Get, Memory, Twice, added, until

from paygate_engine.clock import ManualClock
from paygate_engine.errors import (
    Conflicted,
    Corrupt,
    NotFound,
    Overloaded,
    Parked,
    StoreFailed,
    StoreFull,
)
from paygate_engine.region import Region
from paygate_engine.stores.base import Conflict, Unit
from paygate_engine.system import ActorSystem


@pytest.fixture
def journal() -> Memory:
    return Memory()


@pytest.fixture
async def region(system: ActorSystem, journal: Memory) -> AsyncIterator[Region[Account]]:
    region = Region(system, journal, lambda key: Account(system, key), prefix="acc_")
    yield region
    assert len(region) == sum(1 for cell in system.cells.values() if cell.parent is region)


async def test_a_created_entity_records_before_it_answers(
    region: Region[Account], journal: Memory
) -> None:
    journal.held = True
    account = region.create("acc_1")
    asked = region.ask("acc_1", Add(5), timeout=1)
    await until(lambda: journal.waiting)

    before = (account.total, account.seq, asked.done())
    journal.commit()

    assert before == (0, 0, False)
    assert await asked == 5
    assert (account.total, account.seq) == (5, 1)


async def test_later_messages_wait_until_the_commit_is_known(
    region: Region[Account], journal: Memory
) -> None:
    journal.held = True
    region.create("acc_1")
    first = region.ask("acc_1", Add(5), timeout=1)
    second = region.ask("acc_1", Get(), timeout=1)
    await until(lambda: journal.waiting)
    for _ in range(5):
        await asyncio.sleep(0)

    seen = second.done()
    journal.commit()

    assert not seen
    assert [await first, await second] == [5, 5]


async def test_then_may_record_again(region: Region[Account], journal: Memory) -> None:
    region.create("acc_1")

    assert await region.ask("acc_1", Twice(4), timeout=1) == 12

    assert [event.seq for event in journal.streams["acc_1"]] == [1, 2, 3]


async def test_a_message_wakes_a_sleeping_id_and_others_wait_in_order(
    region: Region[Account], journal: Memory
) -> None:
    journal.write(tuple(added("acc_1", seq, 10) for seq in (1, 2, 3)))

    asks = [region.ask("acc_1", Add(1), timeout=1) for _ in range(3)]
    asleep = region.active("acc_1")
    replies = [await ask for ask in asks]

    assert asleep is None
    assert replies == [31, 32, 33]
    assert journal.reads == ["acc_1"]
    account = region.active("acc_1")
    assert account is not None
    assert account.loaded == 1


@pytest.mark.parametrize("key", ["acc_unknown", "other_1"])
async def test_an_id_without_a_stream_is_not_found(
    region: Region[Account], system: ActorSystem, journal: Memory, key: str
) -> None:
    with pytest.raises(NotFound):
        await region.ask(key, Get(), timeout=1)
    region.tell(key, Get())
    await until(lambda: system.dead_letters.total("not_found"))

    assert len(region) == 0
    assert ("other_1" in journal.reads) is False


async def test_an_id_from_outside_does_not_reach_another_kind_of_actor(
    system: ActorSystem, journal: Memory
) -> None:
    everything = Region(system, journal, lambda key: Account(system, key))
    others = Region(system, journal, lambda key: Account(system, key))
    everything.create("fraud")

    with pytest.raises(NotFound):
        await others.ask("fraud", Get(), timeout=1)


async def test_at_most_so_many_load_at_once_and_the_rest_is_refused(
    system: ActorSystem, journal: Memory
) -> None:
    journal.read_gate = asyncio.Event()
    region = Region(
        system, journal, lambda key: Account(system, key), load_concurrency=2, waiting_max=3
    )
    for number in range(6):
        journal.write((added(f"a{number}", 1, number),))

    asks = [region.ask(f"a{number}", Get(), timeout=1) for number in range(6)]
    with pytest.raises(Overloaded):
        region.tell("a5", Get())
    journal.read_gate.set()

    assert [await ask for ask in asks[:5]] == [0, 1, 2, 3, 4]
    assert isinstance(asks[5].exception(), Overloaded)
    assert journal.reading_max == 2


async def test_a_conflict_reads_the_state_back_and_decides_again(
    region: Region[Account], journal: Memory
) -> None:
    account = region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)
    journal.write((added("acc_1", 2, 100),))

    total = await region.ask("acc_1", Add(1), timeout=1)

    assert total == 102
    assert (account.seq, account.total) == (3, 102)


async def test_conflicts_without_end_become_an_error_and_leave_a_fresh_state(
    region: Region[Account], journal: Memory
) -> None:
    account = region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)
    conflict = Conflict(what="claim", name="key")
    journal.answers = [conflict] * 3

    with pytest.raises(Conflicted) as raised:
        await region.ask("acc_1", Add(1), timeout=1)

    assert raised.value.conflict == conflict
    assert await region.ask("acc_1", Get(), timeout=1) == 1
    assert account.seq == 1


async def test_a_new_entity_that_cannot_claim_does_not_stay(
    region: Region[Account], journal: Memory
) -> None:
    region.create("acc_1")
    journal.answers = [Conflict(what="claim", name="key")] * 3
    asked = region.ask("acc_1", Add(1), timeout=1)
    waiting = region.ask("acc_1", Get(), timeout=1)

    for ask in (asked, waiting):
        with pytest.raises(Conflicted):
            await ask

    assert len(region) == 0


@pytest.mark.parametrize("how", ["append", "commit"])
@pytest.mark.parametrize("way", ["tell", "ask"])
async def test_what_finds_no_room_changes_nothing(
    region: Region[Account], journal: Memory, how: str, way: str
) -> None:
    account = region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)
    error = Overloaded("backlog") if how == "append" else StoreFull("disk")
    if how == "append":
        journal.refuse = error
    else:
        journal.answers = [error]

    if way == "ask":
        with pytest.raises(type(error)):
            await region.ask("acc_1", Add(1), timeout=1)
    else:
        region.tell("acc_1", Add(1))
        await until(lambda: account.refused)
        assert account.refused == [error]

    journal.refuse = None
    assert (account.total, account.seq) == (1, 1)
    assert await region.ask("acc_1", Add(1), timeout=1) == 2


@pytest.mark.parametrize("how", ["append", "commit"])
async def test_a_failed_journal_ends_the_entity_and_tells_everyone(
    region: Region[Account], journal: Memory, how: str
) -> None:
    region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)
    if how == "append":
        journal.refuse = StoreFailed("disk")
    else:
        journal.answers = [StoreFailed("disk")]
    asks = [region.ask("acc_1", Add(1), timeout=1) for _ in range(2)]

    for ask in asks:
        with pytest.raises(StoreFailed):
            await ask

    assert len(region) == 0


@pytest.mark.parametrize("where", ["handler", "after persist", "then"])
@pytest.mark.parametrize("way", ["tell", "ask"])
async def test_after_a_failure_the_state_is_that_of_the_journal(
    region: Region[Account], journal: Memory, where: str, way: str
) -> None:
    account = region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)

    failed = getattr(region, way)("acc_1", Fail(where=where), **_timeout(way))
    total = region.ask("acc_1", Get(), timeout=1)

    if way == "ask":
        with pytest.raises(ValueError, match="planted"):
            await failed
    recorded = 1 if where == "handler" else 8
    assert await total == recorded
    assert region.active("acc_1") is account
    assert account.loaded == 1


async def test_who_fails_too_often_is_parked_and_can_be_released(
    system: ActorSystem, journal: Memory, clock: ManualClock
) -> None:
    heard: list[tuple[str, str]] = []
    region = Region(
        system,
        journal,
        lambda key: Account(system, key),
        on_parked=lambda key, error: heard.append((key, str(error))),
    )
    region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)
    for _ in range(4):
        with pytest.raises(ValueError, match="planted"):
            await region.ask("acc_1", Fail(where="handler"), timeout=1)

    with pytest.raises(Parked):
        await region.ask("acc_1", Get(), timeout=1)
    region.tell("acc_1", Get())

    assert heard == [("acc_1", "planted")]
    assert system.dead_letters.total("parked") == 1
    assert system.failure is None
    assert region.release("acc_1")
    assert await region.ask("acc_1", Get(), timeout=1) == 1


async def test_failures_far_apart_do_not_park(region: Region[Account], clock: ManualClock) -> None:
    region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=100)

    for _ in range(8):
        with pytest.raises(ValueError, match="planted"):
            await region.ask("acc_1", Fail(where="handler"), timeout=100)
        clock.advance(21)

    assert await region.ask("acc_1", Get(), timeout=100) == 1


async def test_a_stream_that_cannot_be_read_parks_its_entity(
    region: Region[Account], journal: Memory
) -> None:
    journal.read_error = Corrupt("acc_1")

    with pytest.raises(Parked):
        await region.ask("acc_1", Get(), timeout=1)

    assert isinstance(region.parked["acc_1"], Corrupt)


async def test_who_may_sleep_is_let_go_when_too_many_linger(
    system: ActorSystem, journal: Memory
) -> None:
    region = Region(system, journal, lambda key: Account(system, key), linger_max=2)
    for number in range(5):
        region.create(f"a{number}").open = number == 0
        await region.ask(f"a{number}", Add(number), timeout=1)

    awake = [key for key in journal.streams if region.active(key)]

    assert awake == ["a0", "a3", "a4"]
    assert await region.ask("a1", Get(), timeout=1) == 1


async def test_events_that_do_not_follow_on_are_refused(region: Region[Account]) -> None:
    account = region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)
    account.seq = 5

    with pytest.raises(ValueError, match="event 1 where 6"):
        account.persist(Unit(events=(added("acc_1", 1, 1),)), lambda: None)
    account.seq = 1


async def test_a_life_leaves_no_cyclic_garbage(
    system: ActorSystem, journal: Memory, clock: ManualClock
) -> None:
    region = Region(system, journal, lambda key: Account(system, key), linger_max=0)
    gc.collect()
    gc.disable()
    try:
        for number in range(200):
            region.create(f"a{number}")
            assert await region.ask(f"a{number}", Add(1), timeout=1) == 1
            assert await region.ask(f"a{number}", Get(), timeout=1) == 1
        clock.advance(2)
        found = _ours_in_cycles()
    finally:
        gc.enable()

    assert len(region) == 0
    assert found == []


async def test_a_failure_that_is_caught_leaves_no_cyclic_garbage(
    system: ActorSystem, journal: Memory, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    # A log record that is kept keeps the error, and what is kept is no garbage.
    caplog.set_level("CRITICAL", logger="paygate_engine")
    region = Region(system, journal, lambda key: Account(system, key), linger_max=0)
    region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)
    gc.collect()
    gc.disable()
    try:
        await _failing(region)
        clock.advance(2)
        found = _ours_in_cycles()
    finally:
        gc.enable()

    assert found == []


async def _failing(region: Region[Account]) -> None:
    with pytest.raises(ValueError, match="planted"):
        await region.ask("acc_1", Fail(where="handler"), timeout=1)


def _ours_in_cycles() -> list[str]:
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found = [
            type(thing).__qualname__
            for thing in gc.garbage
            if type(thing).__module__.startswith(("paygate_engine", "test_entities"))
        ]
        gc.garbage.clear()
    finally:
        gc.set_debug(0)
    return found


def _timeout(way: str) -> dict[str, float]:
    return {"timeout": 1} if way == "ask" else {}
