"""Children that are kept running: real processes, ended by their ids."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_words import until as until_so

from paygate_http.crew import Crew, Member

pytestmark = pytest.mark.slow

# A busy machine's patience for what takes some tens of milliseconds.
PATIENCE_S = 30.0
GOOD = "print('up', flush=True); sys.stdin.read()"
STUBBORN = "print('up', flush=True); sys.stdin.read(); signal.pause()"
HUNG_UP = (
    "signal.signal(signal.SIGHUP, lambda *_: open(sys.argv[1], 'w').close());"
    "print('up', flush=True);"
    "sys.stdin.read()"
)


def member(text: str, *arguments: str, name: str = "child") -> Member:
    return Member(name, (sys.executable, "-c", f"import signal, sys; {text}", *arguments))


@asynccontextmanager
async def crew(*members: Member) -> AsyncGenerator[Crew]:
    made = Crew(members)
    try:
        yield made
    finally:
        made.kill()
        await made.let_go(PATIENCE_S)


async def until(condition: Callable[[], bool]) -> None:
    async def look() -> bool:
        return condition()

    await until_so(look, bool, patience_s=PATIENCE_S)


def is_gone(pid: int) -> bool:
    """Whether nothing runs under this id; one that only waits for its parent's look is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


async def test_all_serve_when_it_is_up_and_all_end_with_0_when_let_go():
    members = (member(GOOD), member(GOOD))
    async with crew(*members) as made:
        code = await made.come_up()
        served = [each.serves.is_set() for each in members]

        ended_well = await made.let_go(PATIENCE_S)

    assert code is None
    assert served == [True, True]
    assert [each.line for each in members] == ["up", "up"]
    assert ended_well
    assert [each.code for each in members] == [0, 0]


async def test_who_is_killed_comes_back_and_the_others_never_notice():
    killed, other = member(GOOD), member(GOOD)
    async with crew(killed, other) as made:
        await made.come_up()
        before = (killed.pid, other.pid)

        killed.signal(signal.SIGKILL)
        await until(lambda: killed.pid != before[0] and killed.serves.is_set())

        assert killed.code == -signal.SIGKILL
        assert (other.pid, other.code) == (before[1], None)


async def test_who_ends_with_0_stays_away_and_the_crew_ends_with_the_last():
    quitter = "print('up', flush=True); sys.stdin.readline(); sys.exit(0)"
    members = (member(quitter), member(quitter))
    async with crew(*members) as made:
        await made.come_up()
        for each in members:
            assert each.child is not None and each.child.stdin is not None
            each.child.stdin.write(b"go\n")

        async with asyncio.timeout(PATIENCE_S):
            await made.all_ended()

        assert [each.code for each in members] == [0, 0]


async def test_who_never_came_up_is_not_tried_again_and_says_why():
    async with crew(member(GOOD), member("sys.exit(2)")) as made:
        assert await made.come_up() == 2


async def test_a_command_that_is_not_there_is_an_error_of_the_start(tmp_path: Path):
    async with crew(Member("nobody", (str(tmp_path / "nobody"),))) as made:
        with pytest.raises(FileNotFoundError):
            await made.come_up()


async def test_who_does_not_end_is_killed_and_told_of():
    stubborn = member(STUBBORN)
    async with crew(stubborn, member(GOOD)) as made:
        await made.come_up()

        assert not await made.let_go(0.2)

        assert stubborn.code == -signal.SIGKILL


async def test_who_is_let_go_while_it_waits_to_be_started_again_stays_away():
    failing = member("print('up', flush=True); sys.exit(1)")
    async with crew(failing) as made:
        await made.come_up()
        await until(lambda: failing.code == 1)

        assert not await made.let_go(PATIENCE_S)

        assert is_gone(failing.pid)


async def test_a_hang_up_is_passed_on(tmp_path: Path):
    heard = tmp_path / "heard"
    async with crew(member(HUNG_UP, str(heard))) as made:
        await made.come_up()

        made.hang_up()

        await until(heard.exists)


async def test_a_crew_whose_process_is_killed_leaves_no_orphan():
    program = f"""
import asyncio, sys
from paygate_http.crew import Crew, Member
from paygate_http.logs import configure_logs

async def main():
    configure_logs("critical")
    child = (sys.executable, "-c", {f"import sys; {GOOD}"!r})
    members = [Member(name, child) for name in "abc"]
    crew = Crew(members)
    await crew.come_up()
    print(*(each.pid for each in members), flush=True)
    await crew.all_ended()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in (await parent.stdout.readline()).split()]

    os.kill(parent.pid, signal.SIGKILL)
    await parent.communicate()

    assert len(pids) == 3
    await until(lambda: all(is_gone(pid) for pid in pids))
