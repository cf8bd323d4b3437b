"""A disk that fails under the real process: fail-stop; and one that is full: a polite refusal.

EIO is injected into the N-th `fdatasync` by strace; the full disk is a small tmpfs.
"""

import asyncio
from pathlib import Path
from typing import Final

import pytest
from disk_rig import fill, small_disk
from gateway_words import payment, until
from ledger_match import disagreements
from load_rig import GONE
from process_rig import Answer, GatewayClient, process_rig
from strace_rig import failing_at, launched

pytestmark = pytest.mark.slow

CALLERS: Final = 12
# Which sync of the journal's thread fails. The first few are those of the start (migrations, the
# stamp, the providers' switches), the later ones those of payments.
NTH: Final = (15, 25, 60)


def failing_sync(folder: Path, nth: int) -> tuple[str, ...]:
    """What runs the gateway so that the N-th `fdatasync` of each of its threads fails with EIO."""
    return launched(failing_at("fdatasync", nth), folder / "strace.log")


class Heard:
    """What callers heard of a gateway until it was gone."""

    def __init__(self) -> None:
        self.sent = 0
        self.acked: dict[str, str] = {}
        self.refused: list[Answer] = []
        self.unheard: set[str] = set()
        self.readiness_after: list[int] = []

    async def pay_until_gone(self, gateway: GatewayClient) -> None:
        """Pay on several connections at once."""
        calling = [asyncio.create_task(self._caller(gateway)) for _ in range(CALLERS)]
        await asyncio.gather(*calling, self._watch(gateway))

    async def _caller(self, gateway: GatewayClient) -> None:
        while True:
            self.sent += 1
            key = f"k{self.sent}"
            self.unheard.add(key)
            try:
                answer = await gateway.pay(key, body=payment(metadata={"key": key}))
            except GONE:
                return
            self.unheard.discard(key)
            if answer.status == 201:
                self.acked[key] = answer.body["id"]
            else:
                self.refused.append(answer)

    async def _watch(self, gateway: GatewayClient) -> None:
        try:
            while True:
                failed = bool(self.refused)
                status = (await gateway.ask("GET", "/readyz")).status
                if failed:
                    self.readiness_after.append(status)
        except GONE:
            return


@pytest.mark.parametrize("nth", NTH)
async def test_a_sync_that_fails_ends_the_process_and_loses_nothing(tmp_path: Path, nth: int):
    async with process_rig(tmp_path) as rig:
        heard = Heard()
        gateway = await rig.serve(prefix=failing_sync(tmp_path, nth))

        await heard.pay_until_gone(gateway)
        code = await gateway.process.ended()
        injected = (tmp_path / "strace.log").read_text().count("(INJECTED)")
        gateway = await rig.serve()
        seen = await gateway.settled()

        assert injected == 1
        assert code == 1
        assert {(it.status, it.body["code"]) for it in heard.refused} <= {
            (503, "outcome_unknown"),
            (503, "not_ready"),
        }
        assert set(heard.readiness_after) <= {503}
        assert heard.refused or heard.unheard
        found = {row["metadata"]["key"]: row["id"] for row in seen.payments}
        assert heard.acked.items() <= found.items()
        assert disagreements(seen, await rig.sandbox.ledger()) == []
        assert await repeated(gateway, heard) == heard.acked
        assert (await gateway.gauges())["paygate_audit_broken"] == 0


async def repeated(gateway: GatewayClient, heard: Heard) -> dict[str, str]:
    """The ids that the acknowledged keys answer with now."""
    found: dict[str, str] = {}
    for key in heard.acked:
        answer = await gateway.pay(key, body=payment(metadata={"key": key}))
        assert answer.replayed
        found[key] = answer.made()["id"]
    return found


# The second is that of the folder's entry, whose failure SQLite does not mind.
@pytest.mark.parametrize("nth", [1, 3, 4])
async def test_a_start_whose_sync_fails_ends_with_1_and_the_next_one_serves(
    tmp_path: Path, nth: int
):
    async with process_rig(tmp_path) as rig:
        process = await rig.spawn(prefix=failing_sync(tmp_path, nth))

        code = await process.ended()
        gateway = await rig.serve()

        assert code == 1
        assert (await gateway.pay("k", wait_s=5)).made()["status"] == "success"


async def test_a_full_disk_is_refused_politely_and_passes_by_itself(tmp_path: Path):
    with small_disk(tmp_path / "data", 24_000):
        async with process_rig(tmp_path) as rig:
            gateway = await rig.serve()
            first = (await gateway.pay("first", wait_s=5)).made()

            ballast = fill(rig.data)
            refused = await refusals(gateway)
            full = await gateway.gauges()
            reading = await gateway.payment(first["id"])
            listing = await gateway.every("payments")
            ballast.unlink()
            answer = await until(
                lambda: gateway.pay("last", wait_s=5), lambda answer: answer.status == 201
            )
            seen = await gateway.settled()
            after = await gateway.gauges()

            assert {(it.status, it.body["code"]) for it in refused} == {(503, "overloaded")}
            assert all(it.retry_after is not None for it in refused)
            assert reading == first
            assert first["id"] in {row["id"] for row in listing}
            assert (full["paygate_journal_full"], after["paygate_journal_full"]) == (1, 0)
            assert (full["paygate_journal_failed"], after["paygate_journal_failed"]) == (0, 0)
            assert answer.body["status"] == "success"
            assert disagreements(seen, await rig.sandbox.ledger()) == []
            assert await gateway.stop() == 0


async def refusals(gateway: GatewayClient) -> list[Answer]:
    """Pay until ten in a row are refused: the write-ahead log may have room in it yet."""
    refused: list[Answer] = []
    for number in range(2_000):
        answer = await gateway.pay(f"full-{number}")
        refused = [*refused, answer] if answer.status != 201 else []
        if len(refused) == 10:
            return refused
    raise AssertionError("the disk never filled up")
