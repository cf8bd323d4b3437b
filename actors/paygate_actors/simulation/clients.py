"""The clients of a simulated world: merchants who pay, repeat, change their minds and hang up.

A client keeps what it was promised (every 2xx), and repeats what it was not told the outcome of
with the same key, as a careful client does. It knows the gateway by its door alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from paygate_actors.card import SealedCard
from paygate_actors.messages import (
    Caller,
    CapturePayment,
    CardMethod,
    Method,
    PaymentReply,
    PaymentView,
    ProcessPayment,
    RefundPayment,
    Refusal,
    ReversePayment,
    ReviewPayment,
    TransactionReply,
    WalletMethod,
)
from paygate_actors.money import Money
from paygate_actors.simulation.faults import Dice, Options, seeded
from paygate_actors.simulation.ledger import KEY_LIFE_US
from paygate_actors.simulation.tracing import Trace, Violation
from paygate_engine.simulation import Killed

OPERATOR: Final = Caller(role="operator", merchant="", key_id="key_operator")
# A client that hears nothing for this long was forgotten: every ask has a deadline before that.
SILENCE_S: Final = 300.0
# Careful clients repeat for hours; this many times at a growing distance is more than a day.
REPEATS_MAX: Final = 60
REPEAT_S_MAX: Final = 3_600.0
KEY_LIFE_S: Final = KEY_LIFE_US / 1_000_000
# Over this sum a person has to look first.
LARGE_MINOR: Final = 500_000

_METHODS: Final = (
    "4242424242424242",
    "4242424242424242",
    "4242424242424242",
    "4000000000000002",
    "4000000000009995",
    "4000000000000119",
    "4000002760003184",
    "wallet_ok",
    "wallet_declined",
)
_AGAIN: Final = frozenset({"outcome_unknown", "overloaded", "not_ready"})

Command = ProcessPayment | CapturePayment | RefundPayment | ReversePayment
Reply = PaymentReply | TransactionReply | Refusal
Door = Callable[[str, Any], Awaitable[Any]]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A 2xx: what must be found from now on, whatever happens."""

    payment_id: str
    transaction_id: str | None
    merchant: str
    amount_minor: int


class Client:
    """One merchant's client. `door(verb, command)` asks the gateway; it raises `Killed`."""

    def __init__(
        self, number: int, *, options: Options, door: Door, dice: Dice, trace: Trace
    ) -> None:
        self.rng = seeded(options.seed, f"client {number}")
        # Merchants have several clients each, so that keys of one merchant meet.
        self.caller = Caller(role="merchant", merchant=f"m{number % 7}", key_id=f"key_{number}")
        self.promises: list[Promise] = []
        self.refused = 0
        self._number = number
        self._options = options
        self._door = door
        self._dice = dice
        self._trace = trace
        self._keys = 0
        self._held: dict[tuple[str, str, str], tuple[str, float]] = {}

    async def run(self) -> None:
        """Live through the calm and the storm."""
        for _ in range(self.rng.randint(1, 3)):
            await asyncio.sleep(self.rng.random() * self._options.calm_s)
            await self._one_payment()

    async def _one_payment(self) -> None:
        command = self._process()
        replies = await asyncio.gather(
            *(self._careful("process", command) for _ in range(self.rng.choice((1, 1, 1, 2, 3))))
        )
        views = [reply.payment for reply in replies if isinstance(reply, PaymentReply)]
        if command.idempotency_key is not None and self.rng.random() < 0.2:  # noqa: PLR2004
            await self._mutated(command, answered=bool(views))
        if not views:
            return
        payment_id = views[0].id
        for _ in range(self.rng.randint(0, 3)):
            await asyncio.sleep(self.rng.choice((0.01, 1.0, 60.0)) * self.rng.random())
            await self._follow_up(command, payment_id)

    async def _follow_up(self, command: ProcessPayment, payment_id: str) -> None:
        chance = self.rng.random()
        if chance < 0.25:  # noqa: PLR2004 - the shares of what clients do
            await self._read(payment_id)
        elif chance < 0.4 and command.capture_method == "manual":  # noqa: PLR2004
            await self._careful("capture", self._capture(command, payment_id))
        elif chance < 0.85:  # noqa: PLR2004
            refunds = [self._refund(command, payment_id) for _ in range(self.rng.randint(1, 4))]
            if self.rng.random() < 0.3:  # noqa: PLR2004
                refunds.append(refunds[0])
            await asyncio.gather(*(self._careful("refund", each) for each in refunds))
        else:
            await self._careful("reverse", self._reverse(payment_id))

    # ------------------------------------------------------------------ asking

    async def _careful(self, verb: str, command: Command) -> Reply | None:
        """Ask until there is an answer; without a key only once."""
        for attempt in range(REPEATS_MAX):
            reply = await self._ask(verb, command)
            again = reply is None or (isinstance(reply, Refusal) and reply.code in _AGAIN)
            if not again:
                return reply
            safe = isinstance(reply, Refusal) and reply.code != "outcome_unknown"
            if command.idempotency_key is None and not safe:
                return None
            await asyncio.sleep(min(REPEAT_S_MAX, 2.0**attempt) * (0.5 + self.rng.random()))
        raise Violation("a client is served in the end", f"{verb} was never answered")

    async def _ask(self, verb: str, command: Command) -> Reply | None:
        """One request; None where nothing came back."""
        asked = asyncio.ensure_future(self._door(verb, command))
        patience_s = SILENCE_S
        hangs_up = self._dice.strikes("disconnect")
        if hangs_up:
            patience_s = self._dice.between(0.0, 0.05)
        done, _ = await asyncio.wait((asked,), timeout=patience_s)
        if not done:
            asked.cancel()
            if not hangs_up:
                raise Violation("every request is answered in time", f"{verb} by {self.name}")
            return None
        try:
            reply = asked.result()
        except Killed:
            return None
        self._heard(verb, command, reply)
        return reply

    @property
    def name(self) -> str:
        """How the story calls it."""
        return f"client {self._number} of {self.caller.merchant}"

    def _heard(self, verb: str, command: Command, reply: Reply) -> None:
        match reply:
            case Refusal():
                self.refused += 1
                about = getattr(command, "payment_id", "nobody's")
                self._trace.note(f"{self.name} hears of its {verb}: {reply.code}", about=about)
            case PaymentReply():
                self._promised(verb, command, reply.payment.id, None, reply.payment.amount_minor)
            case TransactionReply():
                txn = reply.transaction
                self._promised(verb, command, txn.payment_id, txn.id, txn.amount_minor)

    def _promised(
        self, verb: str, command: Command, payment_id: str, txn_id: str | None, minor: int
    ) -> None:
        named = txn_id or payment_id
        self._trace.note(f"{self.name} hears of its {verb}: {named}", about=payment_id)
        self.promises.append(
            Promise(
                payment_id=payment_id,
                transaction_id=txn_id,
                merchant=self.caller.merchant,
                amount_minor=minor,
            )
        )
        if command.idempotency_key is None:
            return
        place = (verb, getattr(command, "payment_id", ""), command.idempotency_key)
        now_s = asyncio.get_running_loop().time()
        held, since_s = self._held.setdefault(place, (named, now_s))
        if held != named and now_s - since_s < KEY_LIFE_S:
            raise Violation(
                "a key answers with the same thing", f"{held}, then {named}", subject=payment_id
            )

    async def _mutated(self, command: ProcessPayment, *, answered: bool) -> None:
        """The same key for another sum must be refused, where the first was taken."""
        other = msgspec.structs.replace(
            command, amount=Money(command.amount.minor + 1, command.amount.currency)
        )
        reply = await self._ask("process", other)
        if not answered or reply is None:
            return
        if isinstance(reply, Refusal) and reply.code in _AGAIN | {"idempotency_key_reused"}:
            return
        raise Violation("a key binds its request", f"{self.name} got {type(reply).__name__}")

    async def _read(self, payment_id: str) -> None:
        try:
            view: PaymentView | Refusal = await self._door("payment", (self.caller, payment_id))
        except Killed:
            return
        if isinstance(view, Refusal) and view.code != "not_ready":
            raise Violation("what was acknowledged is found", view.code, subject=payment_id)

    # ------------------------------------------------------------------ commands

    def _key(self) -> str | None:
        self._keys += 1
        return f"k{self._number}-{self._keys}" if self.rng.random() < 0.9 else None  # noqa: PLR2004

    def _process(self) -> ProcessPayment:
        chosen = self.rng.choice(_METHODS)
        large = self.rng.random() < 0.1  # noqa: PLR2004 - one in ten is for a person to look at
        minor = self.rng.randint(100, 20_000) + (LARGE_MINOR if large else 0)
        return ProcessPayment(
            caller=self.caller,
            amount=Money(minor, "USD"),
            method=_method(chosen),
            idempotency_key=self._key(),
            capture_method=self.rng.choice(("automatic", "automatic", "manual")),
        )

    def _capture(self, command: ProcessPayment, payment_id: str) -> CapturePayment:
        part = self.rng.choice((None, None, command.amount.minor // 2))
        return CapturePayment(
            caller=self.caller,
            payment_id=payment_id,
            amount_minor=part,
            idempotency_key=self._key(),
        )

    def _refund(self, command: ProcessPayment, payment_id: str) -> RefundPayment:
        part = self.rng.choice((None, command.amount.minor // 2, command.amount.minor // 3))
        return RefundPayment(
            caller=self.caller,
            payment_id=payment_id,
            amount_minor=part,
            idempotency_key=self._key(),
        )

    def _reverse(self, payment_id: str) -> ReversePayment:
        return ReversePayment(
            caller=self.caller,
            payment_id=payment_id,
            or_refund=self.rng.random() < 0.5,  # noqa: PLR2004 - a coin
            idempotency_key=self._key(),
        )


def decision(payment_id: str, *, approve: bool) -> ReviewPayment:
    """What a person decides about held funds."""
    return ReviewPayment(
        caller=OPERATOR,
        payment_id=payment_id,
        decision="approve" if approve else "decline",
        note="simulated",
    )


def _method(chosen: str) -> Method:
    if chosen.startswith("wallet"):
        return WalletMethod(wallet_id=chosen)
    card = SealedCard(chosen, "123")
    return CardMethod(kind="card", card=card, expiry_month=12, expiry_year=2040)
