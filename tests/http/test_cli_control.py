"""The socket in the data folder, and the API keys that are made through it."""

import base64
import os
import stat
from pathlib import Path

import aiohttp
import pytest

from paygate_actors.config import Config, Sandbox
from paygate_actors.messages import ApiKey, Caller
from paygate_http.auth import key_digest
from paygate_http.control import Control, RemoteDesk, is_served
from paygate_http.key_desk import KeyDesk, KeyRefused, NewKey

PEPPER = bytes(range(32))
CONFIG = Config(api_key_pepper=base64.b64encode(PEPPER).decode())
MERCHANT = NewKey(role="merchant", merchant="acme", label="till")


class KeyRing:
    """The part of a gateway's front that keeps keys."""

    def __init__(self) -> None:
        self.kept: dict[str, ApiKey] = {}
        self.callers: list[Caller] = []

    async def put_key(self, caller: Caller, key: ApiKey) -> None:
        self.callers.append(caller)
        self.kept[key.id] = key

    async def keys(self) -> tuple[ApiKey, ...]:
        return tuple(reversed(self.kept.values()))


def desk_of(ring: KeyRing, config: Config = CONFIG) -> KeyDesk:
    return KeyDesk(ring, config)  # pyright: ignore[reportArgumentType]  # the part it uses


async def test_a_key_is_stored_as_its_digest_alone():
    ring = KeyRing()

    made = await desk_of(ring).create(MERCHANT)

    assert made.secret.startswith("sk_live_")
    assert ring.kept == {made.key.id: made.key}
    assert made.key.digest == key_digest(PEPPER, made.secret)
    assert made.secret not in repr(ring.kept)
    assert (made.key.role, made.key.merchant, made.key.label) == ("merchant", "acme", "till")
    assert ring.callers == [Caller(role="operator", merchant="", key_id="console")]


async def test_no_two_keys_are_alike():
    desk = desk_of(KeyRing())

    secrets = {(await desk.create(MERCHANT)).secret for _ in range(20)}

    assert len(secrets) == 20


async def test_a_key_for_the_sandbox_says_so():
    config = Config(api_key_pepper=CONFIG.api_key_pepper, sandbox=Sandbox(enabled=True))

    made = await desk_of(KeyRing(), config).create(MERCHANT)

    assert made.secret.startswith("sk_test_")


@pytest.mark.parametrize(
    "new",
    [
        NewKey(role="merchant"),
        NewKey(role="operator", merchant="acme"),
        NewKey(role="metrics", merchant="acme"),
    ],
)
async def test_a_key_whose_role_and_merchant_disagree_is_refused(new: NewKey):
    ring = KeyRing()

    with pytest.raises(KeyRefused, match="--merchant"):
        await desk_of(ring).create(new)

    assert ring.kept == {}


async def test_without_a_pepper_no_key_can_be_made():
    with pytest.raises(KeyRefused, match="api_key_pepper"):
        await desk_of(KeyRing(), Config()).create(MERCHANT)


async def test_a_revoked_key_keeps_the_time_of_its_first_revocation():
    ring = KeyRing()
    desk = desk_of(ring)
    made = await desk.create(MERCHANT)

    first = await desk.revoke(made.key.id)
    again = await desk.revoke(made.key.id)

    assert first.revoked_at_us is not None
    assert again == first
    assert len(ring.callers) == 2


async def test_a_command_does_through_the_socket_what_the_server_would(tmp_path: Path):
    ring = KeyRing()

    async with Control(str(tmp_path), desk_of(ring)):
        remote = RemoteDesk(str(tmp_path))
        made = await remote.create(MERCHANT)
        listed = await remote.list()
        revoked = await remote.revoke(made.key.id)
        with pytest.raises(KeyRefused, match="there is no key key_none"):
            await remote.revoke("key_none")

    assert listed == (made.key,)
    assert ring.kept == {made.key.id: revoked}
    assert made.key.digest == key_digest(PEPPER, made.secret)


async def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path: Path):
    before = os.umask(0o000)
    try:
        async with Control(str(tmp_path), desk_of(KeyRing())):
            mode = (tmp_path / "control.sock").stat().st_mode
            assert is_served(str(tmp_path))
    finally:
        os.umask(before)

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / "control.sock").exists()
    assert not is_served(str(tmp_path))


async def test_the_socket_of_a_dead_server_is_replaced(tmp_path: Path):
    dead = Control(str(tmp_path), desk_of(KeyRing()))
    await dead.__aenter__()
    left = tmp_path / "left.sock"
    (tmp_path / "control.sock").rename(left)
    await dead.__aexit__(None, None, None)
    left.rename(tmp_path / "control.sock")

    assert not is_served(str(tmp_path))
    async with Control(str(tmp_path), desk_of(KeyRing())):
        assert is_served(str(tmp_path))


async def test_a_folder_of_any_depth_can_be_served(tmp_path: Path):
    """A socket's path is limited to some 100 bytes; a folder's is not."""
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    deep.mkdir(parents=True)

    async with Control(str(deep), desk_of(KeyRing())):
        assert await RemoteDesk(str(deep)).list() == ()


@pytest.mark.parametrize("body", [b"", b"{", b'{"role":"admin"}', b'{"role":1}'])
async def test_a_body_that_is_no_request_is_refused_with_a_sentence(tmp_path: Path, body: bytes):
    async with Control(str(tmp_path), desk_of(KeyRing())):
        connector = aiohttp.UnixConnector(str(tmp_path / "control.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post("http://control/keys", data=body) as answer,
        ):
            text = await answer.text()

    assert answer.status == 409
    assert text
