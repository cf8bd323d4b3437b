"""Several processes behind one port, over a real PostgreSQL: killed, drained, orphaned."""

import os
import signal
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateway_words import until
from postgres_rig import PostgresServer, execute, installed, one_server, processes_of
from process_rig import METRICS, OPERATOR, GatewayClient, Process

pytestmark = pytest.mark.slow

# Two processes that import, join and recover, on a machine that others use as well.
COMES_BACK_S = 60.0


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    with installed() as programs, one_server(programs, "workers") as running:
        yield running


@pytest.fixture
async def dsn(server: PostgresServer) -> str:
    name = f"books_{server.next_number()}"
    await execute(server.dsn(), f"CREATE DATABASE {name}")
    return server.dsn(name)


class Team:
    """A parent and its workers."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.client = GatewayClient(process)

    async def live(self) -> list[dict[str, Any]]:
        """The nodes that live; none where nobody answers just now."""
        try:
            nodes = (await self.client.api("GET", "/api/nodes", caller=OPERATOR)).made()["data"]
        except aiohttp.ClientError:
            return []
        return [node for node in nodes if node["state"] == "live"]

    async def pids(self, count: int) -> set[int]:
        """The process ids of the live nodes, once there are that many."""
        nodes = await until(self.live, lambda it: len(it) == count, patience_s=COMES_BACK_S)
        return {int(node["name"].rpartition(":")[2]) for node in nodes}

    async def pays(self, key: str) -> str:
        """A payment that comes to success, whoever serves it; asked for again when cut off."""

        async def ask() -> str:
            with suppress(aiohttp.ClientError):
                answer = await self.client.pay(key, wait_s=10)
                return answer.made()["status"] if answer.status < 300 else ""
            return ""

        return await until(ask, lambda status: status == "success")


@asynccontextmanager
async def team(dsn: str, folder: Path, *flags: str, workers: int = 2) -> AsyncGenerator[Team]:
    process = await Process.spawn(
        *("serve", "--sandbox", "--sandbox-port", "0", "--port", "0"),
        *("--data", str(folder / "data"), "--database", dsn, "--workers", str(workers)),
        *flags,
        log=folder / "log",
    )
    family: list[int] = []
    try:
        found = Team(await process.listening())
        # Looked up while there is a parent to find them by.
        family += processes_of(process.child.pid)
        try:
            yield found
        finally:
            await found.client.close()
    finally:
        family += processes_of(process.child.pid)
        process.signal(signal.SIGKILL)
        await process.ended()
        for pid in family:
            if is_ours(pid):
                os.kill(pid, signal.SIGKILL)


def is_ours(pid: int) -> bool:
    """Whether the id is still that of one of our processes, and was not given to another."""
    try:
        return b"paygate_http" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def all_gone(pids: list[int]) -> None:
    async def left() -> list[int]:
        return [pid for pid in pids if not is_gone(pid)]

    await until(left, lambda it: not it)


def adjacent_ports() -> int:
    """The first of two free ports, one behind the other."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError):
                second.bind(("127.0.0.1", port + 1))
                return port


async def test_a_worker_that_is_killed_comes_back_and_the_others_pay_on(dsn: str, tmp_path: Path):
    async with team(dsn, tmp_path) as running:
        before = await running.pids(2)
        paid = await running.pays("key-1")
        killed = min(before)

        os.kill(killed, signal.SIGKILL)
        paid_meanwhile = [await running.pays(f"key-{number}") for number in range(2, 6)]

        after = await until(
            lambda: running.pids(2), lambda pids: killed not in pids, patience_s=COMES_BACK_S
        )
        assert paid == "success"
        assert paid_meanwhile == ["success"] * 4
        assert len(before & after) == 1
        assert len(await running.client.every("payments")) == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_all_drain_when_the_parent_is_told_to_end(
    dsn: str, tmp_path: Path, number: signal.Signals
):
    async with team(dsn, tmp_path) as running:
        await running.pays("key-1")
        family = processes_of(running.process.child.pid)

        running.process.signal(number)
        code = await running.process.ended()

        log = running.process.tail()
        assert (code, len(family)) == (0, 4), log  # the parent, two workers and the sandbox
        await all_gone(family)
        assert log.count('"event":"drained"') == 2


async def test_a_parent_that_is_killed_leaves_no_orphan(dsn: str, tmp_path: Path):
    async with team(dsn, tmp_path) as running:
        family = processes_of(running.process.child.pid)

        running.process.signal(signal.SIGKILL)
        await running.process.ended()

        assert len(family) == 4
        await all_gone(family)


async def test_a_hang_up_has_every_worker_read_its_rules_again(dsn: str, tmp_path: Path):
    async with team(dsn, tmp_path) as running:
        before = await running.pids(2)

        running.process.signal(signal.SIGHUP)

        async def reloaded() -> int:
            return running.process.log.read_text().count('"event":"configuration_reloaded"')

        assert await until(reloaded, lambda count: count == 2)
        assert await running.pids(2) == before
        assert await running.pays("key-1") == "success"  # the sandbox is still there


async def test_each_worker_has_a_port_of_its_own_with_its_own_numbers(dsn: str, tmp_path: Path):
    base = adjacent_ports()
    async with team(dsn, tmp_path, "--worker-port-base", str(base)) as running:
        seen: list[str] = []
        for port in (base, base + 1):
            url = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(url) as session:
                headers = {"Authorization": f"Bearer {OPERATOR}"}
                async with session.get("/api/nodes", headers=headers) as answer:
                    nodes = (await answer.json())["data"]
                seen += [node["name"] for node in nodes if node["self"]]
                metrics = {"Authorization": f"Bearer {METRICS}"}
                async with session.get("/metrics", headers=metrics) as answer:
                    assert answer.status == 200

        assert len(set(seen)) == 2
        assert {int(name.rpartition(":")[2]) for name in seen} == await running.pids(2)


async def test_a_start_that_cannot_be_ends_with_its_exit_code(tmp_path: Path):
    process = await Process.spawn(
        *("serve", "--sandbox", "--sandbox-port", "0", "--port", "0", "--workers", "2"),
        *("--data", str(tmp_path / "data")),
        *("--database", "postgresql://u:correct-horse@127.0.0.1:1/books"),
        log=tmp_path / "log",
    )

    came_up = await process.came_up()

    assert (came_up, await process.ended()) == (False, 1)
    assert "cannot be reached" in process.tail()
    assert "correct-horse" not in process.tail()
