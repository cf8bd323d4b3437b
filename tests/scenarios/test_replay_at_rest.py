"""`paygate webhooks replay` on a folder that no server serves: what it may touch, and what not."""

import hashlib
from pathlib import Path

import pytest
from golden_rig import GOLDEN, copied

from paygate_engine.stores.sqlite import DATABASE_NAME
from paygate_http.__main__ import main

OLDEST = GOLDEN / "0.1.0"


def replay(folder: Path, *arguments: str) -> int:
    return main(["webhooks", "replay", "--data", str(folder), "--sandbox", *arguments])


def contents(folder: Path) -> dict[str, str]:
    """Every file of the folder, by the hash of what is in it.

    But for the index and the empty log that SQLite keeps beside a database that it reads.
    """
    beside = {f"{DATABASE_NAME}-shm", f"{DATABASE_NAME}-wal"}
    files = (each for each in folder.rglob("*") if each.is_file() and each.name not in beside)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o700)
    return folder


def test_a_dry_run_leaves_a_folder_of_an_older_version_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = copied(OLDEST, tmp_path)
    before = contents(folder)

    code = replay(folder, "--dry-run")

    assert code == 1
    assert "older version: start the server once" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_dry_run_leaves_a_folder_of_this_version_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = copied(OLDEST, tmp_path)
    assert replay(folder) == 0  # brings it to this version, and has nothing to read
    before = contents(folder)

    code = replay(folder, "--dry-run")

    assert code == 0
    assert "0 webhooks read again" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_dry_run_refuses_a_folder_of_the_other_mode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = copied(OLDEST, tmp_path)
    assert replay(folder) == 0

    code = main(["webhooks", "replay", "--data", str(folder), "--dry-run"])

    assert code == 1
    assert "is a sandbox folder" in capsys.readouterr().err


@pytest.mark.parametrize("how", [[], ["--dry-run"]])
def test_an_empty_folder_is_refused_and_stays_empty(
    empty: Path, how: list[str], capsys: pytest.CaptureFixture[str]
):
    code = replay(empty, *how)

    assert code == 1
    assert f"{empty} holds no gateway's data" in capsys.readouterr().err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("how", [[], ["--dry-run"]])
def test_an_empty_database_is_not_filled(
    empty: Path, how: list[str], capsys: pytest.CaptureFixture[str]
):
    (empty / DATABASE_NAME).touch(mode=0o600)

    code = replay(empty, *how)

    assert code == 1
    assert "holds no gateway's data" in capsys.readouterr().err
    assert contents(empty) == {DATABASE_NAME: hashlib.sha256(b"").hexdigest()}


@pytest.mark.parametrize("how", [["--provider", "nope"], ["--id", "nope", "--dry-run"]])
def test_what_matches_nothing_says_so_and_fails(
    tmp_path: Path, how: list[str], capsys: pytest.CaptureFixture[str]
):
    folder = copied(OLDEST, tmp_path)
    assert replay(folder) == 0
    capsys.readouterr()

    code = replay(folder, *how)

    assert code == 1
    assert f"nothing matched {' '.join(how[:2])}" in capsys.readouterr().err
