"""Fills a data folder with finished payments: real ones, by the gateway's own actors and journal.

What is left out is HTTP, and a provider that takes its time: one inside the process approves at
once. So each is decided, scored, sealed, claimed, committed and chained as ever, and has no webhook
among its rows. `python stored.py FOLDER PAYMENTS` prints a line of JSON for each tenth.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# What tests share is not beside it, and it is run as a script as well.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "conformance"))

import msgspec
from callers import card
from instant_provider import instant
from msgspec import Struct
from progress import PROGRESS
from vitals import memory_of

from paygate_actors.card import SealedCard
from paygate_actors.config import Config, Limits, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.messages import Caller, PaymentReply, ProcessPayment
from paygate_actors.money import Money
from paygate_actors.payment_methods import CardMethod
from paygate_http.configure import sandbox_providers
from paygate_http.logs import configure_logs
from paygate_http.process import settle

# As many as a group of the journal takes well; each caller waits for his answer.
CALLERS: Final = 500
STAGES: Final = 10
# A disk that stalls for seconds refuses everybody for that long; a second lies between.
ATTEMPTS_MAX: Final = 60
# Everybody pays once, or the fraud rules would block him; lists of the first of them are asked for.
CUSTOMERS: Final = 1_000
# Ids that are told for reading, of each stage.
TOLD: Final = 100
MERCHANT: Final = Caller(role="merchant", merchant="merchant_a", key_id="bench")
NOWHERE: Final = "http://127.0.0.1:1"


class Stage(Struct, frozen=True, kw_only=True):
    """A tenth: how many are stored, CPU for each of its payments, memory and file in bytes."""

    stored: int
    cpu_us: float
    memory: int
    bytes_: int
    ids: list[str]


def filled(folder: Path, payments: int) -> list[Stage]:
    """Let a child fill the folder's `data`; its stages. A folder that was filled stays as it is."""
    told = folder / "stages"
    if not told.exists():
        folder.mkdir(parents=True, exist_ok=True)
        told.write_bytes(b"".join(_child(folder / "data", payments)))
    return [msgspec.json.decode(line, type=Stage) for line in told.read_bytes().splitlines()]


def _child(folder: Path, payments: int) -> Iterator[bytes]:
    words = [sys.executable, __file__, str(folder), str(payments)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                done = msgspec.json.decode(line, type=Stage)
                PROGRESS.note(f"{done.stored} of {payments} stored")
                yield line
            assert child.wait() == 0
        finally:
            child.kill()


async def main(folder: Path, payments: int) -> None:
    """Fill it, stage by stage."""
    configure_logs("error")
    providers = sandbox_providers(NOWHERE)
    config = Config(
        data_dir=str(folder),
        sandbox=Sandbox(enabled=True),
        limits=Limits(events_baseline_s=0),
        providers=providers,
    )
    gateway = await Gateway.start(
        config,
        loop=asyncio.get_running_loop(),
        on_fatal=lambda error: sys.exit(f"the gateway failed: {error!r}"),
        adapters={each.id: instant(of=each.id) for each in providers},
    )
    await gateway.recover()
    settle()
    numbers = iter(range(payments))
    for stage in range(1, STAGES + 1):
        until = payments * stage // STAGES
        count = until - payments * (stage - 1) // STAGES
        cpu_s, ids = time.process_time(), list[str]()
        places = iter(range(count))
        await asyncio.gather(*(_pay(gateway, numbers, places, ids) for _ in range(CALLERS)))
        found = Stage(
            stored=until,
            cpu_us=1e6 * (time.process_time() - cpu_s) / max(1, count),
            memory=memory_of("self"),
            bytes_=bytes_of(folder),
            ids=ids[:: max(1, len(ids) // TOLD)],
        )
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        sys.stdout.flush()
    await gateway.stop()


async def _pay(
    gateway: Gateway, numbers: Iterator[int], places: Iterator[int], ids: list[str]
) -> None:
    for _place in places:
        number = next(numbers)
        ids.append(await _paid(gateway, number))


async def _paid(gateway: Gateway, number: int) -> str:
    """The id of a payment that is made; what is not known yet is asked for again under its key."""
    command = ProcessPayment(
        caller=MERCHANT,
        amount=Money(100 + number % 50_000, "USD"),
        method=CardMethod(
            kind="card",
            card=SealedCard(card(number), "123"),
            expiry_month=12,
            expiry_year=2049,
        ),
        metadata={"orderID": f"order-{number}", "customerID": f"customer-{number}"},
        idempotency_key=f"stored-{number}",
    )
    for _attempt in range(ATTEMPTS_MAX):
        reply = await gateway.front.process(command)
        if isinstance(reply, PaymentReply):
            return reply.payment.id
        assert reply.code in ("outcome_unknown", "overloaded"), reply
        await asyncio.sleep(1)
    raise AssertionError(f"payment {number} was refused {ATTEMPTS_MAX} times")


def bytes_of(folder: Path) -> int:
    """What the database and its log hold."""
    return sum(each.stat().st_size for each in folder.glob("journal.db*"))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
