"""What a parent says to its workers: all that it was told itself, and nothing secret aloud."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from paygate_actors.config import Config, Database, Server
from paygate_http.commands_workers import workers_of
from paygate_http.crew import Member
from paygate_http.flags import ServeFlags

URL = "postgresql://paygate:correct-horse@db/books"
CONFIG = Config(server=Server(workers=3), database=Database(url=URL))


def workers(configured: Config = CONFIG, /, **flags: Any) -> list[Member]:
    return list(workers_of(ServeFlags(**flags), configured, port=4_711))


def environment(worker: Member) -> dict[str, str]:
    assert worker.environment is not None
    return dict(worker.environment)


def said(worker: Member, flag: str) -> str:
    return worker.command[worker.command.index(flag) + 1]


def test_there_are_as_many_as_were_asked_for_and_all_have_the_shared_port():
    made = workers(port=0)

    assert [each.name for each in made] == ["worker 1", "worker 2", "worker 3"]
    assert {said(each, "--port") for each in made} == {"4711"}
    assert all(each.command.count("--port") == 1 for each in made)


def test_what_the_parent_was_told_they_are_told():
    (first, *_) = workers(
        sandbox=True, config=Path("p.toml"), data="d", log_level="debug", sandbox_url="http://s"
    )

    assert "--sandbox" in first.command
    told = [said(first, flag) for flag in ("--config", "--data", "--log-level", "--sandbox-url")]
    assert told == ["p.toml", "d", "debug", "http://s"]


def test_each_has_its_own_port_where_there_is_a_first_one():
    server = replace(CONFIG.server, worker_port_base=9_100)

    assert [said(each, "--own-port") for each in workers(replace(CONFIG, server=server))] == [
        "9100",
        "9101",
        "9102",
    ]
    assert "--own-port" not in workers()[0].command


def test_the_url_goes_by_the_environment_where_nobody_else_reads_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("PAYGATE__DATABASE__URL_FILE", "/run/secrets/url")

    (by_flag, *_), (by_file, *_) = workers(database=URL), workers()

    assert "correct-horse" not in " ".join(by_flag.command)
    assert environment(by_flag)["PAYGATE__DATABASE__URL"] == URL
    assert "PAYGATE__DATABASE__URL_FILE" not in environment(by_flag)
    assert "PAYGATE__DATABASE__URL" not in environment(by_file)
    assert environment(by_file)["PAYGATE__DATABASE__URL_FILE"] == "/run/secrets/url"


def test_a_name_of_theirs_is_numbered_and_without_one_each_names_itself():
    named = replace(CONFIG, database=replace(CONFIG.database, node="left"))
    key = "PAYGATE__DATABASE__NODE"

    assert [environment(each)[key] for each in workers(named)] == ["left-1", "left-2", "left-3"]
    assert all(key not in environment(each) for each in workers())
