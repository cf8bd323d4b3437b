"""A payment that can be told at once: the same as the one that is waited for, or nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bank_rig import MERCHANT, OPERATOR, BankRig, bank_rig
from msgspec.structs import replace

from paygate_actors.messages import Caller, PaymentView
from paygate_actors.projection import PAYMENT
from paygate_actors.reads import SET_ASIDE

OTHER = Caller(role="merchant", merchant="other", key_id="key_other")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[BankRig]:
    """A gateway that has just started."""
    async with bank_rig(tmp_path) as rig:
        yield rig


def told(rig: BankRig, payment_id: str, caller: Caller = MERCHANT) -> PaymentView | None:
    """What the front tells at once."""
    return rig.gateway.front.payment_now(caller, payment_id)


async def stored(rig: BankRig) -> str:
    """A settled payment that is in nobody's memory."""
    payment_id = await rig.pay()
    await rig.until_status(payment_id, "success")
    await rig.crash()
    await rig.start()
    return payment_id


async def test_it_is_told_as_it_is_read_in_memory_and_stored(rig: BankRig) -> None:
    rig.bank.says["charge"] = None
    live = await rig.pay()
    assert told(rig, live) == await rig.view(live)

    rig.bank.says["charge"] = rig.bank.says["refund"]
    of_disk = await stored(rig)

    assert told(rig, of_disk) == await rig.view(of_disk)
    assert told(rig, of_disk, OPERATOR) == await rig.view(of_disk)


async def test_nothing_is_told_of_what_is_not_the_callers(rig: BankRig) -> None:
    rig.bank.says["charge"] = None
    live = await rig.pay()
    assert told(rig, live, OTHER) is None

    rig.bank.says["charge"] = rig.bank.says["refund"]
    of_disk = await stored(rig)

    assert told(rig, of_disk, OTHER) is None
    assert told(rig, "pay_none") is None
    assert told(rig, "x" * 65) is None


async def test_a_damaged_row_is_not_told_and_is_made_anew_when_read(rig: BankRig) -> None:
    payment_id = await stored(rig)
    whole = await rig.view(payment_id)
    rows = rig.store.tables.documents[PAYMENT]
    rows[payment_id] = replace(rows[payment_id], body=b"{}", sound=False)

    assert told(rig, payment_id) is None
    assert await rig.view(payment_id) == whole


async def test_of_one_that_is_set_aside_that_is_told(rig: BankRig) -> None:
    rig.bank.says["charge"] = None
    payment_id = await rig.pay()
    rig.store.spoilt.add(payment_id)
    await rig.crash()
    await rig.start()

    view = told(rig, payment_id)

    assert view is not None
    assert view.attention == SET_ASIDE
    assert view == await rig.view(payment_id)
