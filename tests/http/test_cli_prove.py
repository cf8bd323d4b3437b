"""`paygate prove` on a folder that a real gateway wrote: sound as it is, and with rows changed."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from inside_gateway import inside, sandbox_aside
from live_gateway import DECLINED, visiting

from paygate_actors import events as e
from paygate_engine.stores.base import Event
from paygate_engine.stores.sqlite import DATABASE_NAME
from paygate_engine.stores.sqlite_write import event_crc
from paygate_http.__main__ import main

pytestmark = pytest.mark.slow


class Made(NamedTuple):
    """A folder, its provider's books, and the payments in it by what became of them."""

    data: Path
    books: Path
    ids: dict[str, str]


async def make(folder: Path) -> Made:
    ids: dict[str, str] = {}
    async with sandbox_aside(folder) as sandbox, inside(folder, sandbox) as running:
        async with visiting(running.url) as live:
            refunded = await live.process(
                {"amount": 10.00, "currency": "USD", "paymentMethod": wallet()},
                idempotency_key="one",
            )
            ids["refunded"] = refunded.body["id"]
            await live.done(ids["refunded"], "refund", {"amount": 4.00})
            ids["declined"] = (await live.pay(DECLINED))["id"]
            ids["captured"] = (await live.pay(captureMethod="manual"))["id"]
            await live.done(ids["captured"], "capture", {"amount": 6.00})
            ids["reversed"] = (await live.pay())["id"]
            await live.done(ids["reversed"], "reverse")
            ledger = await live.call("GET", f"{sandbox}/ledger", key=None)
        books = folder / "books.json"
        books.write_text(ledger.text)
        # Beside the server that runs, from a process of its own as far as SQLite knows.
        assert await asyncio.to_thread(main, ["prove", "--all", "--data", f"{folder}/data"]) == 0
    return Made(folder / "data", books, ids)


def wallet() -> dict[str, str]:
    return {"type": "wallet", "walletID": "wallet_ok"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Made once, and never changed."""
    return asyncio.run(make(tmp_path_factory.mktemp("proved")))


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    """A copy for one test to spoil; sockets of the ended server stay behind."""
    shutil.copytree(original.data, tmp_path / "data", ignore=shutil.ignore_patterns("*.sock"))
    shutil.copy(original.books, tmp_path / "books.json")
    return Made(tmp_path / "data", tmp_path / "books.json", original.ids)


@pytest.fixture
def prove(made: Made, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command on the copy; its exit code, and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["prove", *arguments, "--data", str(made.data)])
        return code, capsys.readouterr().out

    return run


Prove = Callable[..., tuple[int, str]]


def spoil(made: Made, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(made.data / DATABASE_NAME)) as database:
        assert database.execute(statement, values).rowcount > 0
        database.commit()


def plant(made: Made, payment_id: str, recorded: e.PaymentEvent) -> None:
    """Add an event that nobody decided, as well made as a real one."""
    with closing(sqlite3.connect(made.data / DATABASE_NAME)) as database:
        statement = "SELECT max(seq) FROM events WHERE stream = ?"
        seq = database.execute(statement, (payment_id,)).fetchone()[0] + 1
        kind, body = e.encode(recorded)
        event = Event(stream=payment_id, seq=seq, at_us=1, kind=kind, body=body)
        row = (payment_id, seq, 1, kind, body, event_crc(event))
        database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
        database.commit()


def change_books(made: Made, change: Callable[[list[dict[str, Any]]], object]) -> None:
    lines = json.loads(made.books.read_text())["data"]
    change(lines)
    made.books.write_text(json.dumps({"data": lines}))


def first_key(made: Made, name: str) -> str:
    return f"txn_{made.ids[name].removeprefix('pay_')}-1"


def test_a_sound_folder_is_proved_and_the_kind_of_proof_is_named(made: Made, prove: Prove):
    alone, of_journal = prove("--all")
    beside, of_books = prove("--all", "--books", str(made.books))

    assert (alone, beside) == (0, 0), of_journal + of_books
    assert "proved, from the journal alone" in of_journal
    assert "against 6 lines of books: nothing was charged twice" in of_books
    assert "4 payments (1 cancelled, 1 failed, 2 success)" in of_books
    assert "all sound" in of_books


def test_one_payment_is_shown_with_its_intents_keys_answers_and_sums(made: Made, prove: Prove):
    code, told = prove(made.ids["refunded"], "--books", str(made.books))

    assert code == 0, told
    assert first_key(made, "refunded") in told
    for text in ("charge", "refund", "approved", "10.00 USD", "4.00 USD", "nothing was charged"):
        assert text in told


def test_an_unknown_payment_or_none_at_all_is_refused(prove: Prove, made: Made):
    assert prove("pay_nobody")[0] == 1
    assert prove()[0] == 2
    assert prove(made.ids["refunded"], "--all")[0] == 2


def test_what_is_no_books_is_refused(prove: Prove, made: Made, tmp_path: Path):
    made.books.write_text("no books")

    assert prove("--all", "--books", str(made.books))[0] == 1
    assert prove("--all", "--books", str(tmp_path / "nowhere"))[0] == 1


def test_a_missing_event_is_named(made: Made, prove: Prove):
    paid = made.ids["refunded"]
    spoil(made, "DELETE FROM events WHERE stream = ? AND seq = 3", paid)

    code, told = prove("--all")

    assert code == 1
    assert f"VIOLATION {paid}: sequence: stream {paid}: event 3 is missing" in told


def test_a_byte_that_was_changed_is_named(made: Made, prove: Prove):
    paid = made.ids["refunded"]
    spoil(made, "UPDATE events SET at_us = at_us + 1 WHERE stream = ? AND seq = 2", paid)

    code, told = prove(paid)

    assert code == 1
    assert f"VIOLATION {paid}: sequence: stream {paid}: event 2 is not what was written" in told


def approval(key: str) -> e.PaymentEvent:
    return e.CallApproved(
        key=key, provider_txn_id="ch", amount_minor=1_000, currency="USD", captured=True
    )


def charge(key: str) -> e.PaymentEvent:
    return e.CallStarted(
        key=key,
        transaction_id=key.rpartition("-")[0],
        verb="charge",
        provider="sandbox",
        amount_minor=1_000,
    )


def over_refund() -> e.PaymentEvent:
    return e.TransactionOpened(
        id="txn_x", type="refund", origin="merchant", amount_minor=700, currency="USD", by="x"
    )


NEVER_WRITTEN: dict[str, Callable[[str], e.PaymentEvent]] = {
    "fold": lambda _: e.Moved(fact="held"),
    "one effect per key": approval,
    "intent before effect": lambda key: approval(key + "1"),
    "one key at a time": lambda key: charge(key.removesuffix("1") + "2"),
    "refunds within captures": lambda _: over_refund(),
}


@pytest.mark.parametrize("rule", NEVER_WRITTEN)
def test_an_event_that_nobody_may_write_is_named(made: Made, prove: Prove, rule: str):
    paid = made.ids["refunded"]
    plant(made, paid, NEVER_WRITTEN[rule](first_key(made, "refunded")))

    code, told = prove("--all")

    assert code == 1
    assert f"VIOLATION {paid}: {rule}: " in told
    assert "rows were cut off" in told  # no audit row covers it


def test_a_list_that_shows_what_did_not_happen_is_named(made: Made, prove: Prove):
    paid = made.ids["captured"]
    spoil(made, "UPDATE documents SET f1 = 'failed' WHERE id = ?", paid)

    code, told = prove("--all")

    assert code == 1
    assert f"VIOLATION {paid}: projection: the payment {paid} is shown otherwise" in told


def test_a_payment_that_no_list_shows_is_named(made: Made, prove: Prove):
    paid = made.ids["captured"]
    spoil(made, "DELETE FROM documents WHERE kind = 'payment' AND id = ?", paid)

    assert f"VIOLATION {paid}: projection: " in prove("--all")[1]
    assert prove("--all")[0] == 1
    assert "is not listed" in prove(paid)[1]


def test_a_claim_that_points_to_nobody_is_named(made: Made, prove: Prove):
    spoil(made, "UPDATE claims SET stream = 'pay_nobody'")

    code, told = prove("--all")

    assert code == 1
    assert f"VIOLATION {made.ids['refunded']}: claim: " in told
    assert "pay_nobody" in told


def test_a_broken_audit_chain_is_named(made: Made, prove: Prove):
    spoil(made, "UPDATE audit SET who = 'somebody' WHERE n = 3")

    code, told = prove("--all")

    assert code == 1
    assert "VIOLATION row 3: audit chain: row 3 is not as it was written" in told


def test_a_charge_that_the_books_hold_twice_is_named(made: Made, prove: Prove):
    key = first_key(made, "refunded")
    change_books(made, lambda lines: lines.append(line_of(lines, key) | {"providerTxnID": "ch_x"}))

    for which in ("--all", made.ids["refunded"]):
        code, told = prove(which, "--books", str(made.books))
        assert code == 1
        assert f"VIOLATION {made.ids['refunded']}: books: one effect per key: {key} took" in told


def test_a_line_of_the_books_under_an_unknown_key_is_named(made: Made, prove: Prove):
    own = first_key(made, "refunded").removesuffix("1") + "9"
    change_books(made, lambda lines: lines[0].update(idempotencyKey="txn_foreign-1"))
    change_books(made, lambda lines: lines.append(lines[1] | {"idempotencyKey": own}))

    code, told = prove("--all", "--books", str(made.books))

    assert code == 1
    assert "VIOLATION txn_foreign-1: books: known key: " in told
    assert f"VIOLATION {own}: books: known key: " in told
    assert "books: known key" in prove(made.ids["refunded"], "--books", str(made.books))[1]


def test_an_effect_of_another_amount_is_named(made: Made, prove: Prove):
    key = first_key(made, "reversed")
    change_books(made, lambda lines: line_of(lines, key).update(amountMinor=1_001))

    code, told = prove("--all", "--books", str(made.books))

    assert code == 1
    assert f"VIOLATION {made.ids['reversed']}: books: same effect: " in told


def test_money_that_is_kept_for_a_cancelled_payment_is_named(made: Made, prove: Prove):
    change_books(made, lambda lines: lines.remove(next(x for x in lines if is_void(x))))

    code, told = prove("--all", "--books", str(made.books))

    assert code == 1
    assert f"VIOLATION {made.ids['reversed']}: books: nothing kept: " in told


def line_of(lines: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return next(line for line in lines if line["idempotencyKey"] == key)


def is_void(line: dict[str, Any]) -> bool:
    return line["operation"] == "void"
