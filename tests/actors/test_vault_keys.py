import base64
import os
import random
from pathlib import Path

import pytest

from paygate_actors.config import Vault as VaultConfig
from paygate_actors.vault import Vault
from paygate_actors.vault_keys import (
    KEYS_FILE,
    KeysRefused,
    VaultKeys,
    generate_keys_file,
    load_keys_file,
    vault_keys,
)

KEY = base64.b64encode(b"k" * 32).decode()
HASHING = base64.b64encode(b"h" * 32).decode()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def keys_of(config: VaultConfig, folder: Path, *, livemode: bool = False) -> VaultKeys:
    return vault_keys(config, data_dir=folder, livemode=livemode, random=os.urandom)


def test_a_sandbox_without_keys_makes_them_once_and_finds_them_again(tmp_path: Path):
    first = keys_of(VaultConfig(), tmp_path)
    again = keys_of(VaultConfig(), tmp_path)

    assert first == again
    sealed = Vault(*first, random=os.urandom).seal("4242424242424242", token="t", merchant="m")
    opened = Vault(*again, random=os.urandom).open(sealed, token="t", merchant="m")
    assert opened == "4242424242424242"


def test_the_keys_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        generate_keys_file(tmp_path / KEYS_FILE, random=os.urandom)
    finally:
        os.umask(before)

    assert (tmp_path / KEYS_FILE).stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == [KEYS_FILE]


def test_a_keys_file_is_never_overwritten(tmp_path: Path):
    path = tmp_path / KEYS_FILE
    generate_keys_file(path, random=os.urandom)
    written = path.read_bytes()

    with pytest.raises(FileExistsError):
        generate_keys_file(path, random=os.urandom)

    assert path.read_bytes() == written
    assert names_in(tmp_path) == [KEYS_FILE]


def test_a_seeded_source_makes_the_same_keys_again(tmp_path: Path):
    for name in ("one", "two"):
        generate_keys_file(tmp_path / name, random=random.Random(3).randbytes)

    assert load_keys_file(tmp_path / "one") == load_keys_file(tmp_path / "two")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_keys_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int):
    path = tmp_path / KEYS_FILE
    generate_keys_file(path, random=os.urandom)
    path.chmod(mode)

    with pytest.raises(KeysRefused, match="chmod 600"):
        keys_of(VaultConfig(), tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"keys": 1, "fingerprint_key": ""}'])
def test_a_file_that_holds_no_keys_is_refused_by_its_name(tmp_path: Path, text: str):
    path = tmp_path / KEYS_FILE
    path.touch(mode=0o600)
    path.write_text(text)

    with pytest.raises(KeysRefused, match=KEYS_FILE):
        load_keys_file(path)


def test_a_live_gateway_without_keys_is_refused_and_writes_nothing(tmp_path: Path):
    with pytest.raises(KeysRefused, match=r"vault\.keys"):
        keys_of(VaultConfig(), tmp_path, livemode=True)

    assert names_in(tmp_path) == []


def test_a_live_gateway_never_takes_the_keys_that_a_sandbox_made(tmp_path: Path):
    generate_keys_file(tmp_path / KEYS_FILE, random=os.urandom)

    with pytest.raises(KeysRefused, match=r"vault\.keys"):
        keys_of(VaultConfig(), tmp_path, livemode=True)


@pytest.mark.parametrize("livemode", [True, False])
def test_configured_keys_are_taken_in_their_order(tmp_path: Path, *, livemode: bool):
    config = VaultConfig(keys=(f"k2:{HASHING}", f"k1:{KEY}"), fingerprint_key=HASHING)

    keys = keys_of(config, tmp_path, livemode=livemode)

    assert keys.keys == (("k2", b"h" * 32), ("k1", b"k" * 32))
    assert keys.fingerprint_key == b"h" * 32
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "config",
    [
        VaultConfig(keys=(f"k1:{KEY}",)),
        VaultConfig(fingerprint_key=HASHING),
        VaultConfig(keys=(KEY,), fingerprint_key=HASHING),
        VaultConfig(keys=("k1:%%%%",), fingerprint_key=HASHING),
        VaultConfig(keys=("k1:c2hvcnQ=",), fingerprint_key=HASHING),
        VaultConfig(keys=(f"k1:{KEY}",), fingerprint_key="c2hvcnQ="),
        VaultConfig(keys=(f"k1:{KEY}",), fingerprint_key="ключ"),
    ],
)
def test_half_a_configuration_and_bad_keys_are_refused_without_being_repeated(
    tmp_path: Path, config: VaultConfig
):
    with pytest.raises(KeysRefused) as refused:
        keys_of(config, tmp_path)

    assert not any(secret in str(refused.value) for secret in (KEY, HASHING, "c2hvcnQ=", "%%%%"))
    assert refused.value.__cause__ is None


def test_keys_show_nothing_of_themselves(tmp_path: Path):
    keys = keys_of(VaultConfig(keys=(f"k1:{KEY}",), fingerprint_key=HASHING), tmp_path)

    assert repr(keys) == "<1 vault keys>"
