"""The database's section: which URLs can be used, who says it last, and that no password shows."""

from pathlib import Path

import pytest

from paygate_actors.config import Config, Database
from paygate_http.__main__ import main
from paygate_http.configure import ConfigInvalid, load
from paygate_http.configure_show import describe
from paygate_http.configure_sources import Setting
from paygate_http.database_url import HOSTS_MAX, UNREADABLE, fault_of_url, shown_url

SANDBOX = {"PAYGATE__SANDBOX__ENABLED": "true"}
PASSWORD = "correct-horse"
URL = f"postgresql://paygate:{PASSWORD}@db.example:5432/books"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, "postgresql://paygate@db.example:5432/books"),
        ("postgres://db/books", "postgresql://db/books"),
        ("postgresql:///books", "postgresql:///books"),
        ("postgresql://u:a:b@db/books", "postgresql://u@db/books"),
        ("postgresql://u:%40%2F@h1:1,h2,[::1]:3/b", "postgresql://u@h1:1,h2,[::1]:3/b"),
        ("postgresql://u:p@%2Frun%2Fpostgresql/b", "postgresql://u@%2Frun%2Fpostgresql/b"),
        (f"{URL}?sslmode=require&password=x", "postgresql://paygate@db.example:5432/books"),
    ],
)
def test_a_good_url_is_shown_without_password_and_parameters(url: str, shown: str):
    assert fault_of_url(url) is None
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{PASSWORD}@db/books",
        PASSWORD,
        "postgresql://db",
        "postgresql://db/",
        f"postgresql://u:{PASSWORD}@@db/books",
        f"postgresql://u:{PASSWORD}/x@db/books",
        f"postgresql://u:12/{PASSWORD}@db/books",
        f"postgresql://u:12?{PASSWORD}@db/books",
        f"postgresql://u:12#{PASSWORD}@db/books",
        f"postgresql://u:{PASSWORD}@db:0/books",
        f"postgresql://u:{PASSWORD}@db:65536/books",
        f"postgresql://u:{PASSWORD}@db:x/books",
        f"postgresql://u:{PASSWORD}@db,,db/books",
        f"postgresql://u:{PASSWORD}@db/books?{PASSWORD}",
        f"postgresql://u:{PASSWORD}@{','.join(['db'] * (HOSTS_MAX + 1))}/books",
        f"postgresql://u:{PASSWORD}@d b/books",
    ],
)
def test_a_url_that_can_be_misread_is_refused_and_not_repeated(url: str):
    with pytest.raises(ConfigInvalid) as refused:
        load(environment=SANDBOX | {"PAYGATE__DATABASE__URL": url})

    (line,) = refused.value.lines
    assert line.startswith("database.url: ")
    assert PASSWORD not in line
    assert shown_url(url) == UNREADABLE


def test_the_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path):
    file = tmp_path / "paygate.toml"
    file.write_text('[database]\nurl = "postgresql://db/from_file"\nnode = "left"\n')
    environment = SANDBOX | {"PAYGATE__DATABASE__URL": "postgresql://db/from_environment"}
    flag = Setting(path=("database", "url"), value="postgresql://db/from_flag", origin="--database")

    by_file = load(file=file, environment=SANDBOX).config.database
    by_environment = load(file=file, environment=environment).config.database
    by_flag = load(file=file, environment=environment, flags=[flag]).config.database

    assert by_file == Database(url="postgresql://db/from_file", node="left")
    assert by_environment.url == "postgresql://db/from_environment"
    assert by_flag == Database(url="postgresql://db/from_flag", node="left")


def test_a_file_may_hold_the_url_as_it_holds_every_secret(tmp_path: Path):
    secret = tmp_path / "url"
    secret.write_text(URL + "\n")

    loaded = load(environment=SANDBOX | {"PAYGATE__DATABASE__URL_FILE": str(secret)})

    assert loaded.config.database.url == URL


def test_the_configuration_is_shown_without_the_password():
    text = "\n".join(describe(Config(database=Database(url=URL)), {"database.url": "--database"}))

    assert PASSWORD not in text
    assert '"postgresql://paygate@db.example:5432/books"  # --database' in text


def test_without_a_url_there_is_no_database(capsys: pytest.CaptureFixture[str]):
    assert main(["config", "show", "--sandbox"]) == 0

    assert "database.url = off  # default\n" in capsys.readouterr().out


@pytest.mark.parametrize("node", ["a b", "x" * 49, 'a"b'])
def test_a_node_has_a_name_that_fits_a_list(node: str):
    with pytest.raises(ConfigInvalid, match=r"database\.node"):
        load(environment=SANDBOX | {"PAYGATE__DATABASE__NODE": node})
