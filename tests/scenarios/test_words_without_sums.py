"""An event that names no sum is taken at its word, and its provider is asked how much it was."""

from pathlib import Path

import pytest
from bank_rig import AMOUNT, BankRig, bank_rig

from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Unknown
from paygate_actors.providers.base import ProviderEvent


async def reported(rig: BankRig, key: str, *, minor: int | None) -> None:
    """The bank's webhook comes in."""
    event = ProviderEvent(
        event_id="evt_1",
        event_type="payment.succeeded",
        provider_txn_id=f"ch_{key}",
        reference=key,
        amount=None if minor is None else Money(minor, "USD"),
        at_us=rig.clock.now_us(),
    )
    assert await rig.gateway.inbox.take("bank", (event,)) == 1


def found(key: str, minor: int) -> Approved:
    return Approved(provider_txn_id=f"ch_{key}", amount=Money(minor, "USD"), captured=True)


async def in_doubt(rig: BankRig) -> tuple[str, str]:
    """A payment whose charge is not known, and the charge's key."""
    rig.bank.says["charge"] = Unknown(reason="reset")
    payment_id = await rig.pay()
    await rig.until(lambda: rig.gauge("paygate_in_doubt_calls") == 1)
    return payment_id, rig.bank.heard[-1].key


@pytest.mark.parametrize(
    ("minor", "attention"), [(AMOUNT.minor, None), (AMOUNT.minor + 1, "amount_mismatch")]
)
async def test_a_success_without_a_sum_is_one_and_its_sum_is_asked_for(
    tmp_path: Path, minor: int, attention: str | None
):
    async with bank_rig(tmp_path) as rig:
        payment_id, key = await in_doubt(rig)
        rig.bank.says["find"] = found(key, minor)

        await reported(rig, key, minor=None)
        await rig.until_status(payment_id, "success")
        await rig.until(lambda: rig.bank.verbs() == ["charge", "find"])
        await rig.pass_time(1)

        view = await rig.view(payment_id)
        assert (view.status, view.attention) == ("success", attention)


async def test_a_success_that_names_its_sum_is_not_asked_about(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id, key = await in_doubt(rig)

        await reported(rig, key, minor=AMOUNT.minor)
        await rig.until_status(payment_id, "success")
        await rig.pass_time(120)

        assert rig.bank.verbs() == ["charge"]


async def test_a_bank_that_cannot_be_asked_leaves_it_at_the_word(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id, key = await in_doubt(rig)
        rig.bank.says["find"] = Unknown(reason="timeout")

        await reported(rig, key, minor=None)
        await rig.until_status(payment_id, "success")
        await rig.pass_time(120)

        view = await rig.view(payment_id)
        assert (view.status, view.in_doubt, view.amount_captured_minor) == (
            "success",
            False,
            AMOUNT.minor,
        )
