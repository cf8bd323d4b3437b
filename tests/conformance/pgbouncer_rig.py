"""A pooler in transaction mode before a server: every transaction may get another connection."""

import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from needing import needs
from postgres_rig import STOP_S, USER, PostgresServer, free_port, run_as

from paygate_engine.clock import SystemClock

# Fewer than the store has of its own, so that they are handed around.
POOL_SIZE = 3
START_S = 10.0
_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
server_round_robin = 1
logfile = {log}
"""


@contextmanager
def pgbouncer(server: PostgresServer, database: str) -> Generator[str]:
    """The address of a database behind a pooler, for as long as the block runs."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    needs("pgbouncer is not installed", met=program is not None)
    assert program is not None
    folder = server.installation.place("pgbouncer")
    port = free_port()
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        _CONFIGURATION.format(
            server=server.port, port=port, size=POOL_SIZE, log=folder / "pgbouncer.log", user=USER
        ).replace("* = host", f"* = user={USER} host")
    )
    with (folder / "out").open("wb") as out:
        process: subprocess.Popen[bytes] = subprocess.Popen(  # pyright: ignore[reportAssignmentType, reportCallIssue] - its overloads do not know keywords in a dictionary
            [program, configuration],
            **run_as(),
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
        )
    try:
        _wait(process, port, folder / "out")
        yield server.dsn(database, port=port)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, out: Path) -> None:
    clock = SystemClock()
    until_s = clock.monotonic_s() + START_S
    while not listens(port):
        assert process.poll() is None, out.read_text()
        assert clock.monotonic_s() < until_s, out.read_text()
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of loopback."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1] == wanted and line.split()[3] == "0A" for line in lines)
