"""The bytes of webhooks: no card number in them, hostile ones at the door, read again later."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from card_canary import fresh_card, leaks
from inside_gateway import inside, sandbox_aside
from live_gateway import OPERATOR, Live, event, payment_request, signed, visiting

from paygate_actors.config import ProviderConfig
from paygate_actors.projection import RAW
from paygate_actors.providers.base import AnotherAccount, ProviderEvent
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_http.__main__ import main
from paygate_http.configure import sandbox_providers
from paygate_http.sandbox.server import WEBHOOK_SECRET
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET as STRIPE_SECRET

pytestmark = pytest.mark.slow

SEED = 20_261_123
HOSTILE_S_MAX = 0.05


def kept(folder: Path) -> list[bytes]:
    """Read the bodies of all rows of raw webhooks, beside whoever writes them."""
    path = folder / "data" / "journal.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT body FROM items WHERE queue = ?", (RAW,)).fetchall()
        return [body for (body,) in rows]


async def test_no_card_number_is_in_the_bytes_that_are_kept(tmp_path: Path):
    rng = random.Random(SEED)
    cards = [fresh_card(rng) for _ in range(4)]
    async with sandbox_aside(tmp_path) as url:
        stripe = ProviderConfig(
            id="sandbox_stripe",
            kind="stripe",
            url=url,
            secret=SECRET_KEY,
            webhook_secret=STRIPE_SECRET,
            priority=9,
        )
        providers = (*sandbox_providers(url), stripe)
        async with (
            inside(tmp_path, url, providers=providers) as gateway,
            visiting(gateway.url) as live,
        ):
            await live.control("POST", "/gateway", {"url": gateway.url})
            for number, card in enumerate(cards):
                provider = ("sandbox", "sandbox_stripe")[number % 2]
                body = payment_request(card.number, provider=provider)
                body["paymentMethod"]["cvv"] = card.cvv
                made = await live.process(body)
                assert made.status == 201, made.text

            received = await live.until(
                lambda: live.metric("paygate_webhooks_received_total"), lambda seen: seen >= 4
            )

    rows = kept(tmp_path)
    assert received >= len(cards) <= len(rows)
    assert any(b"pi_" in row for row in rows), "Stripe's webhooks are among them"
    places = {f"row {number}": row for number, row in enumerate(rows)}
    assert leaks(cards, places) == [], f"seed {SEED}"


def hostile_heads() -> Mapping[str, bytes]:
    """Header lines that no client library would send."""
    return {
        "nothing": b"",
        "empty": b"webhook-signature: \r\n",
        "no ascii": b"webhook-signature: \xe9\xff\r\n",
        "NUL": b"webhook-signature: v1,\x00\r\n",
        "commas only": b"webhook-signature: " + b"," * 4_000 + b"\r\n",
        "5,000 digits": b"webhook-timestamp: " + b"1" * 5_000 + b"\r\n",
        "1,000 entries": b"webhook-signature: " + b"v1,AA " * 1_000 + b"\r\n",
        "too large": b"webhook-signature: " + b"a" * 100_000 + b"\r\n",
        "a thousand headers": b"".join(b"webhook-id: %d\r\n" % n for n in range(1_000)),
        "a folded line": b"webhook-signature: v1,\r\n AAAA\r\n",
    }


async def asked(url: str, head: bytes, body: bytes) -> int:
    """Send bytes, and give the status that they got."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = b"POST /api/webhooks/sandbox HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b"
    writer.write(request % (head, len(body), body))
    async with asyncio.timeout(5):
        line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def test_hostile_headers_at_the_door_are_4xx_and_quick(tmp_path: Path):
    body = event("payment.succeeded", "ch_x")
    async with sandbox_aside(tmp_path) as url, inside(tmp_path, url) as gateway:
        for why, head in hostile_heads().items():
            best_s = 1.0
            for _ in range(3):  # a shared machine has pauses; the code has none
                began_s = time.perf_counter()
                status = await asked(gateway.url, head, body)
                best_s = min(best_s, time.perf_counter() - began_s)

                assert 400 <= status < 500, why
            assert best_s < HOSTILE_S_MAX, f"{why}: {best_s * 1_000:.0f} ms"

        assert kept(tmp_path) == []


class Elsewhere(SandboxProvider):
    """An adapter to which everything is about another account."""

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Refuse."""
        raise AnotherAccount("it is another account's")


async def test_an_event_of_another_account_calls_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    async with sandbox_aside(tmp_path) as url:
        adapter = Elsewhere(id="sandbox", name="S", url=url, webhook_secret=WEBHOOK_SECRET)
        providers = sandbox_providers(url)[:1]
        async with (
            inside(tmp_path, url, adapters={"sandbox": adapter}, providers=providers) as gateway,
            visiting(gateway.url) as live,
        ):
            refused = await live.webhook(event("payment.succeeded", "ch_x"), event_id="evt_1")
            doctor = ["doctor", "--data", f"{tmp_path}/data", "--url", gateway.url]
            code = await asyncio.to_thread(main, doctor)

    assert refused.code == (403, "another_account")
    assert code == 1
    assert "sandbox sent 1 webhooks about another account" in capsys.readouterr().out
    assert kept(tmp_path) == []


class PassesOver(SandboxProvider):
    """An adapter of yesterday: of disputes it knows nothing."""

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Read a webhook; a dispute as an event that names nothing."""
        return tuple(
            msgspec.structs.replace(
                each, event_type="unknown", provider_txn_id="", parent_txn_id=None, amount=None
            )
            if each.event_type == "dispute.opened"
            else each
            for each in super().parse(headers, body)
        )


async def disputed_unnoticed(folder: Path, url: str) -> str:
    """Have a payment disputed at a gateway that passes disputes over; the payment's id."""
    old = PassesOver(id="sandbox", name="Sandbox", url=url, webhook_secret=WEBHOOK_SECRET)
    providers = sandbox_providers(url)[:1]
    async with (
        inside(folder, url, adapters={"sandbox": old}, providers=providers) as gateway,
        visiting(gateway.url) as live,
    ):
        paid = await live.pay()
        data = {"parentTransactionID": paid["providerTxnID"], "amountMinor": 1_000}
        body = event("dispute.opened", "dp_1", data | {"currency": "USD"})
        taken = await live.call(
            "POST",
            "/api/webhooks/sandbox",
            body,
            key=None,
            headers=signed(body, event_id="evt_dispute"),
        )
        assert taken.status == 200, taken.text
        assert (await live.payment(paid["id"]))["amountDisputed"] == 0
    return paid["id"]


async def disputed(live: Live, payment_id: str) -> int:
    return round((await live.payment(payment_id))["amountDisputed"] * 100)


def changes(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Read the lines of JSON, among what the gateway in this process logs."""
    lines = capsys.readouterr().out.splitlines()
    return [msgspec.json.decode(line) for line in lines if line.startswith("{")]


async def replay(*arguments: str) -> int:
    """Run the command as its own process would, on another thread's loop."""
    return await asyncio.to_thread(main, ["webhooks", "replay", *arguments])


async def test_what_was_passed_over_is_brought_by_the_command_in_a_folder_at_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = f"{tmp_path}/data"
    async with sandbox_aside(tmp_path) as url:
        payment_id = await disputed_unnoticed(tmp_path, url)

        tried = await replay("--data", data, "--sandbox", "--dry-run")
        would = capsys.readouterr().out
        done = await replay("--data", data, "--sandbox", "--id", "evt_dispute")
        said = capsys.readouterr()
        async with inside(tmp_path, url) as gateway, visiting(gateway.url) as live:
            await live.until(lambda: disputed(live, payment_id), lambda minor: minor == 1_000)

    assert (tried, done) == (0, 0)
    assert "sandbox/evt_dispute  unknown -> dispute.opened" in would
    assert "(nothing changed)" in would
    assert payment_id in said.out
    assert "(nothing changed)" not in said.out
    assert "1 changed" in said.err


async def test_what_was_passed_over_is_brought_through_the_running_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    async with sandbox_aside(tmp_path) as url:
        payment_id = await disputed_unnoticed(tmp_path, url)
        async with inside(tmp_path, url) as gateway, visiting(gateway.url) as live:
            first = await replay("--url", gateway.url, "--json", "--provider", "sandbox")
            (line,) = changes(capsys)
            await live.until(lambda: disputed(live, payment_id), lambda minor: minor == 1_000)
            again = await replay("--url", gateway.url, "--json")
            (line_again,) = changes(capsys)

            answer = await live.call("POST", "/api/webhook-replays", {}, key=OPERATOR)

    assert (first, again) == (0, 0)
    assert (line["paymentID"], line["applied"]) == (payment_id, True)
    assert line_again["applied"] is False
    assert [change["applied"] for change in answer.body["data"]] == [False]


async def test_a_bad_time_and_a_missing_folder_are_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    time_that_is_none = await replay("--data", str(tmp_path), "--from", "yesterday")
    said = capsys.readouterr().err
    nowhere = await replay("--data", f"{tmp_path}/none", "--sandbox")

    assert (time_that_is_none, nowhere) == (1, 1)
    assert "--from must be an RFC 3339 time" in said
    assert "there is no folder" in capsys.readouterr().err
