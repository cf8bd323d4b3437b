"""Which store a configuration names, and what is said where it cannot be had."""

from pathlib import Path

import pytest

from paygate_actors.config import Config, Database, Sandbox
from paygate_actors.moved import MOVED_FILE, Move, forget_move, moved_to, note_move
from paygate_actors.projection import KINDS
from paygate_engine.errors import StoreRefused
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.shared import NodeRow
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http import stores
from paygate_http.__main__ import main
from paygate_http.doctor_database import node_rows, node_troubles
from paygate_http.opening import open_gateway
from paygate_http.stores import database_of, opened_to_read

URL = "postgresql://paygate:correct-horse@127.0.0.1:1/books"
SECOND = 1_000_000


def node(seat: int, state: str, *, beat_s: int, open_streams: int = 0) -> NodeRow:
    return NodeRow(
        seat=seat,
        epoch=seat,
        name=f"host:{seat}",
        state=state,  # pyright: ignore[reportArgumentType]  # a test's own words
        joined_us=0,
        beat_us=beat_s * SECOND,
        lease_until_us=(beat_s + 10) * SECOND,
        open_streams=open_streams,
    )


def test_without_a_url_the_folder_has_its_own_store():
    assert database_of(Config()) is None


def test_a_url_names_a_database_which_is_not_opened_yet():
    store = database_of(Config(database=Database(url=URL)), read_only=True)

    assert isinstance(store, PostgresStore)
    assert store.read_only


async def test_what_only_reads_opens_the_folder_or_the_database_and_makes_nothing(tmp_path: Path):
    written = SqliteStore(tmp_path, KINDS)
    await written.open()
    await written.close()
    nowhere = tmp_path / "nowhere"

    async with opened_to_read(Config(), tmp_path) as store:
        assert isinstance(store, SqliteStore)
    with pytest.raises(StoreRefused, match="cannot be reached"):
        async with opened_to_read(Config(database=Database(url=URL)), nowhere):
            pass

    assert not nowhere.exists()


@pytest.mark.parametrize("command", ["migrate", "doctor", "audit verify", "serve --sandbox"])
def test_a_driver_that_is_missing_is_bad_configuration(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stores, "_DRIVER", "no_driver_of_this_name")
    monkeypatch.setattr("paygate_http.commands_serve.forbid_core_dumps", lambda: None)

    code = main([*command.split(), "--database", URL])

    said = capsys.readouterr()
    assert code == 2
    assert "pip install 'paygate[postgres]'" in said.err
    assert "correct-horse" not in said.err + said.out


def test_a_database_is_not_copied_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PAYGATE__DATABASE__URL", URL)

    code = main(["backup", str(tmp_path / "copy"), "--data", str(tmp_path)])

    assert code == 1
    assert "PostgreSQL's own tools" in capsys.readouterr().err


def test_the_doctor_lists_who_lives_and_who_left_something_open():
    nodes = [node(1, "live", beat_s=100), node(2, "left", beat_s=1), node(3, "late", beat_s=95)]

    assert list(node_rows(nodes)) == [
        ("nodes", "1 live of 3 seats"),
        ("  seat 1", "host:1: live, 0 open"),
        ("  seat 3", "host:3: late, 0 open"),
    ]


@pytest.mark.parametrize(
    ("gone", "calls"),
    [
        (node(2, "buried", beat_s=29, open_streams=4), True),
        (node(2, "late", beat_s=29, open_streams=4), True),
        (node(2, "buried", beat_s=29), False),  # it left nothing
        (node(2, "buried", beat_s=31, open_streams=4), False),  # it will be taken over yet
        (node(2, "live", beat_s=29, open_streams=4), False),
    ],
)
def test_a_person_is_called_for_what_nobody_took_over(gone: NodeRow, calls: bool):  # noqa: FBT001
    found = list(node_troubles([node(1, "live", beat_s=101), gone]))

    assert bool(found) == calls
    assert all(each.startswith("Seat 2 (host:2) has been gone for 62 s") for each in found)


async def test_a_folder_that_has_moved_is_not_opened_by_any_command_that_writes(tmp_path: Path):
    config = Config(data_dir=str(tmp_path), sandbox=Sandbox(enabled=True))
    note_move(tmp_path, Move(to="postgresql://host/books", at_us=1, version="0"))

    with pytest.raises(StoreRefused, match="have moved to postgresql://host/books"):
        await opens(config)

    forget_move(tmp_path)
    assert await opens(config)


async def opens(config: Config) -> bool:
    gateway = await open_gateway(config, on_fatal=lambda error: None)
    await gateway.stop()
    return True


async def test_a_note_of_a_move_that_is_damaged_still_says_that_it_moved(tmp_path: Path):
    (tmp_path / MOVED_FILE).write_bytes(b"\0")

    assert moved_to(tmp_path) == "a database"


def test_a_copy_needs_a_folder_and_a_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PAYGATE__DATABASE__URL", raising=False)

    without_database = main(["copy", "--from", str(tmp_path)])
    without_folder = main(["copy", "--from", str(tmp_path), "--to", URL])

    said = capsys.readouterr().err
    assert (without_database, without_folder) == (2, 1)
    assert "name the database to fill with --to URL" in said
    assert "holds no journal.db" in said
    assert list(tmp_path.iterdir()) == [], "nothing is made of it"
