"""How many connections there are, to where, by what, and for how long."""

import asyncio
import random
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from certificate_rig import certificate
from raw_server_rig import DEADLINE_S, Wire, raw_server
from stranger_rig import answer

from paygate_actors.providers import http_pool
from paygate_actors.providers.http_addresses import HostAddresses
from paygate_actors.providers.http_client import Answered, Broken, Exchange, HttpClient, NotSent

OK = answer(200, b"ok")
YES = Answered(status=200, body=b"ok")


async def answer_all(wire: Wire) -> None:
    while True:
        await wire.request()
        await wire.say(OK)


async def call(
    client: HttpClient, method: str = "POST", path: str = "/", *, deadline_s: float = DEADLINE_S
) -> Exchange:
    return await client.send(method, path, deadline_s=deadline_s)


async def test_two_hundred_calls_at_once_share_their_connections_and_get_their_own_answers():
    async def behave(wire: Wire) -> None:
        while True:
            path = (await wire.request()).split()[1]
            await asyncio.sleep(random.random() / 100)
            await wire.say(answer(200, path.encode()))

    async with raw_server(behave) as server:
        client = HttpClient(server.url)
        for _ in range(5):
            found = await asyncio.gather(*(call(client, path=f"/{each}") for each in range(200)))
            assert found == [Answered(status=200, body=b"/%d" % each) for each in range(200)]
        await client.close()

    assert server.opened <= 128


class Storm:
    """A server that answers, doubles, delays, cuts and hangs by the dice. `seen`: what came."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.seen: list[str] = []
        self.held = 0
        self.may_answer = asyncio.Event()

    async def serve(self, wire: Wire) -> None:
        while True:
            path = (await wire.request()).split()[1]
            self.seen.append(path)
            own = answer(200, path.encode())
            if path == "/held":
                self.held += 1
                await self.may_answer.wait()
                await wire.say(OK)
                continue
            match self.dice.randrange(8):
                case 0:
                    return wire.reset()
                case 1:
                    return await wire.say(b"SSH-2.0\r\n\r\n")
                case 2:
                    return await wire.say(own[: self.dice.randrange(len(own))])
                case 3:
                    return await wire.ended()
                case 4:
                    await wire.say(own + own)
                case 5:
                    await asyncio.sleep(self.dice.random() / 20)
                    await wire.say(own)
                case _:
                    await wire.say(own)


@pytest.mark.parametrize("seed", range(8))
async def test_in_a_storm_each_call_has_its_own_answer_or_none_and_all_permits_come_back(seed: int):
    """Deadlines and cancellations at any moment; and what was not sent never arrived."""
    storm = Storm(seed)
    dice = storm.dice

    async with raw_server(storm.serve) as server:
        client = HttpClient(server.url, connections_max=3)
        paths = [f"/{method}/{each}" for each in range(150) for method in ("GET", "POST")]
        calls = {
            path: asyncio.ensure_future(
                call(client, path.split("/")[1], path, deadline_s=dice.random() / 5)
            )
            for path in paths
        }
        while waiting := [each for each in calls.values() if not each.done()]:
            dice.choice(waiting).cancel()
            await asyncio.wait(waiting, timeout=dice.random() / 100)
        # As many may be out as at the beginning, and not one more.
        out = [asyncio.ensure_future(call(client, path="/held")) for _ in range(3)]
        await until(lambda: storm.held == 3)
        too_many = await call(client, path="/held", deadline_s=0.05)
        storm.may_answer.set()
        held = await asyncio.gather(*out)
        await client.close()
        await server.until(lambda: server.open == 0)

    found = {path: each.result() for path, each in calls.items() if not each.cancelled()}
    answered = {path: each.body for path, each in found.items() if isinstance(each, Answered)}
    unsent = {path for path, each in found.items() if isinstance(each, NotSent)}
    assert answered
    assert answered == {path: path.encode() for path in answered}
    assert unsent
    assert unsent.isdisjoint(storm.seen)
    assert max(storm.seen.count(path) for path in paths if "POST" in path) == 1
    assert max(storm.seen.count(path) for path in paths) <= 2
    assert isinstance(too_many, NotSent)
    assert (held, storm.held) == ([YES] * 3, 3)


async def test_permits_are_given_in_the_order_in_which_they_were_asked_for():
    seen: list[str] = []

    async def behave(wire: Wire) -> None:
        while True:
            seen.append((await wire.request()).split()[1])
            await wire.say(OK)

    async with raw_server(behave) as server:
        client = HttpClient(server.url, connections_max=1)
        await asyncio.gather(*(call(client, path=f"/{each}") for each in range(50)))
        await client.close()

    assert seen == [f"/{each}" for each in range(50)]
    assert server.opened == 1


async def test_an_idle_connection_is_closed_in_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_pool, "KEEPALIVE_S", 0.05)

    async with raw_server(answer_all) as server:
        client = HttpClient(server.url)
        await asyncio.gather(*(call(client) for _ in range(3)))
        await server.until(lambda: server.open == 0)
        again = await call(client)
        await server.until(lambda: server.open == 0)
        await client.close()

    assert again == YES
    assert server.opened == 4


async def test_a_connection_that_was_idle_for_too_long_is_not_used_where_the_loop_stood_still(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(http_pool, "KEEPALIVE_S", 0.05)

    async with raw_server(answer_all) as server:
        client = HttpClient(server.url)
        await call(client)
        # No timer can end it meanwhile.
        threading.Event().wait(0.1)
        await call(client)
        await client.close()

    assert server.opened == 2


async def test_the_connection_that_was_used_last_is_used_first():
    served: list[int] = []

    async def behave(wire: Wire) -> None:
        while True:
            await wire.request()
            served.append(wire.number)
            await wire.say(OK)

    async with raw_server(behave) as server:
        client = HttpClient(server.url)
        await asyncio.gather(call(client), call(client), call(client))
        together, served[:] = list(served), []
        for _ in range(5):
            await call(client)
        await client.close()

    assert sorted(together) == [1, 2, 3]
    assert len(set(served)) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_request_names_its_host_and_path_as_the_url_has_them(host: str):
    heads: list[bytes] = []

    async def behave(wire: Wire) -> None:
        heads.append(await wire.reader.readuntil(b"\r\n\r\n"))
        await wire.say(OK)

    async with raw_server(behave, host=host) as server:
        client = HttpClient(server.url + "/v1/", connections_max=1)
        await client.send(
            "GET", "/a%2Fb?c=%20d", deadline_s=DEADLINE_S, headers={"accept": "text/plain"}
        )
        await client.close()

    shown = server.url.removeprefix("http://").encode()
    assert heads[0].split(b"\r\n") == [
        b"GET /v1/a%2Fb?c=%20d HTTP/1.1",
        b"Host: " + shown,
        b"accept: text/plain",
        b"Accept-Encoding: identity",
        b"User-Agent: paygate",
        b"",
        b"",
    ]


def served_by(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for this host, and a client's that believes it."""
    cert, key = certificate(folder, host)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(cert, key)
    return served, ssl.create_default_context(cafile=str(cert))


async def test_tls_verifies_the_host_by_name_and_asks_for_it(tmp_path: Path):
    served, trusting = served_by(tmp_path, "localhost")
    names: list[str | None] = []
    served.sni_callback = lambda _socket, name, _context: names.append(name)

    async with raw_server(answer_all, tls=served) as server:
        url = f"https://localhost:{server.port}"
        client = HttpClient(url, tls=trusting)
        found = [await call(client) for _ in range(3)]
        await client.close()
        other = HttpClient(f"https://127.0.0.1:{server.port}", tls=trusting)
        stranger = HttpClient(url)
        refused = [await call(other), await call(stranger)]
        await other.close()
        await stranger.close()

    assert found == [YES] * 3
    assert names[0] == "localhost"
    no = NotSent(detail="No secure connection to the provider could be made.")
    assert refused == [no, no]


@pytest.mark.parametrize("url", ["HTTPS://localhost", "https://LOCALHOST", "ftp://localhost"])
async def test_what_is_not_plainly_http_is_never_spoken_to_in_plain_text(url: str):
    heard = b""

    async def listen(wire: Wire) -> None:
        nonlocal heard
        heard += await wire.reader.read(65_536)

    async with raw_server(listen) as server:
        client = HttpClient(f"{url}:{server.port}")
        found = await call(client)
        await client.close()

    assert isinstance(found, NotSent)
    # A handshake, or nothing.
    assert heard[:1] in (b"\x16", b"")


@pytest.mark.parametrize("at", [0, 1, 30, len(OK) - 1])
async def test_an_answer_that_is_cut_within_tls_is_never_an_answer(tmp_path: Path, at: int):
    served, trusting = served_by(tmp_path, "localhost")

    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.say(OK[:at])

    async with raw_server(behave, tls=served) as server:
        client = HttpClient(f"https://localhost:{server.port}", tls=trusting)
        found = await call(client)
        await client.close()

    assert isinstance(found, Broken)
    assert found.reason == "reset"


async def test_a_call_given_up_as_its_handshake_ends_leaves_the_next_socket_alone(tmp_path: Path):
    served, trusting = served_by(tmp_path, "localhost")
    loop = asyncio.get_running_loop()
    deadline_s = 0.5
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        client = HttpClient(f"https://localhost:{listener.getsockname()[1]}", tls=trusting)
        given_up = loop.create_task(call(client, deadline_s=deadline_s))
        theirs, _ = await loop.sock_accept(listener)
        with theirs:
            said, heard = ssl.MemoryBIO(), ssl.MemoryBIO()
            handshake = served.wrap_bio(heard, said, server_side=True)
            heard.write(await loop.sock_recv(theirs, 65_536))
            with suppress(ssl.SSLWantReadError):
                handshake.do_handshake()
            theirs.send(said.read())
            busy_until_s = loop.time() + deadline_s
            while loop.time() < busy_until_s:
                pass  # so that the loop finds the handshake's end and the deadline at once
            found = await given_up

            # What is opened now gets the number of the socket that was closed.
            async with raw_server(answer_all) as server:
                other = HttpClient(server.url)
                after = await call(other)
                await other.close()
        await client.close()

    assert found == NotSent(detail="The provider could not be reached within the deadline.")
    assert after == YES


async def test_a_handshake_without_end_has_the_deadline_of_its_call():
    async def say_nothing(wire: Wire) -> None:
        await wire.ended()

    async with raw_server(say_nothing) as server:
        client = HttpClient(server.url.replace("http:", "https:"))
        found = await call(client, deadline_s=0.1)
        await server.until(lambda: server.open == 0)
        await client.close()

    assert found == NotSent(detail="The provider could not be reached within the deadline.")


class Names:
    """In the place of the system's resolver: says who asked, and answers when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def look_up(self, host: str, port: int, **_: object) -> Sequence[object]:
        self.asked += 1
        await self.may_answer.wait()
        if host.startswith("no"):
            raise socket.gaierror(socket.EAI_NONAME, "nobody")
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.look_up)
    return names


async def test_many_connections_at_once_look_the_name_up_once(names: Names):
    names.may_answer.clear()

    async with raw_server(answer_all) as server:
        client = HttpClient(f"http://shop.example:{server.port}")
        calls = [asyncio.ensure_future(call(client)) for _ in range(20)]
        await until(lambda: names.asked > 0)
        # Whoever gives up does not end the look-up of the others.
        calls[0].cancel()
        names.may_answer.set()
        found = await asyncio.gather(*calls[1:])
        await client.close()

    assert found == [YES] * 19
    assert names.asked == 1


async def test_a_name_that_is_not_found_is_asked_for_again(names: Names):
    client = HttpClient("http://nobody.example")

    found = [await call(client) for _ in range(3)]
    await client.close()

    assert found == [NotSent(detail="The provider's host name could not be resolved.")] * 3
    assert names.asked == 3


async def test_addresses_where_nobody_is_are_doubted(names: Names):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    client = HttpClient(f"http://shop.example:{port}")

    found = [await call(client) for _ in range(2)]
    await client.close()

    assert found == [NotSent(detail="The provider could not be reached.")] * 2
    assert names.asked == 2


async def test_closing_ends_a_look_up(names: Names):
    names.may_answer.clear()
    client = HttpClient("http://shop.example")

    calling = asyncio.ensure_future(call(client))
    await until(lambda: names.asked > 0)
    await client.close()

    assert await calling == NotSent(detail="The gateway was being stopped.")


async def test_a_literal_address_needs_no_look_up(names: Names):
    for host in ("127.0.0.1", "::1"):
        found = await HostAddresses(host, 80).find()
        assert found[0][4][:2] == (host, 80)

    assert names.asked == 0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # nobody would set an event
            await asyncio.sleep(0)
