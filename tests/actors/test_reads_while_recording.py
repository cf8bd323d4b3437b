"""What is on disk and not known to its payment yet: once told to anybody, everybody is told."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from bank_rig import MERCHANT, BankRig, bank_rig

from paygate_actors.messages import TransactionView
from paygate_engine.stores.base import AuditRow, Conflict, Unit


class Held:
    """Commits of the rig's store are heard of late: those that approve a call, when `let_go`."""

    def __init__(self, rig: BankRig) -> None:
        self.written = asyncio.Event()
        self._gone = asyncio.Event()
        self._commit = rig.store.commit
        rig.store.commit = self._late

    def let_go(self) -> None:
        self._gone.set()

    async def _late(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        answers = await self._commit(units, audit)
        if any(event.kind == "call_approved.1" for unit in units for event in unit.events):
            self.written.set()
            await self._gone.wait()
        return answers


async def test_a_payment_is_read_as_its_transactions_are(tmp_path: Path) -> None:
    async with bank_rig(tmp_path) as rig:
        payment_id = await rig.pay(manual=True)
        await rig.until_status(payment_id, "authorized")
        held = Held(rig)
        capture = await rig.capture(payment_id)
        await held.written.wait()

        read = await rig.gateway.front.transaction(MERCHANT, capture.id)
        view = await rig.view(payment_id)
        now = rig.gateway.front.payment_now(MERCHANT, payment_id)
        held.let_go()

        assert isinstance(read, TransactionView)
        assert (read.status, view.status) == ("success", "success")
        assert now is None or now == view
        assert (await rig.until_status(payment_id, "success")) == view
