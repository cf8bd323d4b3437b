"""Writes the golden journal of this version: `python tests/golden/make_golden.py`.

The real gateway lives through every kind of event once, on a clock that is moved by hand, with
seeded randomness and three banks that say what they are told. What its store was told is then
written, group by group, into a database of its own. The README beside says when to run it.
"""

import asyncio
import logging
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "conformance"))

from bank_rig import AMOUNT, MERCHANT, OPERATOR
from golden_rig import (
    EXPECTED,
    GOLDEN,
    TWO_STEPS,
    listed_by_today,
    read_by_today,
    upgraded,
    violations,
)
from golden_studio import (
    ACTION_S,
    BLOCKED_CUSTOMER,
    REVIEWED,
    Group,
    Studio,
    approved,
    confirm,
)
from two_step_rig import object_of, unconfirmed

from paygate_actors.audit import HEADS_FILE
from paygate_actors.credentials import Initiation, SealedToken
from paygate_actors.desk_messages import MarkSeen
from paygate_actors.messages import (
    Address,
    ApiKey,
    CapturePayment,
    ReversePayment,
    ReviewPayment,
    SetTransactionStatus,
)
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined, Pending, Unknown
from paygate_actors.payment_methods import (
    ProviderTokenMethod,
    TokenMethod,
    WalletMethod,
)
from paygate_actors.vault_keys import KEYS_FILE
from paygate_engine.stores.sqlite import DATABASE_NAME

TIMEOUT: Final = Unknown(reason="timeout")
CARD_DECLINED: Final = Declined(code="card_declined", decline_code="51", message="No.")


# Scenarios. Each ends by asserting what it was for.


async def sales(it: Studio) -> None:
    """Everything that a request may say; refunds in part, to the last unit; tokens and wallets."""
    first = await it.paid(
        billing=Address(country="US", state="CA", zip_code="94103", city="San Francisco"),
        metadata={"orderID": "o1", "customerID": "c1"},
        idempotency_key="first",
        description="Tea",
        return_url="https://shop.invalid/",
        customer_ip="192.0.2.1",
    )
    await it.give_back(first, 4_000, approved(Money(4_000, "USD")))
    await it.give_back(first, 6_000, approved(Money(6_000, "USD")))
    view = await it.is_now(first, "success", amount_refunded_minor=10_000)
    assert view.method.token is not None
    by_token = await it.paid(method=TokenMethod(token=view.method.token))
    by_wallet = await it.paid(Money(500, "JPY"), method=WalletMethod(wallet_id="w"))
    pinned = await it.paid(Money(1_500, "KWD"), provider="bank", metadata={"orderID": "o2"})
    for each in (by_token, by_wallet, pinned):
        await it.is_now(each, "success")


async def credentials(it: Studio) -> None:
    """A card that is kept and charged again by the merchant; the bank's own token; a step-up."""
    named = Approved(
        provider_txn_id="ch_kept",
        amount=AMOUNT,
        captured=True,
        network_txn_id="901151114810210",
        authentication="frictionless",
    )
    kept = await it.make(named, store_credential=True, three_d_secure="required")
    view = await it.is_now(kept, "success", network_txn_id="901151114810210")
    assert view.method.token is not None
    later = await it.paid(
        method=TokenMethod(token=view.method.token),
        initiation=Initiation(by="merchant", reason="recurring"),
    )
    assert (
        await it.is_now(later, "success")
    ).initiation.network_transaction_id == "901151114810210"
    theirs = ProviderTokenMethod(provider="bank", token=SealedToken("theirs-1"))
    await it.is_now(await it.paid(method=theirs), "success", provider="bank")
    unproved = msgspec.structs.replace(named, provider_txn_id="ch_bare", authentication="none")
    bare = await it.make(unproved, three_d_secure="required")
    await it.is_now(bare, "success", attention="step_up_missing")


async def declines(it: Studio) -> None:
    """Declined; blocked; declined by one bank and taken by the next."""
    await it.is_now(await it.make(CARD_DECLINED), "failed")
    blocked = await it.make(metadata={"customerID": BLOCKED_CUSTOMER})
    assert (await it.is_now(blocked, "failed")).provider is None
    retryable = Declined(code="processing_error", retryable=True)
    it.second.says["charge"] = approved(AMOUNT)
    await it.second_takes(charges=True)
    await it.is_now(await it.make(retryable), "success", provider="bank_2")
    await it.second_takes(charges=False)


async def doubts(it: Studio) -> None:
    """Not known, until a look-up knows; until a person is called; until a webhook says it."""
    lost = await it.make(TIMEOUT)
    await it.is_now(lost, "processing", in_doubt=True)
    it.bank.says["find"] = approved(AMOUNT)
    await it.later(10)
    await it.is_now(lost, "success", in_doubt=False)

    it.bank.says["find"] = Unknown(reason="server_error")
    long_lost = await it.make(TIMEOUT)
    await it.later(1_000)
    await it.is_now(long_lost, "processing", attention="in_doubt")
    await it.told(
        "payment.succeeded",
        long_lost,
        reference=it.key_of(long_lost),
        amount=AMOUNT,
        provider_txn_id="ch_late",
    )
    await it.is_now(long_lost, "success", attention=None)

    slow = await it.make(Pending(expected_by_us=it.clock.now_us() + 60_000_000))
    it.bank.says["find"] = approved(AMOUNT)
    await it.is_now(slow, "processing")
    await it.later(120)
    await it.is_now(slow, "success")


async def two_steps(it: Studio) -> None:
    """Prepared and confirmed; never confirmed, and cancelled; reversed in between; left open."""
    await it.third_takes(charges=True)
    bank = it.third
    bank.says["charge"] = approved(AMOUNT)
    await it.is_now(await it.make(provider=TWO_STEPS), "success", provider=TWO_STEPS)

    bank.says |= {"charge": TIMEOUT, "find": unconfirmed, "void": approved(AMOUNT)}
    given_up = await it.make(provider=TWO_STEPS)
    await it.is_now(given_up, "processing", in_doubt=True)
    await it.later(300)
    await it.is_now(given_up, "failed", in_doubt=False)
    assert bank.cancelled == [object_of(it.key_of(given_up))]

    bank.says["charge"] = None
    reversed_ = await it.make(provider=TWO_STEPS)
    await it.done(it.gateway.front.reverse(reverse(reversed_)))
    await it.is_now(reversed_, "cancelled")

    await it.is_now(await it.make(provider=TWO_STEPS), "processing")
    bank.prepares = None
    await it.is_now(await it.make(provider=TWO_STEPS), "processing", provider_txn_id=None)
    await it.third_takes(charges=False)


async def confirmations(it: Studio) -> None:
    """The payer confirms, in two steps; fails; never comes."""
    it.bank.says["find"] = Unknown(reason="in_progress")
    confirmed = await it.make(confirm(it.clock.now_us()))
    await it.is_now(confirmed, "requires_action")
    it.bank.says["find"] = Pending()
    await it.later(40)
    await it.is_now(confirmed, "processing")
    await it.told("payment.succeeded", confirmed, amount=AMOUNT)
    await it.is_now(confirmed, "success")

    it.bank.says["find"] = Unknown(reason="in_progress")
    failed = await it.make(confirm(it.clock.now_us()))
    await it.told("payment.failed", failed, reason="authentication_failed")
    await it.is_now(failed, "failed")
    never = await it.make(confirm(it.clock.now_us()))
    await it.later(ACTION_S + 30)
    await it.is_now(never, "cancelled")


async def holds(it: Studio) -> None:
    """Captured in part; released; given up by the bank; declined; captured by the bank itself."""
    it.bank.says["find"] = Unknown(reason="in_progress")
    part = await it.paid(capture_method="manual")
    it.bank.says["capture"] = approved(Money(6_000, "USD"))
    await it.done(it.gateway.front.capture(capture(part, 6_000)))
    await it.is_now(part, "success", amount_captured_minor=6_000, amount_released_minor=4_000)
    it.bank.says["capture"] = approved(AMOUNT)

    released = await it.paid(capture_method="manual")
    await it.done(it.gateway.front.reverse(reverse(released)))
    await it.is_now(released, "cancelled")

    expired = await it.paid(capture_method="manual")
    await it.told("payment.cancelled", expired, reason="expired")
    await it.is_now(expired, "cancelled")

    declined = await it.paid(capture_method="manual")
    it.bank.says["capture"] = Declined(code="processing_error", message="Later.")
    await it.done(it.gateway.front.capture(capture(declined, None)))
    await it.is_now(declined, "authorized")
    it.bank.says["capture"] = approved(AMOUNT)
    await it.told("payment.succeeded", declined, amount=AMOUNT)
    await it.is_now(declined, "success", attention="captured_by_provider")


async def reviews(it: Studio) -> None:
    """Approved, declined, and nobody came for a day."""
    it.bank.says["find"] = Unknown(reason="in_progress")
    it.bank.says["capture"] = it.bank.says["void"] = approved(REVIEWED)
    taken, refused, waited = [await it.paid(REVIEWED) for _ in range(3)]
    await it.is_now(taken, "review")
    await it.done(it.gateway.front.review(review(taken, "approve")))
    await it.done(it.gateway.front.review(review(refused, "decline")))
    await it.is_now(taken, "success")
    await it.is_now(refused, "cancelled")
    await it.pass_time(24 * 3_600 + 60, step_s=600)
    await it.is_now(waited, "cancelled")
    it.bank.says["capture"] = it.bank.says["void"] = approved(AMOUNT)


async def reversals(it: Studio) -> None:
    """Undone; settled already, so refunded; asked for while the charge was on its way."""
    undone = await it.paid()
    await it.done(it.gateway.front.reverse(reverse(undone)))
    await it.is_now(undone, "cancelled")

    it.bank.says["void"] = Declined(code="already_settled")
    it.bank.says["refund"] = approved(AMOUNT)
    settled, kept = await it.paid(), await it.paid()
    await it.done(it.gateway.front.reverse(reverse(settled, or_refund=True)))
    await it.is_now(settled, "success", amount_refunded_minor=10_000)
    await it.done(it.gateway.front.reverse(reverse(kept)))
    await it.is_now(kept, "success", amount_refunded_minor=0)
    it.bank.says["void"] = approved(AMOUNT)

    early = await it.make()
    await it.done(it.gateway.front.reverse(reverse(early)))
    await it.told(
        "payment.succeeded",
        early,
        reference=it.key_of(early),
        amount=AMOUNT,
        provider_txn_id="ch_early",
    )
    await it.is_now(early, "cancelled")


async def surprises(it: Studio) -> None:
    """Strays, other amounts, refunds that fail, bounce, or that nobody asked for."""
    stray = await it.make(CARD_DECLINED)
    await it.told(
        "payment.succeeded",
        stray,
        reference=it.key_of(stray),
        amount=AMOUNT,
        provider_txn_id="ch_stray",
    )
    await it.is_now(stray, "failed", attention="stray_charge")

    other = await it.make(approved(Money(10_001, "USD")))
    assert (await it.view(other)).attention == "amount_mismatch"

    failing, bouncing, by_bank = [await it.paid() for _ in range(3)]
    closed = Declined(code="account_closed", message="Closed.")
    await it.give_back(failing, 1_000, closed)
    await it.is_now(failing, "success", amount_refunded_minor=0)
    refund = await it.give_back(bouncing, 2_000, approved(Money(2_000, "USD")))
    await it.told(
        "refund.failed",
        bouncing,
        reference=f"{refund.id}-1",
        amount=Money(2_000, "USD"),
        reason="account_closed",
    )
    await it.is_now(bouncing, "success", amount_refunded_minor=0, attention="refund_failed")
    await it.told(
        "refund.succeeded",
        by_bank,
        provider_txn_id="re_by_bank",
        amount=Money(3_000, "USD"),
        parent_txn_id=(await it.view(by_bank)).provider_txn_id,
    )
    await it.is_now(by_bank, "success", amount_refunded_minor=3_000)


async def disputes(it: Studio) -> None:
    """Open; won; lost, and looked at by a person; won back."""
    still_open, won, lost, back = [await it.paid() for _ in range(4)]
    for each in (still_open, won, lost, back):
        await it.told("dispute.opened", each, amount=AMOUNT, reason="fraudulent")
    await it.told("dispute.closed", won, amount=AMOUNT, dispute_won=True)
    await it.told("dispute.closed", lost, amount=AMOUNT, dispute_won=False)
    await it.told("dispute.closed", back, amount=AMOUNT, dispute_won=False)
    await it.told("dispute.closed", back, amount=AMOUNT, dispute_won=True)
    seen = MarkSeen(caller=OPERATOR, payment_id=lost, note="Lost for good.")
    await it.done(it.gateway.front.mark_seen(seen))
    await it.is_now(lost, "success", attention=None)
    disputed = {each: (await it.view(each)).amount_disputed_minor for each in (won, lost, back)}
    assert disputed == {won: 0, lost: AMOUNT.minor, back: 0}


async def operators(it: Studio) -> None:
    """A status asserted, a key made and revoked, a webhook about what nobody knows."""
    it.bank.says["find"] = Unknown(reason="server_error")
    asserted = await it.make(TIMEOUT)
    command = SetTransactionStatus(
        caller=OPERATOR,
        transaction_id=f"txn{asserted.removeprefix('pay')}",
        status="failed",
        reason="The bank says so by telephone.",
        force=True,
    )
    await it.done(it.gateway.front.set_status(command))
    await it.is_now(asserted, "failed", in_doubt=True)
    key = ApiKey(
        id="key_1", role="merchant", merchant="m", digest="d" * 64, created_at_us=it.clock.now_us()
    )
    await it.gateway.front.put_key(OPERATOR, key)
    revoked = msgspec.structs.replace(key, revoked_at_us=it.clock.now_us())
    await it.gateway.front.put_key(OPERATOR, revoked)
    await it.told("dispute.opened", asserted, provider_txn_id="ch_nobody_knows")
    assert it.gauge("paygate_webhooks_parked") == 1


async def left_open(it: Studio) -> None:
    """What the next version finds open: in doubt, silent, slow, held, before a payer, refunding."""
    it.bank.says["find"] = Unknown(reason="in_progress")
    await it.give_back(await it.paid(), AMOUNT.minor, None)
    await it.make(TIMEOUT)
    await it.make(Pending(expected_by_us=it.clock.now_us() + 3_600_000_000))
    await it.make(confirm(it.clock.now_us()))
    await it.paid(REVIEWED)
    await it.paid(capture_method="manual")
    await it.make()


def capture(payment_id: str, minor: int | None) -> CapturePayment:
    """Capture so much of what is held."""
    return CapturePayment(
        caller=MERCHANT, payment_id=payment_id, amount_minor=minor, idempotency_key="capture"
    )


def reverse(payment_id: str, *, or_refund: bool = False) -> ReversePayment:
    """Undo the payment."""
    return ReversePayment(
        caller=MERCHANT, payment_id=payment_id, reason="ordered twice", or_refund=or_refund
    )


def review(payment_id: str, decision: Any) -> ReviewPayment:
    """Decide about held funds."""
    return ReviewPayment(caller=OPERATOR, payment_id=payment_id, decision=decision, note="Looked.")


SCENARIOS: Final = (
    sales,
    credentials,
    declines,
    doubts,
    confirmations,
    holds,
    reviews,
    reversals,
    surprises,
    disputes,
    operators,
    two_steps,
    left_open,
)


async def live(folder: Path) -> tuple[list[Group], int]:
    """Live through all of it; what was committed, and when it ended."""
    it = Studio(folder)
    await it.start()
    await it.second_takes(charges=False)
    await it.third_takes(charges=False)
    for scenario in SCENARIOS:
        it.bank.says["find"] = Unknown(reason="not_visible")
        await scenario(it)
        assert not it.fatal, it.fatal
    ended_us = it.clock.now_us()
    groups = it.recording.groups
    # What was open is found open: nothing is recorded from here on.
    await it.crash()
    return groups, ended_us


async def write(folder: Path) -> None:
    """Write the database, and what this version says of it."""
    groups, ended_us = await live(folder)
    (folder / "lock").unlink(missing_ok=True)
    async with upgraded(folder) as store:
        for units, audit in groups:
            answers = await store.commit(units, audit)
            assert not any(answers), answers
        found = await violations(store)
        assert not found, found
        expected = await read_by_today(store, version=version("paygate"), clock_us=ended_us)
        assert (expected.payments, expected.transactions) == await listed_by_today(store)
    (folder / EXPECTED).write_bytes(msgspec.json.encode(expected) + b"\n")


def main() -> None:
    """Replace the golden journal of this version."""
    # The end of it is that of a process that is killed, and is loud about it.
    logging.disable(logging.CRITICAL)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        asyncio.run(write(folder))
        target = GOLDEN / version("paygate")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        with closing(sqlite3.connect(folder / DATABASE_NAME)) as database:
            database.execute("VACUUM")  # it lies in the repository for ever
        for name in (DATABASE_NAME, KEYS_FILE, HEADS_FILE, EXPECTED):
            shutil.copyfile(folder / name, target / name)
    size = sum(path.stat().st_size for path in target.iterdir())
    sys.stdout.write(f"{target}: {size:,} bytes\n")


if __name__ == "__main__":
    main()
