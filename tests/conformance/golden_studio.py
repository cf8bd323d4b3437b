"""The gateway with three banks that say what they are told, and short words for its payments.

For `make_golden.py`: everything is seeded, and the clock is moved by hand.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from bank_rig import AMOUNT, MERCHANT, OPERATOR, Bank, BankRig, Heard, MortalStore, Says
from golden_rig import TWO_STEPS
from two_step_rig import TwoStepBank

from paygate_actors.card import SealedCard
from paygate_actors.config import Fraud, Limits, ProviderConfig
from paygate_actors.gateway import Gateway
from paygate_actors.messages import (
    PaymentReply,
    PaymentView,
    ProcessPayment,
    Refusal,
    TransactionView,
)
from paygate_actors.money import Money
from paygate_actors.outcomes import ActionRequired, Approved, Outcome
from paygate_actors.payment_methods import CardMethod, Method
from paygate_actors.projection import KINDS
from paygate_actors.providers.base import ChargeCall, ProviderEvent
from paygate_engine.stores.base import AuditRow, Conflict, Unit

SEED: Final = 20_260_101
REVIEWED: Final = Money(90_000, "USD")
BLOCKED_CUSTOMER: Final = "a customer on the list"
ACTION_S: Final = 900

Group = tuple[tuple[Unit, ...], tuple[tuple[AuditRow, ...], ...]]


class RecordingStore(MortalStore):
    """Keeps every group that was committed."""

    def __init__(self) -> None:
        super().__init__(KINDS)
        self.groups: list[Group] = []

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Commit, and keep what was."""
        answers = await super().commit(units, audit)
        if not any(answers):
            self.groups.append((tuple(units), tuple(map(tuple, audit))))
        return answers


class WideBank(Bank):
    """A bank that takes wallets too, and tokens of its own."""

    capabilities = msgspec.structs.replace(Bank.capabilities, provider_tokens=True)

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge or hold."""
        said = await self._take(Heard("charge", call.key))
        if isinstance(said, Approved):
            return msgspec.structs.replace(said, captured=call.capture)
        return said


class Studio(BankRig):
    """The gateway with two banks, and short words for what happens to payments."""

    def __init__(self, folder: Path) -> None:
        fraud = Fraud(
            review_amount_usd_minor=REVIEWED.minor - 1,
            block_customers=(BLOCKED_CUSTOMER,),
            velocity=False,
        )
        super().__init__(folder, fraud=fraud, limits=Limits())
        self.store = self.recording = RecordingStore()
        self.bank = WideBank()
        self.second = WideBank()
        self.second.id = "bank_2"
        self.third = TwoStepBank()
        self.third.id = TWO_STEPS
        self.config = msgspec.structs.replace(
            self.config,
            providers=tuple(
                ProviderConfig(id=bank.id, kind="bank", url="http://bank.invalid", priority=at)
                for at, bank in enumerate((self.bank, self.second, self.third), 1)
            ),
        )
        self._told = 0

    async def start(self) -> None:
        """Start and recover."""
        self._gateway = await Gateway.start(
            self.config,
            loop=asyncio.get_running_loop(),
            on_fatal=self.fatal.append,
            clock=self.clock,
            rng=random.Random(SEED),
            store=self.store,
            adapters={"bank": self.bank, "bank_2": self.second, TWO_STEPS: self.third},
        )
        await self._gateway.recover()

    async def second_takes(self, *, charges: bool) -> None:
        """Let the second bank be tried, or not: a first that answers late is tried last."""
        await self.gateway.front.switch_provider(
            OPERATOR, "bank_2", is_active=True, accepts_charges=charges
        )

    async def third_takes(self, *, charges: bool) -> None:
        """Let the bank of two steps be tried, or not: it is for those who name it."""
        await self.gateway.front.switch_provider(
            OPERATOR, TWO_STEPS, is_active=True, accepts_charges=charges
        )

    async def make(
        self,
        says: Says = None,
        *,
        amount: Money = AMOUNT,
        method: Method | None = None,
        **more: Any,
    ) -> str:
        """Make a payment while the bank says this of charges; by default it never answers."""
        self.clock.advance(1)
        self.bank.says["charge"] = says
        command = ProcessPayment(caller=MERCHANT, amount=amount, method=method or card(), **more)
        reply = await self.gateway.front.process(command)
        assert isinstance(reply, PaymentReply), reply
        await self.quiet()
        return reply.payment.id

    async def paid(self, amount: Money = AMOUNT, **more: Any) -> str:
        """Make a payment that succeeds, or is held."""
        return await self.make(approved(amount), amount=amount, **more)

    async def give_back(self, payment_id: str, minor: int, says: Says) -> TransactionView:
        """Refund a part while the bank says this of refunds."""
        self.clock.advance(1)
        self.bank.says["refund"] = says
        refund = await self.refund(payment_id, minor)
        await self.quiet()
        return refund

    async def quiet(self) -> None:
        """Let everything run that needs no time to pass."""
        for _ in range(200):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        """Let time pass."""
        await self.pass_time(seconds)
        await self.quiet()

    async def told(
        self, event_type: str, payment_id: str, *, bank: str = "bank", **more: Any
    ) -> None:
        """Have a bank report something about the payment's charge, or about `provider_txn_id`."""
        self._told += 1
        self.clock.advance(1)
        named = more.pop("provider_txn_id", None) or (await self.view(payment_id)).provider_txn_id
        event = ProviderEvent(
            event_id=f"evt_{self._told}",
            event_type=event_type,
            provider_txn_id=named or "unknown",
            at_us=more.pop("at_us", self.clock.now_us()),
            **more,
        )
        await self.gateway.inbox.take(bank, (event,))
        await self.quiet()

    async def done(self, asked: Awaitable[Any]) -> Any:
        """An operation that is taken, and its reply."""
        self.clock.advance(1)
        reply = await asked
        assert not isinstance(reply, Refusal), reply
        await self.quiet()
        return reply

    async def is_now(self, payment_id: str, status: str, **more: Any) -> PaymentView:
        """Assert where the payment stands: a scenario that missed its point is no record of it."""
        view = await self.view(payment_id)
        found = {name: getattr(view, name) for name in more}
        assert (view.status, found) == (status, more), view
        return view

    def key_of(self, payment_id: str, number: int = 1) -> str:
        """The key of an attempt at the payment's own money."""
        return f"txn{payment_id.removeprefix('pay')}-{number}"


def card(number: str = "4242424242424242") -> CardMethod:
    """A card that is valid for ever."""
    return CardMethod(
        kind="card",
        card=SealedCard(number, "123"),
        expiry_month=12,
        expiry_year=2099,
        holder_name="A Payer",
    )


def approved(amount: Money) -> Callable[[str], Approved]:
    """All of it was done, for that amount."""
    return lambda key: Approved(provider_txn_id=f"ch_{key}", amount=amount, captured=True)


def confirm(clock_us: int) -> Callable[[str], ActionRequired]:
    """The payer must confirm, within a quarter of an hour."""
    return lambda key: ActionRequired(
        provider_txn_id=f"ch_{key}",
        url="https://bank.invalid/confirm",
        expires_at_us=clock_us + ACTION_S * 1_000_000,
    )
