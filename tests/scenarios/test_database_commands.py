"""Commands over a database: beside nodes that serve, or when none does."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from postgres_rig import PostgresServer, connected, execute, installed, one_server, value
from process_rig import OPERATOR, GatewayClient, Process

pytestmark = pytest.mark.slow

PEPPER = {"PAYGATE__API_KEY_PEPPER": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    with installed() as programs, one_server(programs, "commands") as running:
        yield running


@pytest.fixture
async def dsn(server: PostgresServer) -> str:
    name = f"books_{server.next_number()}"
    await execute(server.dsn(), f"CREATE DATABASE {name}")
    return server.dsn(name)


class Done(NamedTuple):
    code: int
    out: str
    err: str


async def paygate(*arguments: str, **variables: str) -> Done:
    """Run one command to its end."""
    bare = {name: text for name, text in os.environ.items() if not name.startswith("PAYGATE__")}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "paygate_http", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=bare | variables,
    )
    out, err = await child.communicate()
    assert child.returncode is not None
    return Done(child.returncode, out.decode(), err.decode())


@asynccontextmanager
async def node(dsn: str, folder: Path, name: str = "one") -> AsyncGenerator[GatewayClient]:
    """One node with a sandbox of its own."""
    process = await Process.spawn(
        *("serve", "--sandbox", "--sandbox-port", "0", "--port", "0"),
        *("--data", str(folder / name), "--database", dsn),
        log=folder / f"{name}.log",
        env=PEPPER | {"PAYGATE__DATABASE__NODE": name},
    )
    client = None
    try:
        client = GatewayClient(await process.listening())
        yield client
        assert await client.stop() == 0, process.tail()
    finally:
        if client is not None:
            await client.close()
        if process.child.returncode is None:
            process.child.kill()
            await process.ended()


async def nodes_of(client: GatewayClient) -> list[dict[str, Any]]:
    return (await client.api("GET", "/api/nodes", caller=OPERATOR)).made()["data"]


async def test_migrate_says_what_it_did_and_then_that_nothing_is_to_do(dsn: str):
    first = await paygate("migrate", "--database", dsn)
    again = await paygate("migrate", "--database", dsn)

    assert (first.code, again.code) == (0, 0)
    assert re.search(r"^migrated: 0001 ", first.out, re.MULTILINE)
    assert first.out.endswith("is up to date\n")
    assert again.out == f"{dsn}: nothing to do\n"


async def test_a_database_that_is_away_is_one_sentence_without_its_password():
    url = "postgresql://paygate:correct-horse@127.0.0.1:1/books"

    for command in ("migrate", "doctor", "audit verify", "keys list"):
        done = await paygate(*command.split(), PAYGATE__DATABASE__URL=url, **PEPPER)

        assert done.code in {1, 2}, done
        assert "Traceback" not in done.err
        assert "correct-horse" not in done.out + done.err


async def test_a_key_is_made_beside_a_node_that_serves_and_holds_there(dsn: str, tmp_path: Path):
    flags = ("--sandbox", "--data", str(tmp_path / "one"), "--database", dsn)
    async with node(dsn, tmp_path) as client:
        new = ("--role", "merchant", "--merchant", "shop")
        made = await paygate("keys", "create", *flags, *new, **PEPPER)
        key = made.out.strip()
        used = await client.api("GET", "/api/payments", caller=key)
        listed = await paygate("keys", "list", "--json", *flags, **PEPPER)
        key_id = msgspec.json.decode(listed.out.splitlines()[0])["id"]
        revoked = await paygate("keys", "revoke", key_id, *flags, **PEPPER)
        nodes = await nodes_of(client)

    assert (made.code, listed.code, revoked.code) == (0, 0, 0), (made, listed, revoked)
    assert used.status == 200
    assert revoked.out == f"revoked {key_id}\n"
    # Each command was a node for a moment: it left, and its seat was taken again.
    assert [(each["id"], each["state"]) for each in nodes] == [(1, "live"), (2, "left")]


async def test_what_only_reads_joins_nobody_and_finds_all_well(dsn: str, tmp_path: Path):
    there = ("--data", str(tmp_path / "one"), "--database", dsn)
    rules = tmp_path / "rules.toml"
    rules.write_text("")
    async with node(dsn, tmp_path) as client:
        await client.pay("key-1", wait_s=10)
        beside = await paygate("audit", "verify", *there)
        doctor = await paygate("doctor", *there)
        routed = await paygate("routing", "replay", "--rules", str(rules), "--sandbox", *there)
        replayed = await paygate("webhooks", "replay", "--dry-run", "--sandbox", *there)
        nodes = await nodes_of(client)
    after = await paygate("audit", "verify", *there)

    assert [each.code for each in (beside, doctor, routed, replayed, after)] == [0] * 5, doctor
    assert re.match(
        r"audit: chain 1: \d+ rows, all sound; [1-9]\d* published ends agree", after.out
    )
    assert "1 live of 1 seats" in doctor.out
    assert doctor.out.endswith("healthy: nothing needs a person\n")
    assert "1 payments were routed" in routed.out
    assert len(nodes) == 1


async def test_rows_that_were_cut_off_a_chain_are_found_by_its_published_ends(
    dsn: str, tmp_path: Path
):
    there = ("--data", str(tmp_path / "one"), "--database", dsn)
    async with node(dsn, tmp_path):
        pass
    last = await value(dsn, "SELECT max(n) FROM paygate.audit")
    await execute(dsn, "DELETE FROM paygate.audit WHERE n = $1", last)

    verified = await paygate("audit", "verify", *there)
    doctor = await paygate("doctor", *there)

    assert (verified.code, doctor.code) == (1, 1)
    assert "cut short" in verified.out
    assert f"Audit chain 1 ends at row {last - 1}" in doctor.out


async def test_a_sandboxs_database_is_not_served_live(dsn: str, tmp_path: Path):
    async with node(dsn, tmp_path):
        pass
    live = {
        "PAYGATE__VAULT__KEYS": "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "PAYGATE__VAULT__FINGERPRINT_KEY": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
    }

    flags = ("--role", "operator", "--data", str(tmp_path / "two"), "--database", dsn)
    refused = await paygate("keys", "create", *flags, **PEPPER, **live)

    assert refused.code == 1
    assert "sandbox" in refused.err


async def test_a_node_that_meets_a_silent_database_as_it_starts_says_so_in_one_line(
    dsn: str, tmp_path: Path
):
    assert (await paygate("migrate", "--database", dsn)).code == 0
    async with connected(dsn) as other, other.transaction():
        await other.execute("LOCK TABLE paygate.documents IN ACCESS EXCLUSIVE MODE")

        done = await paygate(
            "serve", "--sandbox", "--port", "0", "--data", str(tmp_path), "--database", dsn
        )

    last = done.err.splitlines()[-1]
    assert done.code == 1
    assert last.startswith("paygate: the database cannot be reached: ")
    assert "Traceback" not in done.err
