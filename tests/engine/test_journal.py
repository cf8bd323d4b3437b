"""The journal groups what arrives together, answers in order, and stops when the store fails."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from journal_rig import House, unit
from store_suite import event

from paygate_engine import journal as journal_module
from paygate_engine.chain import Head, rows_of, verify
from paygate_engine.errors import Overloaded, StoreFailed, StoreFull
from paygate_engine.journal import AGAIN_MAX, GROUP_MAX, HEAD_ROWS, HEAD_S, Answer, Journal
from paygate_engine.stores.base import AuditRow, Conflict, Unit


@pytest.fixture
async def house() -> House:
    return await House().start()


def names(numbers: range) -> Iterator[str]:
    return (f"s{number:04}" for number in numbers)


async def test_units_of_one_turn_of_the_loop_are_one_group(house: House) -> None:
    for stream in names(range(10)):
        house.append(stream)
    await house.drain()

    assert house.store.groups == [10]
    assert house.answers == [(f"{stream}/1", None) for stream in names(range(10))]


async def test_a_unit_is_answered_only_after_its_commit(house: House) -> None:
    house.store.hold()
    house.append("a")
    await house.committing()

    assert house.answers == []

    house.store.let_go()
    await house.drain()
    assert house.answers == [("a/1", None)]


async def test_what_arrives_during_a_commit_is_the_next_group(house: House) -> None:
    house.store.hold()
    house.append("a")
    await house.committing()
    for stream in names(range(5)):
        house.append(stream)

    assert house.journal.backlog == 5

    house.store.let_go()
    await house.drain()
    assert house.store.groups == [1, 5]
    assert house.journal.backlog == 0


async def test_a_group_has_a_bound_and_order_is_kept_across_groups(house: House) -> None:
    everybody = list(names(range(2 * GROUP_MAX + 1)))

    for stream in everybody:
        house.append(stream)
    await house.drain()

    assert house.store.groups == [GROUP_MAX, GROUP_MAX, 1]
    assert house.answers == [(f"{stream}/1", None) for stream in everybody]
    assert await house.chain() == Head(n=len(everybody), hash=(await house.store.audit_head())[1])


async def test_many_tasks_at_once_get_their_own_answers(house: House) -> None:
    async def write(number: int) -> Conflict | None:
        # Every third one wants a number that its neighbour before it has taken.
        stream = f"s{number - (number % 3 == 1)}"
        return await house.journal.append_wait(unit(stream))

    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(write(number) for number in range(300)))

    lost = [number for number, answer in enumerate(answers) if answer is not None]
    assert lost == [number for number in range(300) if number % 3 == 1]
    assert isinstance(await house.chain(), Head)
    assert (await house.store.audit_head())[0] == 200


async def test_a_conflict_leaves_its_unit_out_and_the_chain_whole(house: House) -> None:
    house.append("a")
    await house.drain()
    house.answers.clear()

    for stream in ("b", "a", "c"):
        house.append(stream)
    await house.drain()

    assert house.answers == [
        ("b/1", None),
        ("a/1", Conflict(what="event", name="a/1")),
        ("c/1", None),
    ]
    assert await house.store.read_stream("c") == [event("c", 1)]
    assert (await house.store.audit_head())[0] == 3
    assert isinstance(await house.chain(), Head)
    assert house.journal.stats.conflicts == 1


async def test_a_group_of_conflicts_alone_writes_nothing(house: House) -> None:
    house.append("a")
    await house.drain()

    house.append("a")
    await house.drain()

    assert house.answers[-1] == ("a/1", Conflict(what="event", name="a/1"))
    assert (await house.store.audit_head())[0] == 1
    house.append("b")
    await house.drain()
    assert isinstance(await house.chain(), Head)


async def test_a_waiter_that_raises_takes_no_answer_from_the_others(house: House) -> None:
    def broken(answer: Answer) -> None:
        raise ZeroDivisionError

    def cancelled(answer: Answer) -> None:
        raise asyncio.CancelledError

    house.journal.append(unit("a"), broken)
    house.journal.append(unit("b"), cancelled)
    house.append("c")
    await house.drain()
    house.append("d")
    await house.drain()

    assert house.answers == [("c/1", None), ("d/1", None)]
    assert house.journal.stats.waiter_errors == 2


async def test_a_waiter_may_append_the_next_unit(house: House) -> None:
    house.journal.append(unit("a"), lambda _: house.append("a", 2))

    await house.drain()

    assert house.answers == [("a/2", None)]


async def test_a_full_backlog_refuses_and_changes_nothing() -> None:
    house = await House(backlog_max=3).start()
    house.store.hold()
    house.append("a")
    await house.committing()
    for stream in "bcd":
        house.append(stream)

    with pytest.raises(Overloaded):
        house.append("e")

    house.store.let_go()
    await house.drain()
    assert [name for name, _ in house.answers] == ["a/1", "b/1", "c/1", "d/1"]
    assert await house.store.read_stream("e") == []


async def test_a_full_disk_refuses_its_group_and_the_journal_goes_on(house: House) -> None:
    house.store.errors.append(StoreFull("no room"))
    house.append("a")
    house.append("b")
    await house.drain()

    assert [(name, type(answer)) for name, answer in house.answers] == [
        ("a/1", StoreFull),
        ("b/1", StoreFull),
    ]
    assert house.answers[0][1] is not house.answers[1][1]
    assert house.journal.full and house.journal.failed is None and house.fatal == []

    house.append("a")
    await house.drain()
    assert house.answers[-1] == ("a/1", None)
    assert not house.journal.full
    assert isinstance(await house.chain(), Head)


async def test_a_conflict_alone_is_no_proof_of_room(house: House) -> None:
    house.append("a")
    await house.drain()
    house.store.errors.append(StoreFull("no room"))
    house.append("b")
    await house.drain()

    house.append("a")
    await house.drain()

    assert house.journal.full


@pytest.mark.parametrize("error", [StoreFailed("torn"), OSError(5, "I/O"), TypeError("a bug")])
async def test_a_failure_answers_everybody_once_and_refuses_the_rest(
    house: House, error: Exception
) -> None:
    house.store.hold()
    house.append("a")
    await house.committing()
    for stream in names(range(GROUP_MAX + 5)):
        house.append(stream)
    house.store.errors.append(error)

    house.store.let_go()
    await house.drain()

    assert [name for name, _ in house.answers] == [
        "a/1",
        *(f"{stream}/1" for stream in names(range(GROUP_MAX + 5))),
    ]
    assert all(isinstance(answer, StoreFailed) for _, answer in house.answers)
    assert house.store.groups == []
    assert len(house.fatal) == 1
    with pytest.raises(StoreFailed):
        house.append("z")
    with pytest.raises(StoreFailed):
        await house.journal.append_wait(unit("z"))


@pytest.mark.parametrize("error", [StoreFailed("torn"), StoreFull("no room")])
async def test_a_conflict_with_one_of_a_group_that_is_not_stored_is_told_as_that(
    house: House, error: Exception
) -> None:
    """Who repeats what was never stored must not hear that it is there."""
    commit = house.store.commit
    rounds = iter([commit, None])

    async def fails_the_second_time(
        units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        if next(rounds) is None:
            raise error
        return await commit(units, audit)

    house.store.commit = fails_the_second_time
    house.append("a")
    house.append("a")
    await house.drain()

    assert [type(answer) for _, answer in house.answers] == [type(error), type(error)]


async def test_a_group_that_is_always_overtaken_ends(house: House) -> None:
    """Whatever a store says: each round leaves somebody out, and asking again has a bound."""
    commit = house.store.commit

    async def leaves_the_last_one_out(
        units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        if len(units) == 1:
            return await commit(units, audit)
        house.store.groups.append(len(units))
        return [None] * (len(units) - 1) + [Conflict(what="claim", name="n")]

    house.store.commit = leaves_the_last_one_out
    for stream in "abc":
        house.append(stream)
    await house.drain()

    assert [answer is None for _, answer in house.answers] == [True, False, False]
    assert house.store.groups == [3, 2] * AGAIN_MAX + [3, 2, 1]
    assert house.journal.stats.conflicts == 2


async def test_a_cancelled_commit_is_a_failure_because_nobody_knows_its_end(
    house: House,
) -> None:
    house.store.hold()
    house.append("a")
    await house.committing()
    house.append("b")

    house.tasks[-1].cancel()
    await asyncio.wait(house.tasks, timeout=5)

    assert [(name, type(answer)) for name, answer in house.answers] == [
        ("a/1", StoreFailed),
        ("b/1", StoreFailed),
    ]
    assert len(house.fatal) == 1
    await house.drain()


async def test_a_failing_read_is_fatal_too(house: House) -> None:
    house.store.read_error = StoreFailed("torn")

    for _ in range(2):
        with pytest.raises(StoreFailed):
            await house.journal.read_stream("a")

    assert house.journal.failed is house.store.read_error
    assert house.fatal == [house.store.read_error]


async def test_a_read_that_fails_during_a_commit_leaves_nobody_waiting(house: House) -> None:
    house.store.hold()
    house.append("a")
    await house.committing()
    house.append("b")
    house.store.read_error = StoreFailed("torn")
    with pytest.raises(StoreFailed):
        await house.journal.read_stream("a")

    house.store.let_go()
    await house.drain()

    assert house.answers[0] == ("a/1", None), "its commit came back well"
    assert isinstance(house.answers[1][1], StoreFailed)
    assert len(house.fatal) == 1


async def test_an_error_in_on_fatal_keeps_no_answer_back() -> None:
    def on_fatal(error: BaseException) -> None:
        raise ZeroDivisionError

    house = await House(on_fatal=on_fatal).start()
    house.store.errors.append(StoreFailed("torn"))

    house.append("a")
    await house.drain()

    assert isinstance(house.answers[0][1], StoreFailed)


async def test_a_journal_goes_on_behind_the_chain_that_it_finds(house: House) -> None:
    house.append("a")
    await house.drain()
    second = House()
    second.journal = Journal(
        house.store,
        spawn=asyncio.create_task,
        clock=house.clock,
        backlog_max=9,
        on_fatal=house.fatal.append,
    )
    await second.journal.start()

    assert await second.journal.append_wait(unit("b")) is None

    assert isinstance(await house.chain(), Head)
    assert (await house.store.audit_head())[0] == 2


async def test_nothing_is_appended_before_the_start() -> None:
    with pytest.raises(RuntimeError, match=r"^append before start$"):
        House().append("a")


async def test_a_unit_that_cannot_be_written_is_refused_before_it_reaches_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "UNIT_BYTES_MAX", 1_000)

    with pytest.raises(ValueError, match="surrogates"):
        house.append("\ud800")
    with pytest.raises(ValueError, match="limit"):
        house.journal.append(Unit(events=(event("a", 1, bytes(1_001)),)), house.waiter("a"))

    house.append("b")
    await house.drain()
    assert house.answers == [("b/1", None)]


async def test_a_cancelled_caller_does_not_take_its_unit_back(house: House) -> None:
    house.store.hold()
    caller = asyncio.create_task(house.journal.append_wait(unit("a")))
    await house.committing()

    caller.cancel()
    house.store.let_go()
    await house.drain()

    assert caller.cancelled() or caller.cancelling()
    assert await house.store.read_stream("a") == [event("a", 1)]
    assert house.journal.stats.waiter_errors == 0


async def test_heads_are_published_by_rows_by_time_and_at_the_end(house: House) -> None:
    for stream in names(range(HEAD_ROWS)):
        house.append(stream)
    await house.journal.append_wait(unit("x"))
    by_rows = list(house.heads)
    house.clock.advance(HEAD_S)
    await house.journal.append_wait(unit("y"))
    by_time = list(house.heads[len(by_rows) :])
    await house.journal.append_wait(unit("z"))
    await house.drain()
    await house.drain()

    published = [*by_rows, *by_time, *house.heads[len(by_rows) + len(by_time) :]]
    assert [head.n for head in published] == [HEAD_ROWS + 1, HEAD_ROWS + 2, HEAD_ROWS + 3]
    heads = {head.n: head.hash for head in published}
    assert isinstance(await verify(rows_of(house.store), house.store.read_stream, heads), Head)


async def test_the_stats_count_groups_units_and_rows(house: House) -> None:
    house.append("a")
    house.append("b")
    await house.drain()

    stats = house.journal.stats
    assert (stats.groups, stats.units, stats.rows, stats.last_group_units) == (1, 2, 4, 2)
