"""A provider that nobody understands is seen: counted by reason, and logged without its words."""

from pathlib import Path
from typing import Final, get_args

import pytest
from bank_rig import bank_rig
from structlog.testing import capture_logs

from paygate_actors.health import Health
from paygate_actors.outcomes import Unknown, UnknownReason
from paygate_engine.clock import ManualClock
from paygate_http.metric_help import HELP

WORDS: Final = "4242424242424242 and the whole body"
NAME: Final = "paygate_provider_unknown_total"


def named(reason: str) -> str:
    return f'{NAME}{{provider="bank",reason="{reason}"}}'


async def test_garbage_is_counted_and_logged_without_what_it_said(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = Unknown(reason="garbage", detail=WORDS)
        with capture_logs() as logs:
            payment_id = await rig.pay()
            await rig.until(lambda: rig.gauge(named("garbage")) == 1)

        (line,) = [entry for entry in logs if entry["event"] == "provider_garbage"]
        assert (line["log_level"], line["provider"], line["operation"]) == (
            "warning",
            "bank",
            "charge",
        )
        assert line["payment_id"] == payment_id
        assert WORDS not in str(logs)


async def test_a_look_up_that_nobody_understands_counts_as_well(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = Unknown(reason="timeout")
        rig.bank.says["find"] = Unknown(reason="garbage")
        with capture_logs() as logs:
            await rig.pay()
            await rig.until_asked()
            await rig.until(lambda: rig.gauge(named("garbage")) >= 1)

        assert rig.gauge(named("timeout")) == 1
        assert "find" in {e["operation"] for e in logs if e["event"] == "provider_garbage"}


async def test_each_reason_is_there_from_the_start_so_that_its_first_increase_is_seen(
    tmp_path: Path,
):
    async with bank_rig(tmp_path) as rig:
        heard = [reason for reason in get_args(UnknownReason) if reason != "restarted"]

        assert {rig.gauge(named(reason)) for reason in heard} == {0}
        assert NAME in HELP


@pytest.mark.parametrize("reason", ['"} 1', "restarted"])
def test_a_reason_that_no_answer_has_is_garbage(reason: str):
    health = Health(ManualClock(), deadline_s=2.0, concurrency=1)

    # An adapter that is somebody else's may say anything.
    health.record("charge", Unknown(reason=reason), seconds=0.1)  # pyright: ignore[reportArgumentType]  # so may it

    assert {reason: count for reason, count in health.unknowns.items() if count} == {"garbage": 1}
