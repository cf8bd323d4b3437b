"""A card's month ends while a merchant repeats a request: what was made in its time stays made."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from bank_rig import AMOUNT, MERCHANT, BankRig, bank_rig

from paygate_actors.card import SealedCard
from paygate_actors.messages import PaymentReply, ProcessPayment, Refusal
from paygate_actors.payment_methods import CardMethod


def wait_for_the_last_second(rig: BankRig) -> CardMethod:
    """Move to the last second of the month; a card that is good until then."""
    now = datetime.fromtimestamp(rig.clock.now_us() / 1_000_000, UTC)
    year, month = (now.year, now.month + 1) if now.month < 12 else (now.year + 1, 1)
    ends = datetime(year, month, 1, tzinfo=UTC)
    rig.clock.advance((ends - now).total_seconds() - 1)
    return CardMethod(
        kind="card",
        card=SealedCard("4242424242424242", "123"),
        expiry_month=now.month,
        expiry_year=now.year,
    )


def request(method: CardMethod, key: str | None) -> ProcessPayment:
    return ProcessPayment(caller=MERCHANT, amount=AMOUNT, method=method, idempotency_key=key)


async def test_the_same_key_gives_the_same_payment_after_the_month_is_over(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        command = request(wait_for_the_last_second(rig), "key-1")
        first = await rig.gateway.front.process(command)
        assert isinstance(first, PaymentReply)
        await rig.until_status(first.payment.id, "success")

        rig.clock.advance(2)
        again = await rig.gateway.front.process(command)
        other = msgspec.structs.replace(command, amount=msgspec.structs.replace(AMOUNT, minor=1))
        differing = await rig.gateway.front.process(other)

        assert isinstance(again, PaymentReply)
        assert (again.payment.id, again.replayed) == (first.payment.id, True)
        assert isinstance(differing, Refusal)
        assert differing.code == "idempotency_key_reused"
        assert len(rig.bank.of("charge")) == 1


async def test_an_expired_card_is_refused_with_and_without_a_new_key(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        method = wait_for_the_last_second(rig)
        rig.clock.advance(2)

        answers = [
            await rig.gateway.front.process(request(method, key)) for key in ("k", "k", None)
        ]

        for answer in answers:
            assert isinstance(answer, Refusal)
            assert answer.code == "validation_failed"
            (fault,) = answer.faults
            assert (fault.pointer, fault.code) == ("/paymentMethod/expiryYear", "expired_card")
        assert rig.bank.heard == []
