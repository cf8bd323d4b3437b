"""`paygate doctor`: one screen, and a sentence for everything that needs a person."""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from inside_gateway import ShiftedClock, inside, sandbox_aside
from live_gateway import Live, visiting

from paygate_actors.backup import Backup
from paygate_actors.checkup import FREE_BYTES_MIN, Bounds, Checkup, Doubt, troubles
from paygate_actors.config import Config, Limits
from paygate_actors.money import Money
from paygate_engine.stores.sqlite import DATABASE_NAME
from paygate_http.__main__ import main
from paygate_http.configure import sandbox_providers

S = 1_000_000
HOUR = 3_600 * S
NOW = 1_000 * HOUR

Screen = Callable[..., tuple[int, str]]
Visit = Callable[[Live, str], Awaitable[None]]


def backup(age_us: int = HOUR, *, fault: str | None = None) -> Backup:
    return Backup(
        at_us=NOW - age_us,
        version="0",
        source="data",
        path="copy",
        size=1,
        events=1,
        audit_rows=1,
        audit_head="",
        fault=fault,
    )


def checkup(
    *,
    mode: str | None = "live",
    last_backup: Backup | None = backup(),  # noqa: B008  # frozen
    backup_alert_hours: int = 26,
    doubts: tuple[Doubt, ...] = (),
    attention: dict[str, int] | None = None,
    parked_oldest_us: int | None = None,
    published_n: int | None = None,
    free_bytes: int = FREE_BYTES_MIN,
) -> Checkup:
    return Checkup(
        mode=mode,
        now_us=NOW,
        by_status={},
        open_payments=0,
        doubts=doubts,
        attention=attention or {},
        parked=1,
        parked_oldest_us=parked_oldest_us,
        audit_rows=10,
        bounds=Bounds.of(Config(limits=Limits(backup_alert_hours=backup_alert_hours))),
        last_backup=last_backup,
        published_n=published_n,
        free_bytes=free_bytes,
    )


def doubt(age_us: int, currency: str = "USD") -> Doubt:
    return Doubt(
        payment_id="pay_1",
        key="txn_1-1",
        provider="bank",
        amount=Money(1_000, currency),
        since_us=NOW - age_us,
    )


def test_a_healthy_folder_needs_nobody():
    fresh = doubt(60 * S)

    found = checkup(doubts=(fresh,), parked_oldest_us=NOW - 60 * S, published_n=10)

    assert list(troubles(found)) == []


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (checkup(mode=None), "The folder has no stamp"),
        (checkup(free_bytes=FREE_BYTES_MIN - 1), "Only 639 MiB are free"),
        (checkup(doubts=(doubt(901 * S),)), "pay_1: bank has not said for 901 s"),
        (checkup(doubts=(doubt(24 * HOUR),)), "pay_1: bank has forgotten the key txn_1-1"),
        (checkup(attention={"disputed": 2}), "2 payments ask for a person (disputed)"),
        (checkup(parked_oldest_us=NOW - 901 * S), "1 webhooks wait for a payment"),
        (checkup(published_n=11), "The audit chain ends at row 10, and row 11 was published"),
        (checkup(last_backup=None), "There is no backup"),
        (checkup(last_backup=backup(27 * HOUR)), "The last backup is 27 h old"),
        (checkup(last_backup=backup(fault="row 3")), "The last backup is damaged (row 3)"),
    ],
)
def test_what_needs_a_person_is_a_sentence(found: Checkup, sentence: str):
    (told,) = troubles(found)

    assert told.startswith(sentence)


@pytest.mark.parametrize(
    "found",
    [
        checkup(mode="sandbox", last_backup=None),
        checkup(last_backup=backup(25 * HOUR)),
        checkup(last_backup=None, backup_alert_hours=0),
    ],
)
def test_nobody_is_called_for_a_backup_that_is_not_needed(found: Checkup):
    assert list(troubles(found)) == []


def test_the_bounds_are_those_of_the_configuration():
    config = Config(
        limits=Limits(in_doubt_flag_s=60, parked_alert_s=30, backup_alert_hours=2),
        providers=sandbox_providers("http://127.0.0.1:9"),
    )

    bounds = Bounds.of(config)

    assert (bounds.doubt_us, bounds.parked_us, bounds.backup_us) == (60 * S, 30 * S, 2 * HOUR)
    assert bounds.key_windows_us == {"sandbox": 24 * HOUR, "sandbox_backup": 24 * HOUR}


def test_what_is_in_doubt_is_summed_by_currency():
    found = checkup(doubts=(doubt(S), doubt(S), doubt(S, "JPY")))

    assert found.in_doubt() == {"USD": Money(2_000, "USD"), "JPY": Money(1_000, "JPY")}


def test_the_key_window_runs_out_a_day_after_the_call():
    assert doubt(HOUR).left_us(NOW) == 23 * HOUR


@pytest.fixture
def screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Screen:
    """Run a gateway until `visit` is over, and the command at its end while it still runs."""

    def run(visit: Visit, *, with_url: bool = False, ahead_s: float = 0.0) -> tuple[int, str]:
        async def live_on() -> int:
            clock = ShiftedClock(ahead_s)
            async with (
                sandbox_aside(tmp_path) as sandbox,
                inside(tmp_path, sandbox, clock=clock) as running,
            ):
                async with visiting(running.url) as live:
                    await visit(live, sandbox)
                extra = ["--url", running.url] if with_url else []
                command = ["doctor", "--data", str(tmp_path / "data"), *extra]
                return await asyncio.to_thread(main, command)

        code = asyncio.run(live_on())
        return code, capsys.readouterr().out

    return run


async def pay(live: Live, _: str) -> None:
    await live.pay()


async def lose_the_answer(live: Live, sandbox: str) -> None:
    """The answer is lost, and look-ups never find it."""
    for fault, operation in (("reset_before_effect", "charge"), ("error_500", "find")):
        body = {"fault": fault, "operation": operation, "count": 1_000}
        assert (await live.call("POST", f"{sandbox}/faults", body, key=None)).status == 200
    made = await live.pay(wait_s=None)
    async with asyncio.timeout(10):
        while not (await live.payment(made["id"]))["inDoubt"]:  # noqa: ASYNC110  # asks a server
            await asyncio.sleep(0.02)


@pytest.mark.slow
def test_a_server_that_does_well_is_healthy(screen: Screen):
    code, told = screen(pay, with_url=True)

    assert code == 0, told
    assert "healthy: nothing needs a person" in told
    for text in ("SQLite", "Python", "WAL", "sandbox", "1 success", "ready", "MiB free"):
        assert text in told
    assert "breaker of sandbox_backup" in told
    assert "undelivered between actors" in told


@pytest.mark.slow
def test_what_is_in_doubt_is_told_with_its_amount_and_the_end_of_its_key(screen: Screen):
    code, told = screen(lose_the_answer)

    assert code == 0, told
    assert "1 calls, 10.00 USD" in told
    assert "key window ends in 23 h 59 min" in told


@pytest.mark.slow
def test_a_running_server_says_when_it_asks_next(screen: Screen):
    code, told = screen(lose_the_answer, with_url=True)

    assert code == 0, told
    assert re.search(r"pay_\w+ +sandbox asked \d+ times, (being asked|again in \d s)", told)
    assert "its key is kept for 23 h 59 min" in told or "24 h 0 min" in told


@pytest.mark.slow
def test_what_is_in_doubt_for_more_than_a_day_needs_a_person(screen: Screen):
    code, told = screen(lose_the_answer, ahead_s=-25 * 3_600)

    assert code == 1
    assert "key window has ended" in told
    assert "NEEDS A PERSON: pay_" in told
    assert "has forgotten the key txn_" in told


@pytest.mark.slow
def test_a_server_that_is_gone_is_told(
    tmp_path: Path, screen: Screen, capsys: pytest.CaptureFixture[str]
):
    screen(pay)

    code = main(["doctor", "--data", str(tmp_path / "data"), "--url", "http://127.0.0.1:9"])

    told = capsys.readouterr().out
    assert code == 1
    assert "none runs" in told
    assert "NEEDS A PERSON: http://127.0.0.1:9 does not answer" in told


@pytest.mark.slow
def test_a_chain_that_was_cut_behind_its_published_end_is_told(
    tmp_path: Path, screen: Screen, capsys: pytest.CaptureFixture[str]
):
    screen(pay)
    with closing(sqlite3.connect(tmp_path / "data" / DATABASE_NAME)) as database:
        database.execute("DELETE FROM audit WHERE n > 1")
        database.commit()

    code = main(["doctor", "--data", str(tmp_path / "data")])

    assert code == 1
    assert "NEEDS A PERSON: The audit chain ends at row 1" in capsys.readouterr().out


@pytest.mark.slow
def test_a_damaged_journal_is_told(
    tmp_path: Path, screen: Screen, capsys: pytest.CaptureFixture[str]
):
    screen(lose_the_answer)
    with closing(sqlite3.connect(tmp_path / "data" / DATABASE_NAME)) as database:
        database.execute("UPDATE events SET at_us = at_us + 1")
        database.commit()

    code = main(["doctor", "--data", str(tmp_path / "data")])

    assert code == 1
    told = capsys.readouterr().out
    assert "is quarantined: its event 1 is damaged" in told
    assert "open payments" in told, "the rest of the folder is looked at all the same"


def test_a_folder_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--data", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
