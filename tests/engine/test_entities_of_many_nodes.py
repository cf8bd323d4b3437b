"""An entity whose stream other nodes write to as well: it decides on the newest state, or again."""

from typing import Any

import pytest
from account_rig import Account, Add, Get, Memory, added, until

from paygate_engine.clock import ManualClock
from paygate_engine.errors import Overloaded
from paygate_engine.region import REREAD_S, Region
from paygate_engine.system import ActorSystem

EPOCH = 7


class Shared(Account):
    """Adds without a look for what is new; everything else is done on the newest state."""

    __slots__ = ("caught_up",)

    optimistic = frozenset({Add})

    def __init__(self, system: ActorSystem, key: str) -> None:
        super().__init__(system, key)
        self.caught_up: list[int] = []

    def on_caught_up(self) -> None:
        self.caught_up.append(self.seq)


@pytest.fixture
def journal() -> Memory:
    return Memory()


@pytest.fixture
async def region(system: ActorSystem, journal: Memory) -> Region[Shared]:
    return Region(system, journal, lambda key: Shared(system, key), prefix="acc_", epoch=EPOCH)


async def made(region: Region[Shared]) -> Shared:
    account = region.create("acc_1")
    await region.ask("acc_1", Add(1), timeout=1)
    return account


async def test_a_question_is_answered_with_what_another_node_has_recorded(
    region: Region[Shared], journal: Memory
) -> None:
    account = await made(region)
    journal.write((added("acc_1", 2, 100),))

    total = await region.ask("acc_1", Get(), timeout=1)

    assert total == 101
    assert (account.loaded, account.caught_up) == (0, [2])


async def test_every_question_takes_a_new_look(region: Region[Shared], journal: Memory) -> None:
    await made(region)
    journal.write((added("acc_1", 2, 10),))
    first = await region.ask("acc_1", Get(), timeout=1)
    journal.write((added("acc_1", 3, 100),))

    assert (first, await region.ask("acc_1", Get(), timeout=1)) == (11, 111)


async def test_questions_that_wait_behind_one_another_each_take_a_look(
    region: Region[Shared], journal: Memory
) -> None:
    await made(region)
    reads = len(journal.reads)

    asked = [region.ask("acc_1", Get(), timeout=1) for _ in range(3)]

    assert [await each for each in asked] == [1, 1, 1]
    assert len(journal.reads) - reads == 3


async def test_what_is_optimistic_is_recorded_without_a_look_and_again_after_a_conflict(
    region: Region[Shared], journal: Memory
) -> None:
    account = await made(region)
    reads = len(journal.reads)

    await region.ask("acc_1", Add(1), timeout=1)
    assert len(journal.reads) == reads
    journal.write((added("acc_1", 3, 100),))
    total = await region.ask("acc_1", Add(1), timeout=1)

    assert total == 103
    assert (account.seq, account.loaded, account.caught_up) == (4, 0, [3])


async def test_an_only_node_never_looks(system: ActorSystem, journal: Memory) -> None:
    alone = Region(system, journal, lambda key: Shared(system, key), prefix="acc_")
    await made(alone)

    await alone.ask("acc_1", Get(), timeout=1)

    assert journal.reads == []


async def test_recorded_events_bear_the_epoch(system: ActorSystem, journal: Memory) -> None:
    class Noter(Shared):
        __slots__ = ()

        def on_receive(self, message: Any) -> object:
            return self.record("added", b"3")

    region = Region(system, journal, lambda key: Noter(system, key), prefix="acc_", epoch=EPOCH)
    region.create("acc_1")

    await region.ask("acc_1", "note", timeout=1)

    assert [event.epoch for event in journal.streams["acc_1"]] == [EPOCH]


async def test_what_cannot_be_read_just_now_is_read_later_and_nothing_is_lost(
    region: Region[Shared], journal: Memory, clock: ManualClock
) -> None:
    await made(region)
    journal.write((added("acc_1", 2, 100),))
    journal.read_error = Overloaded("the database is away")
    asked = region.ask("acc_1", Get(), timeout=60)
    await until(lambda: len(journal.reads) == 1)
    journal.read_error = None

    clock.advance(REREAD_S + 0.1)

    assert await asked == 101
    assert region.parked == {}
