"""deploy/haproxy.cfg, run in front of two real nodes: what it lets through, and what it does not.

The nodes are sandboxes with a folder each: what is tried here is the way to a node, and not what
nodes share.
"""

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from deploy_rig import DEPLOY, make_secrets, moved
from live_gateway import MERCHANT, Server, payment_request, serving
from needing import needs

pytestmark = pytest.mark.slow

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
CONFIG = DEPLOY / "haproxy.cfg"
NODES = ("gateway-1", "gateway-2")
# As many as a small attack has; each is two files of the proxy.
SLOW = 200
# Between two bytes of a slow client: below every time-out that begins anew with each byte.
DRIP_S = 0.5
# The proxy's patience (`timeout http-request`), and time for a busy machine to act on it.
PATIENCE_S = 5.0
CLOSED_S_MAX = PATIENCE_S + 5.0
# While others are slow, an honest request is answered in this time; without the proxy: never.
HONEST_S_MAX = 2.0
UP_S = 20.0
LOOK_S = 0.05
ASKED = 20


class Door(NamedTuple):
    """The proxy as it runs: its port, the page of its numbers, what clients trust it by."""

    port: int
    numbers: str
    trust: ssl.SSLContext


class House(NamedTuple):
    """The proxy and the nodes behind it."""

    door: Door
    nodes: dict[str, Server]


def found_haproxy() -> str:
    needs("haproxy is missing: install the package haproxy", met=HAPROXY is not None)
    assert HAPROXY is not None
    return HAPROXY


def configured(secrets: Path, addresses: dict[str, str], *, edge: str, numbers: str) -> str:
    """Say addresses of this machine in the configuration; each must have been in it once."""
    text = moved(CONFIG.read_text(), secrets).replace("/authority ", "/authority.crt ")
    changes = {
        "bind :8443 ": f"bind {edge} ",
        "bind :8405\n": f"bind {numbers}\n",
        # Nobody answers for names here; the nodes have addresses.
        " resolvers docker\n    default-server ssl": "\n    default-server ssl",
    }
    changes |= {f"{name}:8080": address for name, address in addresses.items()}
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_secrets(tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="module")
def house(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    """The house that the tests share that harm nobody in it."""
    with built(secrets, tmp_path_factory.mktemp("house")) as one:
        yield one


@contextmanager
def built(secrets: Path, folder: Path) -> Generator[House]:
    """Run two nodes with the certificate of inside, and the proxy in front of them."""
    haproxy = found_haproxy()
    tls = ("--tls-cert", str(secrets / "gateway_cert"), "--tls-key", str(secrets / "gateway_key"))
    for name in NODES:
        (folder / name).mkdir()
    with (
        serving(folder / NODES[0], *tls) as first,
        serving(folder / NODES[1], *tls) as second,
    ):
        nodes: dict[str, Server] = dict(zip(NODES, (first, second), strict=True))
        with opened(haproxy, secrets, folder, nodes) as door:
            yield House(door, nodes)


@contextmanager
def opened(haproxy: str, secrets: Path, folder: Path, nodes: dict[str, Server]) -> Generator[Door]:
    """Run the proxy on sockets that are bound already, so that no port is lost to another."""
    with (
        socket.create_server(("127.0.0.1", 0)) as edge,
        socket.create_server(("127.0.0.1", 0)) as numbers,
        (folder / "haproxy.log").open("wb") as log,
    ):
        text = configured(
            secrets,
            {name: server.url.removeprefix("https://") for name, server in nodes.items()},
            edge=f"fd@{edge.fileno()}",
            numbers=f"fd@{numbers.fileno()}",
        )
        file = folder / "haproxy.cfg"
        file.write_text(text)
        with subprocess.Popen(
            [haproxy, "-db", "-f", str(file)],
            pass_fds=(edge.fileno(), numbers.fileno()),
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                yield Door(
                    port=edge.getsockname()[1],
                    numbers=f"http://127.0.0.1:{numbers.getsockname()[1]}/metrics",
                    trust=ssl.create_default_context(cafile=str(secrets / "authority.crt")),
                )
            finally:
                process.kill()
                process.wait(UP_S)


@pytest.fixture
async def client(house: House) -> AsyncGenerator[aiohttp.ClientSession]:
    """A client of the shared house."""
    async with visiting(house.door) as session:
        yield session


@asynccontextmanager
async def visiting(door: Door) -> AsyncGenerator[aiohttp.ClientSession]:
    """Come to the proxy once it has seen both nodes ready; each call has its own connection."""
    connector = aiohttp.TCPConnector(ssl=door.trust, force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=UP_S)
    url = f"https://localhost:{door.port}"
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
        await until_up(session, door, set(NODES))
        yield session


async def until_up(session: aiohttp.ClientSession, door: Door, nodes: set[str]) -> None:
    """Wait until it is these that the proxy sends requests to."""
    async with asyncio.timeout(UP_S):
        while True:
            if await up(session, door) == nodes:
                return
            await asyncio.sleep(LOOK_S)


async def up(session: aiohttp.ClientSession, door: Door) -> set[str]:
    """Which nodes the proxy sends requests to, by its own numbers."""
    async with session.get(door.numbers) as answer:
        page = await answer.text()
    checked = r'haproxy_server_check_status\{[^}]*server="([^"]+)",state="L7OK"[^}]*\} 1'
    served = r'haproxy_server_status\{[^}]*server="([^"]+)",state="UP"[^}]*\} 1'
    return set(re.findall(checked, page)) & set(re.findall(served, page))


async def drip(door: Door, head: bytes) -> tuple[float, bytes]:
    """Send a beginning and then a byte now and then; when it was closed, and what it was told."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", door.port, ssl=door.trust, server_hostname="localhost"
    )
    began_s = loop.time()
    told = asyncio.create_task(reader.read())
    try:
        writer.write(head)
        while not told.done():
            writer.write(b"x")
            await asyncio.wait([told], timeout=DRIP_S)
            if loop.time() - began_s > CLOSED_S_MAX:
                break
        return loop.time() - began_s, told.result() if told.done() else b"still open"
    except OSError:
        return loop.time() - began_s, b""
    finally:
        told.cancel()
        writer.transport.abort()


HEADERS = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = (
    b"POST /api/payments/process HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
)


def test_haproxy_takes_the_file_as_it_stands(secrets: Path, tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(moved(CONFIG.read_text(), secrets).replace("/authority ", "/authority.crt "))

    checked = subprocess.run(
        [found_haproxy(), "-c", "-f", file], capture_output=True, text=True, check=False
    )

    # Names of containers mean nothing here: that is the only thing it may say.
    said = [line for line in checked.stderr.splitlines() if "[WARNING]" in line]
    assert checked.returncode == 0, checked.stderr
    assert [line for line in said if "could not resolve address" not in line] == []


async def test_a_payment_goes_through_the_door_to_a_node(
    client: aiohttp.ClientSession,
) -> None:
    headers = {"Authorization": f"Bearer {MERCHANT}", "Prefer": "wait=10"}

    async with client.post(
        "/api/payments/process", json=payment_request(), headers=headers
    ) as answer:
        made = await answer.json()

    assert (answer.status, made["status"]) == (201, "success")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_what_is_for_operators_is_not_shown_to_the_world(
    client: aiohttp.ClientSession, path: str
) -> None:
    async with client.get(path) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("slow", [HEADERS, BODY], ids=["headers", "bodies"])
async def test_slow_clients_are_closed_while_honest_ones_are_served(
    client: aiohttp.ClientSession, house: House, slow: bytes
) -> None:
    loop = asyncio.get_running_loop()
    attack = [asyncio.create_task(drip(house.door, slow)) for _ in range(SLOW)]

    took_s: list[float] = []
    while not all(each.done() for each in attack):
        began_s = loop.time()
        async with client.get("/openapi.json") as answer:
            assert answer.status == 200
        took_s.append(loop.time() - began_s)
        await asyncio.sleep(DRIP_S)

    closed = await asyncio.gather(*attack)
    assert {told[:12] for _, told in closed} == {b"HTTP/1.1 408"}
    assert max(lasted_s for lasted_s, _ in closed) < CLOSED_S_MAX
    assert max(took_s) < HONEST_S_MAX


async def test_a_node_that_dies_costs_nobody_an_answer(secrets: Path, tmp_path: Path) -> None:
    found: list[int] = []

    with built(secrets, tmp_path) as house:
        async with visiting(house.door) as client:

            async def ask() -> None:
                async with client.get("/openapi.json") as answer:
                    found.append(answer.status)

            house.nodes["gateway-1"].process.kill()
            house.nodes["gateway-1"].process.wait(UP_S)
            for _ in range(ASKED):
                await ask()
            await until_up(client, house.door, {"gateway-2"})
            for _ in range(ASKED):
                await ask()

    assert found == [200] * 2 * ASKED
