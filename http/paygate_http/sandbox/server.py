"""The sandbox as one server: `start_sandbox` joins its parts and listens."""

import asyncio
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from paygate_engine.clock import Clock, SystemClock
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import FaultSheet
from paygate_http.sandbox.folder import Folder, Nowhere
from paygate_http.sandbox.joined import join
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.schedule import Schedule
from paygate_http.sandbox.teller import Terms

WEBHOOK_SECRET = "whsec_cGF5Z2F0ZS1zYW5kYm94LXdlYmhvb2stc2VjcmV0"  # noqa: S105 - public: the contract prints it
"""What every sandbox signs its webhooks with; a live server refuses it."""

# A hanging call is cut off at once when the sandbox stops; an ordinary one is done by then.
_SHUTDOWN_S = 0.25
_BACKLOG = 1_024


class Sandbox:
    """A running sandbox. `url` has no trailing slash; `stop` is idempotent."""

    def __init__(
        self,
        *,
        url: str,
        books: Books,
        schedule: Schedule,
        notices: Notices,
        runner: web.AppRunner,
    ) -> None:
        self.url = url
        self._books = books
        self._schedule = schedule
        self._notices = notices
        self._runner = runner
        self._worker: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return urlsplit(self.url).port or 0

    async def start(self, listener: socket.socket) -> None:
        """Take calls on the bound socket, and begin with what an earlier process left open."""
        self._notices.start()
        self._worker = asyncio.create_task(self._schedule.run(), name="sandbox-schedule")
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=_BACKLOG).start()

    async def stop(self) -> None:
        """Stop listening, break off what hangs, write the books and let go of the folder."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._notices.listeners.close()
        await self._runner.cleanup()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await self._notices.stop()
        await self._books.close()


async def start_sandbox(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    listener: socket.socket | None = None,
    data_dir: Path | None = None,
    seed: int | None = None,
    latency_ms: int = 50,
    find_lag_ms: int = 2_000,
    void_window_s: int = 86_400,
    gateway_url: str | None = None,
    webhook_secret: str = WEBHOOK_SECRET,
    clock: Clock | None = None,
    fault_sheet: FaultSheet | None = None,
) -> Sandbox:
    """Start both provider accounts on one server; port 0 takes any free one.

    `listener`, from `listen`, is bound to both already, and is closed with the sandbox.
    With `data_dir` the books survive kill -9; without, they end with the process. `gateway_url`
    gets the webhooks, until another one registers by `POST /gateway`; None leaves whoever
    registered before a restart. `fault_sheet` stands from the beginning. Raises `StoreRefused`
    where another sandbox has the folder, `FaultsRefused`, and `OSError` where the port is taken.
    """
    listener = listener or listen(host, port)
    try:
        books = Books(Folder(data_dir) if data_dir is not None else Nowhere())
    except BaseException:
        listener.close()
        raise
    if gateway_url is not None:
        books.settings.gateway_url = gateway_url.rstrip("/")
        books.keep_settings()
    terms = Terms(
        find_lag_us=find_lag_ms * 1_000,
        void_window_us=void_window_s * 1_000_000,
        url=url_of(host, listener),
    )
    joined = join(
        books,
        clock=clock if clock is not None else SystemClock(),
        terms=terms,
        seed=secrets.randbits(64) if seed is None else seed,
        latency_s=latency_ms / 1_000,
        webhook_secret=webhook_secret,
        fault_sheet=fault_sheet,
    )
    runner = web.AppRunner(joined.app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    sandbox = Sandbox(
        url=terms.url,
        books=books,
        schedule=joined.schedule,
        notices=joined.notices,
        runner=runner,
    )
    await sandbox.start(listener)
    return sandbox


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen: whoever calls waits until the sandbox starts on it. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def url_of(host: str, listener: socket.socket) -> str:
    """Give the URL of a server on this host and socket; IPv6 addresses in brackets."""
    port: int = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
