"""The gateway and its sandbox as processes of their own, so that one can die and the other not.

    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        answer = await gateway.pay("key-1")
        await gateway.kill()                     # kill -9
        gateway = await rig.serve()              # the same folder

The rig ends whatever it started, by its own ids.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import msgspec
from gateway_words import SETTLES_S, payment, signed, until
from msgspec import Struct

MERCHANT: Final = "sk_sandbox_merchant_a"
OPERATOR: Final = "sk_sandbox_operator"
METRICS: Final = "sk_sandbox_metrics"

# Starting takes under a second; this is a busy machine's, and recovery's.
STARTS_S: Final = 60.0
# The gateway's own grace is 10 s.
ENDS_S: Final = 30.0
# One request, `Prefer: wait` included.
REQUEST_S: Final = 60.0

OPEN: Final = frozenset({"pending", "processing"})
# Where a person is waited for: the payer, the reviewer, the merchant who captures.
RESTING: Final = frozenset({"requires_action", "review", "authorized"})


_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_LINE: Final = re.compile(rb"paygate(?: sandbox)?: listening on (http://127\.0\.0\.1:\d+)\n")


class Answer(Struct, frozen=True):
    """One answer: its status, its JSON (numbers exact) and whether it was a replay."""

    status: int
    body: Any
    replayed: bool = False
    retry_after: str | None = None

    def made(self) -> dict[str, Any]:
        """The body of a 2xx."""
        assert 200 <= self.status < 300, (self.status, self.body)
        return self.body


class Settled(Struct, frozen=True, kw_only=True):
    """All payments and transactions of a merchant."""

    payments: list[dict[str, Any]]
    transactions: list[dict[str, Any]]

    @property
    def open(self) -> list[str]:
        """The ids of what is on its way: not what waits for a person or a bank's court."""
        resting = {row["transactionID"] for row in self.payments if row["status"] in RESTING}
        return [row["id"] for row in self.payments if row["status"] in OPEN or row["inDoubt"]] + [
            row["id"]
            for row in self.transactions
            if row["status"] == "pending" and row["type"] != "chargeback"
            if row["id"] not in resting
        ]


class Process:
    """One child: started with its line awaited or not, ended by its id."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self.child = child
        self.log = log
        self.url = ""

    @classmethod
    async def spawn(
        cls,
        *arguments: str,
        log: Path,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Self:
        """Start `paygate` with these arguments; its log is appended to `log`."""
        bare = {name: text for name, text in os.environ.items() if not name.startswith("PAYGATE__")}
        with log.open("ab") as sink:
            child = await asyncio.create_subprocess_exec(
                *prefix,
                sys.executable,
                "-m",
                "paygate_http",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                env=bare | (env or {}),
            )
        return cls(child, log)

    async def listening(self) -> Self:
        """Wait for its line, which it prints once it is ready."""
        assert await self.came_up(), f"it ended, and its log ends with:\n{self.tail()}"
        return self

    async def came_up(self) -> bool:
        """Wait for its line; False: it ended without one."""
        assert self.child.stdout is not None
        async with asyncio.timeout(STARTS_S):
            line = await self.child.stdout.readline()
        if not line:
            return False
        match = _LINE.fullmatch(line)
        assert match, f"{line!r}, and its log ends with:\n{self.tail()}"
        self.url = match[1].decode()
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        # `child.send_signal` would poll, and so take the exit code away from asyncio's watcher.
        if self.child.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.child.pid, number)

    async def ended(self, within_s: float = ENDS_S) -> int:
        """Wait for its end; returns the exit code (negative: the signal that ended it)."""
        async with asyncio.timeout(within_s):
            # Standard output is read to its end: the transport is closed only then.
            await self.child.communicate()
        assert self.child.returncode is not None
        return self.child.returncode

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4_000:]


async def command(*arguments: object) -> tuple[int, str]:
    """Run `paygate` as a process of its own; its exit code, and everything that it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "paygate_http",
        *(str(argument) for argument in arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, said.decode()


class Talker:
    """A client of one process; every connection of its own is closed with it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = process.url
        self._session = aiohttp.ClientSession(
            process.url,
            timeout=aiohttp.ClientTimeout(total=REQUEST_S),
            connector=aiohttp.TCPConnector(limit=0),
            trust_env=False,
        )

    async def ask(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request and its answer. Raises what aiohttp raises where there is none."""
        data = body if isinstance(body, bytes) or body is None else _encode(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        async with self._session.request(method, path, data=data, headers=sent) as response:
            raw = await response.read()
            return Answer(
                response.status,
                _decode(raw) if "json" in response.content_type else raw.decode(),
                response.headers.get("Idempotent-Replayed") == "true",
                response.headers.get("Retry-After"),
            )

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._session.close()


class SandboxClient(Talker):
    """The sandbox beside: its books and its faults."""

    async def ledger(self) -> list[dict[str, Any]]:
        """Everything that moved money."""
        return (await self.ask("GET", "/ledger")).made()["data"]

    async def calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        """Every call that came in."""
        lines = (await self.ask("GET", "/calls")).made()["data"]
        return [line for line in lines if operation in (None, line["operation"])]

    async def fault(self, fault: str, **more: object) -> None:
        """Plan a fault."""
        (await self.ask("POST", "/faults", {"fault": fault, **more})).made()

    async def clear_faults(self) -> None:
        """Drop all plans."""
        (await self.ask("DELETE", "/faults")).made()

    async def until_called(self, operation: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until that many calls of this kind came in."""
        return await until(lambda: self.calls(operation), lambda calls: len(calls) >= count)


class GatewayClient(Talker):
    """A running gateway."""

    async def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        wait_s: int = 0,
        caller: str = MERCHANT,
    ) -> Answer:
        """One request to `/api`. `key`: the idempotency key; `wait_s`: `Prefer: wait`."""
        headers = {"Authorization": f"Bearer {caller}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        return await self.ask(method, path, body, headers=headers)

    async def pay(
        self, key: str | None, *, body: dict[str, Any] | None = None, wait_s: int = 0
    ) -> Answer:
        """Send a payment; `body` is `payment()` where it is not given."""
        sent = payment() if body is None else body
        return await self.api("POST", "/api/payments/process", sent, key=key, wait_s=wait_s)

    async def operate(
        self, payment_id: str, verb: str, body: object = None, *, key: str | None = None
    ) -> Answer:
        """Capture, refund or reverse."""
        return await self.api("POST", f"/api/payments/{payment_id}/{verb}", body or {}, key=key)

    async def payment(self, payment_id: str) -> dict[str, Any]:
        """The payment as it stands."""
        return (await self.api("GET", f"/api/payments/{payment_id}")).made()

    async def events(self, payment_id: str) -> list[dict[str, Any]]:
        """Its history."""
        return (await self.api("GET", f"/api/payments/{payment_id}/events")).made()["data"]

    async def every(self, what: str, *, caller: str = MERCHANT) -> list[dict[str, Any]]:
        """All `payments` or `transactions`, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            path = f"/api/{what}?limit=100" + (f"&cursor={cursor}" if cursor else "")
            page = (await self.api("GET", path, caller=caller)).made()
            found += page["data"]
            if not page["hasMore"]:
                return found
            cursor = page["nextCursor"]

    async def until_status(self, payment_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until the payment is in one of these states."""
        return await until(lambda: self.payment(payment_id), lambda it: it["status"] in statuses)

    async def settled(self) -> Settled:
        """Wait until nothing is open: no payment, no transaction, no doubt. Everything then."""
        seen = await until(self._everything, lambda it: not it.open, patience_s=SETTLES_S)
        # Pages are read one after another, so the first of them may be older than the end.
        seen = await self._everything()
        assert not seen.open
        return seen

    async def _everything(self) -> Settled:
        return Settled(
            payments=await self.every("payments"), transactions=await self.every("transactions")
        )

    async def webhook(
        self, message_id: str, event: dict[str, Any], *, provider: str = "sandbox"
    ) -> Answer:
        """Send a webhook, signed as the provider signs it."""
        raw = msgspec.json.encode(event)
        return await self.ask(
            "POST", f"/api/webhooks/{provider}", raw, headers=signed(message_id, raw)
        )

    async def gauges(self) -> dict[str, float]:
        """The metrics page, by name with labels."""
        page = (await self.api("GET", "/metrics", caller=METRICS)).made()
        rows = [line.rpartition(" ") for line in str(page).splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, _, value in rows}

    async def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.signal(signal.SIGKILL)
        await self.close()
        await self.process.ended()

    async def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        self.process.signal(signal.SIGTERM)
        code = await self.process.ended()
        await self.close()
        return code


class ProcessRig:
    """A sandbox that runs, and a data folder on which gateways start, one after another."""

    def __init__(self, folder: Path, sandbox: SandboxClient) -> None:
        self.folder = folder
        self.data = folder / "data"
        """Where the next gateway starts; a test may point it at another folder."""
        self.log = folder / "gateway.log"
        self.sandbox = sandbox
        self._processes: list[Process] = [sandbox.process]
        self._clients: list[Talker] = [sandbox]

    async def spawn(
        self,
        *flags: str,
        port: int = 0,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Process:
        """Start a gateway without waiting for its line. `prefix`: what runs it, with options."""
        process = await Process.spawn(
            "serve",
            "--sandbox",
            "--sandbox-url",
            self.sandbox.url,
            "--port",
            str(port),
            "--data",
            str(self.data),
            *flags,
            log=self.log,
            env=env,
            prefix=prefix,
        )
        self._processes.append(process)
        return process

    async def serve(
        self, *flags: str, env: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> GatewayClient:
        """Start a gateway and wait until it is ready."""
        process = await self.spawn(*flags, env=env, prefix=prefix)
        return self.client(await process.listening())

    def client(self, process: Process) -> GatewayClient:
        """A client of a gateway that listens."""
        client = GatewayClient(process)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """End everything that was started here."""
        for client in self._clients:
            await client.close()
        for process in self._processes:
            process.signal(signal.SIGKILL)
            await process.ended()


@asynccontextmanager
async def process_rig(
    folder: Path, *, latency_ms: int = 5, find_lag_ms: int = 200, seed: int = 1
) -> AsyncGenerator[ProcessRig]:
    """Start a sandbox whose books are in memory; it outlives every gateway of the rig."""
    flags = ("--port", "0", "--latency-ms", str(latency_ms), "--find-lag-ms", str(find_lag_ms))
    process = await Process.spawn(
        "sandbox", *flags, "--seed", str(seed), log=folder / "sandbox.log"
    )
    try:
        rig = ProcessRig(folder, SandboxClient(await process.listening()))
    except BaseException:
        process.signal(signal.SIGKILL)
        await process.ended()
        raise
    try:
        yield rig
    finally:
        await rig.close()
