"""A canary: cards that nobody else uses pay, fail and are misspelt; then nobody knows them.

Data folder, logs at their most talkative, metrics, every answer, and the sandbox's books are
searched for each number in every spelling, for CVVs, and for hashes that need no key.
"""

import base64
import hashlib
import json
import random
import string
from pathlib import Path
from typing import Any

import pytest
from card_canary import Card, files_of, fresh_card, leaks, spellings
from live_gateway import (
    METRICS,
    OPERATOR,
    Answer,
    Live,
    Server,
    payment_request,
    serving,
    visiting,
)

pytestmark = pytest.mark.slow

DEBUG = {"PAYGATE__SERVER__LOG_LEVEL": "debug"}
FLAGS = ("--sandbox-latency-ms", "5", "--sandbox-find-lag-ms", "100")
PROCESS = "/api/payments/process"
FAULTS = ("decline", "garbage", "error_500", "reset_after_effect", "too_many_requests", "pending")


class Canary(Live):
    """A client that keeps everything that it is told, and draws a new card for each request."""

    rng: random.Random
    cards: list[Card]
    heard: list[bytes]
    tokens: list[str]

    async def call(self, *args: Any, **more: Any) -> Answer:
        """Ask, and keep the answer with its headers."""
        answer = await super().call(*args, **more)
        self.heard.append(f"{dict(answer.headers)}\n{answer.text}".encode())
        return answer

    def draw(self) -> Card:
        """Draw a card that was never used."""
        card = fresh_card(self.rng)
        self.cards.append(card)
        return card

    def draw_token(self) -> str:
        """Draw a provider's token that was never used."""
        token = "".join(self.rng.choices(string.ascii_letters, k=24))
        self.tokens.append(token)
        return token

    def request(self, **changes: Any) -> tuple[dict[str, Any], str]:
        """Make a payment's request with a card of its own; give its number too."""
        card = self.draw()
        body = payment_request(card.number, **changes)
        body["paymentMethod"]["cvv"] = card.cvv
        return body, card.number


def grouped(number: str, mark: str) -> str:
    """Spell a number in groups of four."""
    return mark.join(number[at : at + 4] for at in range(0, len(number), 4))


async def pay_and_fail(canary: Canary) -> None:
    """Pay in every way that ends well, and in those that do not."""
    for mark in ("", " ", "-"):
        body, number = canary.request()
        body["paymentMethod"]["cardNumber"] = grouped(number, mark)
        key = f"canary {len(canary.cards)}"
        paid = await canary.process(body, idempotency_key=key)
        assert paid.body["status"] == "success", paid.text
        await canary.done(paid.body["id"], "refund", {"amount": 1})
        await canary.process(body, idempotency_key=key)
        again = body | {"paymentMethod": {"type": "token"} | _token(paid)}
        assert (await canary.process(again)).status == 201
        other, _ = canary.request()
        reused = await canary.process(other, idempotency_key=key)
        assert reused.code == (422, "idempotency_key_reused")
    held = await canary.process(canary.request(captureMethod="manual")[0])
    await canary.done(held.body["id"], "capture")
    for fault in FAULTS:
        await canary.fault(fault, operation="charge", delayMs=200)
        struck = await canary.process(canary.request()[0], wait_s=None)
        await canary.agreed(struck.body["id"])
    await pay_by_tokens(canary)
    ordered, _ = canary.request(metadata={"orderID": "canary"})
    assert (await canary.process(ordered)).status == 201
    assert (await canary.call("POST", "/api/fraud/check", canary.request()[0])).status == 200


async def pay_by_tokens(canary: Canary) -> None:
    """Pay by tokens of the provider's own, which whoever has them may charge."""
    for fault in (None, "decline", "error_500"):
        if fault is not None:
            await canary.fault(fault, operation="charge")
        method = {"type": "provider_token", "provider": "sandbox", "token": canary.draw_token()}
        body = payment_request(paymentMethod=method)
        paid = await canary.process(body, idempotency_key=f"token {len(canary.tokens)}")
        assert paid.status == 201, paid.text
        await canary.process(payment_request(paymentMethod={"type": "token"} | _token(paid)))
        assert (await canary.call("POST", "/api/fraud/check", body)).status == 200
        assert (await canary.process(body | {"amount": 0})).status == 422
        elsewhere = method | {"provider": "acme"}
        assert (await canary.process(body | {"paymentMethod": elsewhere})).status == 422


def _token(paid: Answer) -> dict[str, str]:
    return {"token": paid.body["paymentMethod"]["token"]}


async def misspell(canary: Canary) -> None:
    """Send requests that are refused for what they are."""
    for changes in ({"amount": 0}, {"currency": "ZZZ"}, {"captureMethod": 7}, {"provider": "acme"}):
        assert (await canary.process(canary.request()[0] | changes)).status == 422
    for field in ("cvv", "expiryMonth", "expiryYear", "holderName", "type"):
        body, number = canary.request()
        body["paymentMethod"][field] = number
        assert (await canary.process(body)).status == 422
    for field in ("cardNumber", "cvv"):
        body, _ = canary.request()
        body["paymentMethod"][field] = int(body["paymentMethod"][field])
        assert (await canary.process(body)).status == 422
    for cut in (1, 40):
        body, _ = canary.request()
        assert (await canary.process(json.dumps(body).encode()[:-cut])).status == 400
    text = json.dumps(canary.request()[0]).encode()
    headers = {"Content-Type": "text/plain"}
    assert (await canary.call("POST", PROCESS, text, headers=headers)).status == 415
    unknown, number = canary.request()
    assert (await canary.process(unknown | {"pan": number, "note": number})).status == 201


async def paste(canary: Canary, payment_id: str) -> None:
    """Put numbers where none belong."""
    for mark in ("", " ", "-"):
        for field in ("description", "returnURL", "customerIP", "provider", "currency"):
            body, number = canary.request()
            answer = await canary.process(body | {field: grouped(number, mark)})
            assert answer.status == 422, field
        for metadata in ("orderID", "customerID", "note"):
            body, number = canary.request()
            body["metadata"] = {metadata: f"card {grouped(number, mark)}"}
            assert (await canary.process(body)).status == 422, metadata
        body, number = canary.request()
        assert (
            await canary.process(body | {"metadata": {grouped(number, mark): "x"}})
        ).status == 422
        number = grouped(canary.draw().number, mark)
        reason = {"amount": 1, "reason": number}
        assert (await canary.operate(payment_id, "refund", reason)).status == 422
        note = {"decision": "approve", "note": number}
        assert (await canary.operate(payment_id, "review", note, key=OPERATOR)).status == 422
        for field in ("url", "description"):
            number = grouped(canary.draw().number, mark)
            endpoint = {"url": "https://shop.example/hook"} | {field: f"https://a.example/{number}"}
            assert (await canary.call("POST", "/api/webhook-endpoints", endpoint)).status == 422
        for kind, name in (("wallet", "walletID"), ("token", "token")):
            method = {"type": kind, name: grouped(canary.draw().number, mark)}
            assert (await canary.process(payment_request(paymentMethod=method))).status == 422
    for mark in ("", " ", "-", "_", ":"):
        for field in ("token", "provider"):
            method = {"type": "provider_token", "provider": "sandbox", "token": "token_ok"}
            method[field] = grouped(canary.draw().number, mark)
            assert (await canary.process(payment_request(paymentMethod=method))).status == 422
        body, number = canary.request()
        named = {"by": "merchant", "reason": "recurring"}
        body["initiation"] = named | {"networkTransactionID": grouped(number, mark)}
        assert (await canary.process(body)).status == 422


async def address(canary: Canary) -> None:
    """Put numbers into paths, queries and headers."""
    for path in (
        "/api/payments/{}",
        "/api/transactions/{}",
        "/api/fraud/score/{}",
        "/api/payments?orderID={}",
        "/api/payments?cursor={}",
        "/api/transactions?paymentID={}",
        "/{}",
    ):
        assert (await canary.get(path.format(canary.draw().number))).status in (200, 404, 422)
    body, number = canary.request()
    path = f"/api/webhooks/{number}"
    assert (await canary.call("POST", path, {"card": number}, key=None)).status == 404
    assert (await canary.call("GET", "/api/payments", key=canary.draw().number)).status == 401
    for name in ("X-Request-ID", "Idempotency-Key", "Prefer", "User-Agent", "X-Card"):
        body, number = canary.request()
        await canary.call("POST", PROCESS, body, headers={name: number})
    body, number = canary.request(idempotencyKey=canary.draw().number)
    made = await canary.process(body)
    assert made.status == 201
    refund = await canary.operate(
        made.body["id"], "refund", {"amount": 1}, idempotency_key=canary.draw().number
    )
    assert refund.status == 201


async def listen(canary: Canary) -> None:
    """Read everything that can be read."""
    for path, key in (
        ("/api/payments?limit=100", OPERATOR),
        ("/api/transactions?limit=100", OPERATOR),
        ("/api/providers", OPERATOR),
        ("/metrics", METRICS),
        ("/openapi.json", None),
    ):
        assert (await canary.get(path, key=key)).status == 200
    for payment in (await canary.get("/api/payments?limit=100")).body["data"]:
        await canary.events(payment["id"])
    await canary.ledger()
    await canary.calls()


async def one_life(
    server: Server, canary_of: tuple[random.Random, list[Card], list[bytes], list[str]]
) -> None:
    """Do all of it against one process; the last payments are under way when it ends."""
    async with visiting(server) as live:
        canary = Canary(server.url, live.session)
        canary.rng, canary.cards, canary.heard, canary.tokens = canary_of
        canary.sandbox = live.sandbox
        await pay_and_fail(canary)
        await misspell(canary)
        paid = await canary.process(canary.request()[0])
        await paste(canary, paid.body["id"])
        await address(canary)
        await canary.fault("hang_after_effect", operation="charge", count=3)
        for _ in range(3):
            await canary.process(canary.request()[0], wait_s=None)
        await listen(canary)


async def test_card_numbers_and_cvvs_are_nowhere(tmp_path: Path):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"canary seed {seed}")  # noqa: T201  # what a failure is reproduced by
    cards: list[Card] = []
    heard: list[bytes] = []
    tokens: list[str] = []
    kept: dict[str, bytes] = {}
    rng = random.Random(seed)

    for life in ("first", "second"):
        with serving(tmp_path, *FLAGS, **DEBUG) as server:
            await one_life(server, (rng, cards, heard, tokens))
            server.process.kill()
            server.process.wait()
            kept |= {f"{life}: {name}": text for name, text in files_of(tmp_path).items()}

    places = kept | {f"answer {number}": text for number, text in enumerate(heard)}
    assert len(cards) > 100
    assert any(name.endswith("journal.db-wal") for name in kept)
    assert len(kept[f"first: {tmp_path / 'log'}"]) > 1_000
    found = leaks(cards, places)
    assert found == []
    assert len(tokens) == 6
    assert [place for token in tokens for place, text in places.items() if shows(token, text)] == []


def shows(token: str, text: bytes) -> bool:
    """Whether a token stands in a text, as it is or spelt for a machine."""
    plain = token.encode()
    return any(form in text for form in (plain, plain.hex().encode(), base64.b64encode(plain)))


@pytest.mark.parametrize("how", ["digits", "base64", "hex", "sha256", "wal", "cvv", "part"])
def test_the_search_finds_a_number_that_is_there(tmp_path: Path, how: str):
    card = fresh_card(random.Random(7))
    number = card.number.encode()
    planted = {
        "digits": b"x" + number + b"y",
        "base64": base64.b64encode(b"ab" + number + b"c"),
        "hex": number.hex().upper().encode(),
        "sha256": hashlib.sha256(number).hexdigest().encode(),
        "wal": b"\x00\x17" + hashlib.sha256(number).digest() + b"\xff",
        "cvv": f'{{"CVV": "{card.cvv}"}}'.encode(),
        "part": b"card 9" + number[:12] + b"****",
    }[how]
    file = tmp_path / "deep" / "file"
    file.parent.mkdir()
    file.write_bytes(b"\0" * 10_000)
    clean = leaks([card], files_of(tmp_path))
    file.write_bytes(b"\0" * 5_000 + planted + b"\0" * 5_000)

    found = leaks([card], files_of(tmp_path))

    assert clean == []
    assert found
    assert all(card.number not in line for line in found)
    assert len(list(spellings(card.number))) > 100
