"""A payment that failed in the middle is read back: what is open then is not known, at first."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bank_rig import MERCHANT, bank_rig

from paygate_actors.messages import CapturePayment, ReversePayment


async def test_what_waits_in_front_of_the_look_finds_the_open_call_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def raises(*_: Any) -> Any:
        raise RuntimeError("a planted bug")

    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = None
        payment_id = await rig.pay()
        await rig.until(lambda: rig.bank.verbs() == ["charge"])
        monkeypatch.setattr("paygate_actors.operating.capture", raises)
        front = rig.gateway.front

        await asyncio.gather(
            front.capture(CapturePayment(caller=MERCHANT, payment_id=payment_id)),
            front.reverse(ReversePayment(caller=MERCHANT, payment_id=payment_id)),
            return_exceptions=True,
        )

        assert await rig.reasons(payment_id) == ["restarted"]
        await rig.until_asked()
        assert rig.bank.verbs() == ["charge", "find"]
