"""A gateway between a bank of two steps and another of one, on a clock that is moved by hand.

async with two_banks(tmp_path) as rig:
    rig.bank.says["charge"] = TIMEOUT           # the confirmation is not known
    rig.bank.says["find"] = unconfirmed         # what it prepared is there, untouched
    payment_id = await rig.pay()
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
from bank_rig import AMOUNT, OPERATOR, Bank, BankRig, Heard

from paygate_actors.config import Fraud, Limits, ProviderConfig
from paygate_actors.gateway import Gateway
from paygate_actors.messages import SetTransactionStatus, TransactionReply
from paygate_actors.outcomes import Approved, Outcome, Preparation, Prepared, Unknown
from paygate_actors.providers.base import ChargeCall, FollowUpCall

SECOND: Final = "bank_2"
TIMEOUT: Final = Unknown(reason="timeout")


class TwoStepBank(Bank):
    """A bank whose object is prepared first. `prepares` is what it says of that; None: nothing.

    `confirmed` and `cancelled` are the objects that it was asked to confirm and to void.
    """

    capabilities = msgspec.structs.replace(Bank.capabilities, steps=2)

    def __init__(self) -> None:
        super().__init__()
        self.prepares: Callable[[str], Preparation] | None = lambda key: Prepared(
            provider_txn_id=object_of(key)
        )
        self._slow: list[asyncio.Future[Preparation]] = []
        self.confirmed: list[str | None] = []
        self.cancelled: list[str] = []

    async def prepare(self, call: ChargeCall) -> Preparation:
        """Make the object."""
        self.heard.append(Heard("prepare", call.key))
        if self.prepares is None:
            self._slow.append(silence := asyncio.get_running_loop().create_future())
            return await silence
        return self.prepares(call.key)

    def prepared_late(self) -> None:
        """Answer every preparation that waits: its object is there."""
        for silence, call in zip(self._slow, self.of("prepare"), strict=True):
            silence.set_result(Prepared(provider_txn_id=object_of(call.key)))
        self._slow.clear()

    def hang_up(self) -> None:
        """Cut every call that waits for an answer."""
        super().hang_up()
        for silence in self._slow:
            if not silence.done():
                silence.set_result(Unknown(reason="reset"))
        self._slow.clear()

    async def charge(self, call: ChargeCall) -> Outcome:
        """Confirm it."""
        self.confirmed.append(call.prepared_id)
        return await super().charge(call)

    async def void(self, call: FollowUpCall) -> Outcome:
        """Cancel it."""
        self.cancelled.append(call.provider_txn_id)
        return await super().void(call)

    async def find(self, key: str, provider_txn_id: str | None = None) -> Outcome:
        """Look the object up; who does not name it does not see one that nobody confirmed."""
        said = await super().find(key)
        if isinstance(said, Unknown) and said.provider_txn_id != provider_txn_id:
            return Unknown(reason=said.reason)
        return said


class TwoBanks(BankRig):
    """The gateway with `bank` of two steps, and `second` after it."""

    bank: TwoStepBank

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, fraud=Fraud(), limits=Limits(), bank=TwoStepBank())
        self.second = Bank()
        self.second.id = SECOND
        self.config = msgspec.structs.replace(
            self.config,
            providers=tuple(
                ProviderConfig(id=bank.id, kind="bank", url="http://bank.invalid", priority=place)
                for place, bank in enumerate((self.bank, self.second), 1)
            ),
        )

    def can(self, **changes: object) -> None:
        """Change what the first bank can do."""
        self.bank.capabilities = msgspec.structs.replace(self.bank.capabilities, **changes)

    async def open(self) -> None:
        """Start, and recover nothing."""
        self.store.dead = False
        self.fatal.clear()
        self._gateway = await Gateway.start(
            self.config,
            loop=asyncio.get_running_loop(),
            on_fatal=self.fatal.append,
            clock=self.clock,
            rng=random.Random(len(self.bank.heard)),
            store=self.store,
            adapters={"bank": self.bank, SECOND: self.second},
        )

    async def assert_success(self, payment_id: str) -> None:
        """Set the payment to success, whatever its bank says."""
        reply = await self.gateway.front.set_status(
            SetTransactionStatus(
                caller=OPERATOR,
                transaction_id=first_of(payment_id),
                status="success",
                reason="The bank said so by telephone.",
                force=True,
            )
        )
        assert isinstance(reply, TransactionReply), reply

    async def until_heard(self, *verbs: str) -> None:
        """Let the gateway run until the first bank has heard exactly this."""
        await self.until(lambda: self.bank.verbs() == list(verbs))


def first_of(payment_id: str) -> str:
    """The payment's own transaction."""
    return f"txn{payment_id.removeprefix('pay')}"


def object_of(key: str) -> str:
    """The object that is prepared for the call with this key."""
    return f"ob_{key}"


def unconfirmed(key: str) -> Outcome:
    """It is there, and nobody has confirmed it."""
    return Unknown(reason="not_visible", provider_txn_id=object_of(key))


def cancelled(key: str) -> Outcome:
    """It was cancelled."""
    return Approved(provider_txn_id=key, amount=AMOUNT)


@asynccontextmanager
async def two_banks(folder: Path) -> AsyncGenerator[TwoBanks]:
    """Start the gateway with its banks; end it with the test."""
    rig = TwoBanks(folder)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()
        await rig.second.close()
