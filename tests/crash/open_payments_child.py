"""A gateway that leaves its folder full of open payments, for tests that kill it.

    python open_payments_child.py DATA SANDBOX_URL COUNT PENDING_MS

The production gateway, with providers that do what they are asked and do not always say so. Ten
kinds of payment, in turn; the last digit of the amount says which, to the providers too:

    0  charged, and the answer was lost             5  the payer must confirm
    1  not charged, and the answer was lost         6  held for a review
    2  charged, and the crash comes first           7  refunded, and the answer was lost
    3  never sent, and the crash comes first        8  captured never, the crash comes first
    4  the provider takes PENDING_MS for it         9  voided, and the crash comes first

Nothing is asked about again here: asking is the next gateway's business. Prints a line when all
of them are as they should be, and waits to be killed.
"""

import asyncio
import sys
from typing import Any, Final

import aiohttp
import msgspec

from paygate_actors.card import SealedCard
from paygate_actors.config import Config, Fraud, Limits, ProviderConfig, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.messages import (
    Caller,
    CapturePayment,
    PaymentReply,
    ProcessPayment,
    RefundPayment,
    ReversePayment,
    TransactionReply,
)
from paygate_actors.money import Money
from paygate_actors.outcomes import Outcome, Pending, Unknown
from paygate_actors.payment_methods import CardMethod
from paygate_actors.providers.base import ChargeCall, FollowUpCall
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_http.configure import sandbox_providers
from paygate_http.logs import configure_logs

APPROVED: Final = "4242424242424242"
CONFIRM: Final = "4000002760003184"
KINDS: Final = 10
ANSWER_LOST: Final = {0, 7}
REQUEST_LOST: Final = {1}
CRASH_BEFORE_ANSWER: Final = {2, 9}
NEVER_SENT: Final = {3, 8}
PENDING, ACTION, REVIEW, REFUND, CAPTURE, VOID = 4, 5, 6, 7, 8, 9
# The follow-up is what is left open; the charge before it goes well.
FOLLOWED: Final = {REFUND, CAPTURE, VOID}
# US dollars over which a person reviews; only the kind that is to be reviewed costs as much.
REVIEW_MINOR: Final = 1_000_000
# Longer than this process lives.
NEVER_S: Final = 3_600.0
AT_ONCE: Final = 128
CALLER: Final = Caller(role="merchant", merchant="merchant_a", key_id="key_child")


class Deaf(SandboxProvider):
    """A provider whose answers get lost; look-ups and second tries do not happen while it lives."""

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(
            id=config.id, name=config.name, url=config.url, webhook_secret=config.webhook_secret
        )
        self.capabilities = msgspec.structs.replace(
            self.capabilities, deadline_s=NEVER_S, ask_first_s=NEVER_S, ask_max_s=NEVER_S
        )
        self.hanging = 0
        self.taking_long = 0

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge, or do as the kind of the payment says."""
        kind = call.amount.minor % KINDS
        if kind in FOLLOWED:
            return await super().charge(call)
        await self._before(kind)
        return await self._after(kind, await super().charge(call))

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Refund, and lose the answer."""
        return await self._after(REFUND, await super().refund(call))

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Never get there."""
        await self._before(CAPTURE)
        return await super().capture(call)

    async def void(self, call: FollowUpCall) -> Outcome:
        """Void, and die before it is said."""
        return await self._after(VOID, await super().void(call))

    async def _before(self, kind: int) -> None:
        if kind in NEVER_SENT:
            await self._hang()

    async def _after(self, kind: int, outcome: Outcome) -> Outcome:
        if kind in CRASH_BEFORE_ANSWER:
            await self._hang()
        self.taking_long += isinstance(outcome, Pending)
        return Unknown(reason="reset") if kind in ANSWER_LOST else outcome

    async def _hang(self) -> None:
        self.hanging += 1
        await asyncio.Event().wait()


class Lost(Deaf):
    """The one whose requests get lost too: kind 1 never arrives."""

    async def charge(self, call: ChargeCall) -> Outcome:
        """Lose the request, or do as the others do."""
        if call.amount.minor % KINDS in REQUEST_LOST:
            return Unknown(reason="timeout")
        return await super().charge(call)


def payment(number: int) -> ProcessPayment:
    kind = number % KINDS
    major = REVIEW_MINOR if kind == REVIEW else 1_000
    return ProcessPayment(
        caller=CALLER,
        amount=Money(major + kind, "USD"),
        method=CardMethod(
            kind="card",
            card=SealedCard(CONFIRM if kind == ACTION else APPROVED, "123"),
            expiry_month=12,
            expiry_year=2099,
        ),
        idempotency_key=f"open-{number}",
        capture_method="manual" if kind == CAPTURE else "automatic",
        provider="sandbox_backup" if kind == PENDING else "sandbox",
    )


async def open_one(gateway: Gateway, number: int, turns: asyncio.Semaphore) -> None:
    front, kind = gateway.front, number % KINDS
    async with turns:
        wait_s = 30 if kind in FOLLOWED else 0
        made = await front.process(payment(number), wait_s=wait_s)
        assert isinstance(made, PaymentReply), made
        named: dict[str, Any] = {"caller": CALLER, "payment_id": made.payment.id}
        match kind:
            case 7:
                done = await front.refund(RefundPayment(**named))
            case 8:
                done = await front.capture(CapturePayment(**named))
            case 9:
                done = await front.reverse(ReversePayment(**named))
            case _:
                return
        assert isinstance(done, TransactionReply), done


async def take_long(url: str, delay_ms: int) -> None:
    plan = {
        "fault": "pending",
        "provider": "sandbox_backup",
        "operation": "charge",
        "count": 1_000_000,
        "delayMs": delay_ms,
    }
    async with aiohttp.ClientSession() as session, session.post(f"{url}/faults", json=plan) as done:
        done.raise_for_status()


async def until_as_they_should_be(gateway: Gateway, adapters: list[Deaf], count: int) -> None:
    lost = sum(n % KINDS in ANSWER_LOST | REQUEST_LOST for n in range(count))
    hanging = sum(n % KINDS in NEVER_SENT | CRASH_BEFORE_ANSWER for n in range(count))
    long = sum(n % KINDS == PENDING for n in range(count))
    told = sum(n % KINDS in {ACTION, REVIEW} for n in range(count))
    counts = gateway.house.counts
    while (  # noqa: ASYNC110  # four places are looked at
        len(gateway.house.in_doubt) < lost
        or sum(each.hanging for each in adapters) < hanging
        or sum(each.taking_long for each in adapters) < long
        or counts["moved", "action_required"] + counts["moved", "held"] < told
    ):
        await asyncio.sleep(0.05)


async def main(data: str, url: str, count: int, pending_ms: int) -> None:
    configure_logs("warning")
    providers = sandbox_providers(url)
    config = Config(
        data_dir=data,
        sandbox=Sandbox(enabled=True),
        fraud=Fraud(velocity=False, review_amount_usd_minor=REVIEW_MINOR, block_score_milli=None),
        limits=Limits(provider_concurrency=1_000_000, oldest_message_s_max=60.0),
        providers=providers,
    )
    adapters = [Lost(each) for each in providers]
    await take_long(url, pending_ms)
    gateway = await Gateway.start(
        config,
        loop=asyncio.get_running_loop(),
        on_fatal=lambda error: sys.exit(repr(error)),
        adapters={each.id: each for each in adapters},
    )
    await gateway.recover()
    turns = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(open_one(gateway, number, turns) for number in range(count)))
    await until_as_they_should_be(gateway, list(adapters), count)
    print(f"{count} payments are open", flush=True)  # noqa: T201 - what the test waits for
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
