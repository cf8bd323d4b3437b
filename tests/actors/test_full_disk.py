"""What providers answer while nothing can be written: it is not forgotten, and asked for once."""

from pathlib import Path
from typing import Final

import msgspec
import pytest
from bank_rig import AMOUNT, Bank, BankRig, bank_rig

from paygate_actors.outcomes import Approved, Declined, Outcome, Pending, Unknown
from paygate_actors.pursuit import LOST_AFTER_S

TAKEN: Final = Approved(provider_txn_id="ch_1", amount=AMOUNT, captured=True)
UNHEARD: Final = Declined(code="not_sent", retryable=True, conclusive=False)
LONG_S: Final = 3 * LOST_AFTER_S


class FillingBank(Bank):
    """A bank without keys, which does again what it is sent again; the disk is full by then."""

    capabilities = msgspec.structs.replace(Bank.capabilities, key_window_s=0)

    def fills(self, rig: BankRig, outcome: Outcome) -> None:
        """Answer a charge so, when there is no more room for what it says."""

        def said(_key: str) -> Outcome:
            rig.store.full = True
            return outcome

        self.says["charge"] = said


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (TAKEN, "success"),
        (Declined(code="card_declined"), "failed"),
        (Pending(provider_txn_id="ch_1"), "processing"),
        (Unknown(reason="timeout"), "processing"),
    ],
)
async def test_what_cannot_be_recorded_for_minutes_is_not_sent_again(
    outcome: Outcome, status: str, tmp_path: Path
):
    bank = FillingBank()
    async with bank_rig(tmp_path, bank=bank) as rig:
        bank.fills(rig, outcome)
        payment_id = await rig.pay()

        await rig.pass_time(LONG_S)
        rig.store.full = False
        await rig.pass_time(LONG_S)

        assert len(bank.of("charge")) == 1
        assert (await rig.view(payment_id)).status == status


async def test_that_a_request_did_nothing_is_on_record_before_the_next_one_leaves(
    tmp_path: Path,
):
    """Sent again meanwhile it would be charged, and fail by the answer to the request before."""
    bank = FillingBank()
    async with bank_rig(tmp_path, bank=bank) as rig:
        bank.fills(rig, UNHEARD)
        payment_id = await rig.pay()
        await rig.until(lambda: rig.store.full)
        bank.says["charge"] = TAKEN

        await rig.pass_time(LONG_S)
        rig.store.full = False
        await rig.pass_time(LONG_S)

        view = await rig.view(payment_id)
        assert (view.status, view.amount_captured_minor) == ("failed", 0)
        assert len(bank.of("charge")) == 1
