"""A real `paygate serve --sandbox` in a process of its own, and a client that knows its contract.

A server is started once for a module (`serving`) and visited by every test (`visiting`), which
drops the faults that an earlier test left. Payments of different tests do not touch: what the
sandbox's ledger says is read by the keys of one payment's own calls.
"""

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
from standardwebhooks import Webhook

MERCHANT = "sk_sandbox_merchant_a"
OTHER_MERCHANT = "sk_sandbox_merchant_b"
OPERATOR = "sk_sandbox_operator"
METRICS = "sk_sandbox_metrics"

APPROVED = "4242424242424242"
DECLINED = "4000000000000002"
FAILS_OVER = "4000000000000119"
CONFIRM = "4000002760003184"
DISPUTED = "4000000000000259"
BLOCKED = "4100000000000019"

# Public: the sandbox's own, as its documents say.
WEBHOOK_SECRET = "whsec_cGF5Z2F0ZS1zYW5kYm94LXdlYmhvb2stc2VjcmV0"

OPEN = ("pending", "processing")
# Longer than any deadline, lag and pause between two look-ups together, on a busy machine.
WAIT_S = 25.0
# Between two looks: a waiting test leaves the processor to the server that it waits for.
LOOK_S = 0.02
# A process that has not ended by now never will.
ENDS_S = 20.0
# A valid card of today's world, whenever that is.
EXPIRY_YEAR = datetime.now(UTC).year + 5  # noqa: TID251

_LINE = re.compile(r"paygate: listening on (https?://127\.0\.0\.1:\d+)\n")

T = TypeVar("T")


class Server(NamedTuple):
    """A running process. `log` is its standard error, `data` its folder."""

    process: subprocess.Popen[str]
    url: str
    data: Path
    log: Path


class Answer(NamedTuple):
    """One response; `body` is its JSON (numbers as `Decimal`), or None where it is none."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str

    @property
    def code(self) -> tuple[int, str | None]:
        """The status, and the problem's code where there is one."""
        problem = self.headers.get("Content-Type") == "application/problem+json"
        return self.status, self.body["code"] if problem else None


@contextmanager
def serving(folder: Path, *flags: str, **variables: str) -> Generator[Server]:
    """Run a gateway with its sandbox on free ports; kill it in the end."""
    data, log = folder / "data", folder / "log"
    command = [sys.executable, "-m", "paygate_http", "serve", "--sandbox", "--data", str(data)]
    command += ["--port", "0", "--sandbox-port", "0", *flags]
    bare = {name: text for name, text in os.environ.items() if not name.startswith("PAYGATE__")}
    with (
        log.open("a") as stream,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stream, text=True, env=bare | variables
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = _LINE.fullmatch(line)
            assert match, f"{line!r}: {log.read_text()}"
            yield Server(process, match[1], data, log)
        finally:
            process.kill()
            process.wait(ENDS_S)


@asynccontextmanager
async def visiting(server: Server | str) -> AsyncGenerator["Live"]:
    """Come in as a client of a server, or of a URL, with no fault standing in the sandbox."""
    url = server if isinstance(server, str) else server.url
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        live = Live(url, session)
        await live.find_sandbox()
        await live.clear_faults()
        yield live


def payment_request(number: str = APPROVED, **changes: object) -> dict[str, Any]:
    """Make the body of a payment of 10.00 USD; a change to None leaves the field out."""
    method: dict[str, object] = {"type": "card", "cardNumber": number, "cvv": "123"}
    method |= {"expiryMonth": 12, "expiryYear": EXPIRY_YEAR}
    body: dict[str, Any] = {"amount": 10.00, "currency": "USD", "paymentMethod": method}
    return {name: value for name, value in (body | changes).items() if value is not None}


class Live:
    """A client of one server, of its sandbox, and of their contract."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session
        self.sandbox = ""

    async def find_sandbox(self) -> None:
        """Ask the gateway where the sandbox listens."""
        providers = (await self.get("/api/providers")).body["data"]
        # A provider's API may lie below the root of its server.
        url: str = providers[0]["config"]["url"]
        parts = urlsplit(url)
        self.sandbox = f"{parts.scheme}://{parts.netloc}"

    # ------------------------------------------------------------------ one request

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = MERCHANT,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one request. `body`: bytes go as they are, all else as JSON."""
        sent = {} if key is None else {"Authorization": f"Bearer {key}"}
        data: bytes | None = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = path if path.startswith("http") else self.url + path
        sent |= headers or {}
        async with self.session.request(method, url, data=data, headers=sent) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json") and text
            found = json.loads(text, parse_float=Decimal) if is_json else None
            return Answer(response.status, response.headers, found, text)

    async def get(self, path: str, *, key: str | None = MERCHANT) -> Answer:
        """Read."""
        return await self.call("GET", path, key=key)

    # ------------------------------------------------------------------ payments

    async def process(
        self,
        body: object,
        *,
        key: str = MERCHANT,
        idempotency_key: str | None = None,
        wait_s: int | None = 10,
    ) -> Answer:
        """Ask for a payment; by default the answer is held until it is decided."""
        headers = {} if wait_s is None else {"Prefer": f"wait={wait_s}"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return await self.call("POST", "/api/payments/process", body, key=key, headers=headers)

    async def pay(
        self, number: str = APPROVED, *, wait_s: int | None = 10, **changes: object
    ) -> dict[str, Any]:
        """Make a payment that is taken, and give it."""
        made = await self.process(payment_request(number, **changes), wait_s=wait_s)
        assert made.status == 201, made.text
        return made.body

    async def operate(
        self,
        payment_id: str,
        operation: str,
        body: object = None,
        *,
        key: str = MERCHANT,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Capture, refund, reverse or review."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        path = f"/api/payments/{payment_id}/{operation}"
        return await self.call("POST", path, body, key=key, headers=headers)

    async def done(self, payment_id: str, operation: str, body: object = None) -> dict[str, Any]:
        """Do an operation that is taken, and give its transaction once it is final."""
        made = await self.operate(payment_id, operation, body)
        assert made.status == 201, made.text
        return await self.settled(made.body["id"])

    async def payment(self, payment_id: str) -> dict[str, Any]:
        """Read a payment, as an operator: whoever's it is."""
        found = await self.get(f"/api/payments/{payment_id}", key=OPERATOR)
        assert found.status == 200, found.text
        return found.body

    async def transaction(self, transaction_id: str) -> dict[str, Any]:
        """Read a transaction, as an operator."""
        found = await self.get(f"/api/transactions/{transaction_id}", key=OPERATOR)
        assert found.status == 200, found.text
        return found.body

    async def transactions(self, payment_id: str, **filters: str) -> list[dict[str, Any]]:
        """List a payment's transactions, the oldest first."""
        query = "&".join(f"{name}={text}" for name, text in filters.items())
        path = f"/api/transactions?paymentID={payment_id}&limit=100&{query}"
        found = await self.get(path, key=OPERATOR)
        assert found.status == 200, found.text
        return found.body["data"][::-1]

    async def events(self, payment_id: str) -> list[dict[str, Any]]:
        """Read a payment's history."""
        found = await self.get(f"/api/payments/{payment_id}/events", key=OPERATOR)
        assert found.status == 200, found.text
        return found.body["data"]

    async def metric(self, name: str) -> float:
        """Read one number of the metrics, by its name with its labels; 0 if it is not there."""
        page = (await self.get("/metrics", key=METRICS)).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
        return 0.0 if found is None else float(found[1])

    async def webhook(
        self, body: bytes, *, event_id: str, provider: str = "sandbox", **headers: str
    ) -> Answer:
        """Send a webhook that is signed; `headers` replace those of the signature."""
        given = signed(body, event_id=event_id) | headers
        path = f"/api/webhooks/{provider}"
        return await self.call("POST", path, body, key=None, headers=given)

    # ------------------------------------------------------------------ waiting

    async def until(
        self,
        look: Callable[[], Awaitable[T]],
        is_so: Callable[[T], bool],
        *,
        wait_s: float = WAIT_S,
    ) -> T:
        """Look until it is so; a test that waits in vain says what it last saw."""
        seen: T | None = None
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    seen = await look()
                    if is_so(seen):
                        return seen
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise AssertionError(f"it never came; last seen: {seen}") from error

    async def until_payment(
        self, payment_id: str, is_so: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Wait for a payment to be so."""
        return await self.until(lambda: self.payment(payment_id), is_so)

    async def until_status(self, payment_id: str, *statuses: str) -> dict[str, Any]:
        """Wait for one of these statuses."""
        return await self.until_payment(payment_id, lambda seen: seen["status"] in statuses)

    async def settled(self, transaction_id: str) -> dict[str, Any]:
        """Wait for a transaction's last word."""
        return await self.until(
            lambda: self.transaction(transaction_id), lambda seen: seen["status"] != "pending"
        )

    async def kept_too_much(self) -> str:
        """Pay another amount than ours, which cannot be given back; the payment's id."""
        await self.fault("wrong_amount", operation="charge")
        await self.fault("decline", operation="void")
        payment_id = (await self.pay(wait_s=None))["id"]
        await self.until(
            lambda: self.transactions(payment_id),
            lambda seen: (
                [each["status"] for each in seen if each["type"] == "reverse"] == ["failed"]
            ),
        )
        return payment_id

    async def at_rest(self, payment_id: str) -> dict[str, Any]:
        """Wait until nothing of a payment is open: no call in doubt, no transaction pending.

        A held payment keeps its own first transaction pending, and is at rest all the same.
        """

        async def look() -> tuple[dict[str, Any], bool]:
            # In this order: what is not pending any more is in the sums that are read after it.
            pending = await self.transactions(payment_id, status="pending")
            payment = await self.payment(payment_id)
            others = [each for each in pending if each["id"] != payment["transactionID"]]
            return payment, payment["status"] not in OPEN and not payment["inDoubt"] and not others

        return (await self.until(look, lambda seen: seen[1]))[0]

    async def agreed(self, payment_id: str) -> dict[str, Any]:
        """Wait until it is at rest, and assert that its sums are those of the sandbox's books."""
        payment = await self.at_rest(payment_id)
        moved = await self.effects(payment_id)
        undone = any(operation == "void" for operation, _ in moved)
        signs = {"charge": 1, "capture": 1, "refund": -1}
        kept = 0 if undone else sum(signs.get(each, 0) * minor_ for each, minor_ in moved)
        booked = minor(payment["amountCaptured"]) - minor(payment["amountRefunded"])
        assert booked == kept, f"{payment} against {moved}"
        if payment["status"] in ("failed", "cancelled"):
            assert kept == 0, f"{payment['status']} while money moved: {moved}"
        return payment

    # ------------------------------------------------------------------ the sandbox

    async def control(self, method: str, path: str, body: object = None) -> Any:
        """Do something to the sandbox, or look at it."""
        answer = await self.call(method, self.sandbox + path, body, key=None)
        assert answer.status == 200, answer.text
        return answer.body

    async def fault(self, fault: str, **more: object) -> None:
        """Let the next call (or webhook) that fits go wrong."""
        await self.control("POST", "/faults", {"fault": fault, **more})

    async def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        await self.control("DELETE", "/faults")

    async def call_keys(self, payment_id: str) -> list[str]:
        """List the keys of every call that the payment ever intended."""
        events = await self.events(payment_id)
        return [event["data"]["key"] for event in events if event["type"] == "call_started"]

    async def effects(self, payment_id: str) -> list[tuple[str, int]]:
        """List what the payment's calls moved, as (operation, minor units), oldest first.

        No key may have moved money twice: that is asserted here, for every test.
        """
        keys = set(await self.call_keys(payment_id))
        lines = [line for line in await self.ledger() if line["idempotencyKey"] in keys]
        moved = [line["idempotencyKey"] for line in lines]
        assert len(moved) == len(set(moved)), f"a key moved money twice: {lines}"
        return [(line["operation"], line["amountMinor"]) for line in lines]

    async def ledger(self) -> list[dict[str, Any]]:
        """Read the sandbox's books."""
        return (await self.control("GET", "/ledger"))["data"]

    async def calls(self) -> list[dict[str, Any]]:
        """Read every call that the sandbox received."""
        return (await self.control("GET", "/calls"))["data"]


def minor(amount: Decimal) -> int:
    """Read an amount of two decimals in minor units."""
    return int(amount * 100)


def journal_rows(server: Server) -> dict[str, int]:
    """Count the rows of every table of the journal, beside the server that writes it."""
    with closing(sqlite3.connect(f"file:{server.data / 'journal.db'}?mode=ro", uri=True)) as found:
        named = found.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {
            name: found.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in named
        }


def signed(body: bytes, *, event_id: str, at: datetime | None = None) -> dict[str, str]:
    """Sign a webhook as the sandbox would; `at`: now."""
    at = at or datetime.now(UTC)  # noqa: TID251  # the receiver compares it with the real clock
    return {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(WEBHOOK_SECRET).sign(event_id, at, body.decode()),
    }


def event(
    event_type: str,
    transaction_id: str,
    data: Mapping[str, object] | None = None,
    *,
    provider: str = "sandbox",
) -> bytes:
    """Make the body of a webhook; `data` as it goes on the wire."""
    at = datetime.now(UTC)  # noqa: TID251  # a provider's clock
    body = {
        "providerID": provider,
        "eventType": event_type,
        "transactionID": transaction_id,
        "data": data or {},
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
    }
    return json.dumps(body).encode()
