"""The front of the gateway: what the doors may ask, and nothing else.

It finds the payment that a request is about, checks that it is the caller's, asks its actor, and
turns what the engine raises into refusals. It decides nothing about money.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec
from pykka import ActorDeadError

from paygate_actors.admission import Admission
from paygate_actors.card import SealedCard
from paygate_actors.desk_messages import (
    AskAgain,
    DeskEntry,
    DeskPage,
    Explanation,
    GiveBack,
    MarkNotCharged,
    MarkSeen,
)
from paygate_actors.desk_office import DeskOffice
from paygate_actors.guarding import RECORDED_S, guarded
from paygate_actors.idempotency import operation_key
from paygate_actors.intake import Intake
from paygate_actors.messages import (
    ApiKey,
    Caller,
    CapturePayment,
    EventView,
    Filters,
    FraudCheck,
    PaymentPage,
    PaymentReply,
    PaymentView,
    ProcessPayment,
    RefundPayment,
    Refusal,
    ReversePayment,
    ReviewPayment,
    ScoreRequest,
    SetTransactionStatus,
    TransactionPage,
    TransactionReply,
    TransactionView,
)
from paygate_actors.nodes import Nodes, NodeView
from paygate_actors.notice_messages import NoticeDesk
from paygate_actors.payment import PaymentActor
from paygate_actors.payment_messages import Await, Correct, Decide, Operate, WhichCall
from paygate_actors.payment_methods import ProviderTokenMethod
from paygate_actors.projection import key_document
from paygate_actors.provider_desk import Desk, ProviderDesk, Switches, switches_unit, turned
from paygate_actors.provider_messages import AS_IT_IS, ProviderView, Tuning
from paygate_actors.reads import Reads
from paygate_actors.reception import Reception
from paygate_actors.record import Call
from paygate_actors.repeating import kept
from paygate_actors.replay_messages import ReplayPage, ReplayWebhooks
from paygate_actors.replaying import Replayer
from paygate_actors.states import WAITING
from paygate_actors.vault import Vault
from paygate_engine.errors import (
    EngineError,
)
from paygate_engine.future import LoopFuture
from paygate_engine.journal import Journal
from paygate_engine.region import Region
from paygate_engine.stores.base import AuditEntry, Unit
from paygate_engine.system import ActorSystem

# What `Prefer: wait` may ask for at most, in seconds.
WAIT_S_MAX: Final = 30.0

NO_PROVIDER_HERE: Final = Refusal(code="provider_not_found", detail="No such provider.")


class GatewayFront:
    """The `Front` of `messages`, over the actors."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        journal: Journal,
        payments: Region[PaymentActor],
        intake: Intake,
        reads: Reads,
        office: DeskOffice,
        reception: Reception,
        replayer: Replayer,
        notices: NoticeDesk,
        nodes: Nodes,
        desk: ProviderDesk,
        vault: Vault,
        admission: Admission,
        gauges: Callable[[], Mapping[str, float]],
        turning: Callable[[Desk], AbstractAsyncContextManager[None]],
    ) -> None:
        self._system = system
        self._journal = journal
        self._payments = payments
        self._intake = intake
        self._reads = reads
        self._office = office
        self._reception = reception
        self._replayer = replayer
        self._notices = notices
        self._nodes = nodes
        self._desk = desk
        self._vault = vault
        self._admission = admission
        self._gauges = gauges
        self._turning = turning
        self._released = asyncio.Event()

    @property
    def notices(self) -> NoticeDesk:
        """Webhooks to merchants, and their feed."""
        return self._notices

    def release(self) -> None:
        """Answer at once whoever waits by preference: the server is about to stop."""
        self._released.set()

    # ------------------------------------------------------------------ commands

    async def process(
        self, command: ProcessPayment, *, wait_s: float = 0
    ) -> PaymentReply | Refusal:
        """Make or find the payment."""
        made = await guarded(self._intake.process(command))
        reply = await kept(made, self._journal, self._nodes)
        if isinstance(reply, Refusal) or wait_s <= 0 or reply.payment.status not in WAITING:
            return reply
        moved = await self._moved(reply.payment.id, Await(), wait_s)
        view = moved or await self._reads.look(reply.payment.id) or reply.payment
        return PaymentReply(payment=view, replayed=reply.replayed)

    async def capture(
        self, command: CapturePayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        """Capture held funds."""
        return await self._operate(command, wait_s)

    async def refund(
        self, command: RefundPayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        """Refund captured funds."""
        return await self._operate(command, wait_s)

    async def reverse(
        self, command: ReversePayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        """Undo the payment."""
        return await self._operate(command, wait_s)

    async def review(self, command: ReviewPayment) -> PaymentReply | Refusal:
        """Decide on held funds."""
        owned = await self.payment(command.caller, command.payment_id)
        if isinstance(owned, Refusal):
            return owned
        return await self._ask(command.payment_id, Decide(command=command))

    async def set_status(self, command: SetTransactionStatus) -> TransactionReply | Refusal:
        """Correct a transaction, the provider being asked first."""
        txn = await self.transaction(command.caller, command.transaction_id)
        if isinstance(txn, Refusal):
            return txn
        call: Call | Refusal | None = await self._ask(
            txn.payment_id, WhichCall(transaction_id=txn.id)
        )
        if isinstance(call, Refusal):
            return call
        fresh = None
        if call is not None and txn.status == "pending":
            fresh = await self._office.look_up(call)
        key = None if call is None else call.key
        return await self._ask(txn.payment_id, Correct(command=command, fresh=fresh, key=key))

    async def switch_provider(
        self,
        caller: Caller,
        provider_id: str,
        *,
        is_active: bool | None = None,
        accepts_charges: bool | None = None,
        tuning: Tuning = AS_IT_IS,
    ) -> ProviderView | Refusal:
        """Turn a provider's switches, durably."""
        desk = self._desk.get(provider_id)
        if desk is None:
            return NO_PROVIDER_HERE

        def turn(switches: Switches) -> Switches:
            return turned(
                switches, is_active=is_active, accepts_charges=accepts_charges, tuning=tuning
            )

        return await guarded(self._switched(caller, desk, turn))

    async def _switched(
        self, caller: Caller, desk: Desk, turn: Callable[[Switches], Switches]
    ) -> ProviderView | Refusal:
        async with self._turning(desk):
            switches = turn(desk.switches)
            at_us = self._system.clock.now_us()
            unit = switches_unit(desk.config.id, switches, who=f"key:{caller.key_id}", at_us=at_us)
            refused = await self._record(unit)
            if refused is not None:
                return refused
            desk.switches = switches
            return self._desk.view(desk)

    async def put_key(self, caller: Caller, key: ApiKey) -> None:
        """Store an API key. Raises what the journal raises."""
        what = "create key" if key.revoked_at_us is None else "revoke key"
        entry = AuditEntry(
            at_us=self._system.clock.now_us(),
            who=f"key:{caller.key_id}",
            what=f"{what} for {key.role} {key.merchant}".rstrip(),
            stream=key.id,
        )
        await self._journal.append_wait(Unit(documents=(key_document(key),), audit=(entry,)))

    async def webhook(
        self, provider_id: str, headers: Mapping[str, str], body: bytes
    ) -> Refusal | None:
        """Take a provider's events in."""
        return await self._reception.receive(provider_id, headers, body)

    def webhook_reply(self, provider_id: str) -> str:
        """The body of the 200 that the provider wants."""
        return self._reception.reply(provider_id)

    def admits_webhook(self, provider_id: str) -> Refusal | None:
        """None where an event would find a place."""
        return self._reception.admits(provider_id)

    async def payer_returned(self, provider_id: str, query: Mapping[str, str]) -> str | Refusal:
        """Tell the provider what its payer brought back."""
        return await self._reception.homecoming.receive(provider_id, query)

    async def replay_webhooks(self, command: ReplayWebhooks) -> ReplayPage | Refusal:
        """Read webhooks again."""
        return await guarded(self._replayer.page(command))

    # ------------------------------------------------------------------ reading

    def payment_now(self, caller: Caller, payment_id: str) -> PaymentView | None:
        """The payment as committed, where nobody need be waited for."""
        return self._reads.payment_now(caller, payment_id)

    async def payment(self, caller: Caller, payment_id: str) -> PaymentView | Refusal:
        """The payment as committed."""
        return await self._reads.payment(caller, payment_id)

    async def payment_at(
        self, caller: Caller, payment_id: str, at_us: int
    ) -> PaymentView | Refusal:
        """The payment as its events told it at that instant."""
        return await guarded(self._reads.payment_at(caller, payment_id, at_us))

    async def explain(self, caller: Caller, payment_id: str) -> Explanation | Refusal:
        """Why the payment is where it is, and what comes next."""
        return await guarded(self._office.explain(caller, payment_id))

    async def in_doubt(self, caller: Caller, filters: Filters) -> DeskPage | Refusal:
        """A page of the desk."""
        return await guarded(self._office.page(caller, filters))

    async def ask_again(self, command: AskAgain) -> DeskEntry | Refusal:
        """Ask the provider now."""
        return await guarded(self._office.ask_again(command))

    async def mark_not_charged(self, command: MarkNotCharged) -> DeskEntry | Refusal:
        """Set a charge in doubt as not made."""
        return await guarded(self._office.mark_not_charged(command))

    async def give_back(self, command: GiveBack) -> DeskEntry | Refusal:
        """Repeat a reverse that failed."""
        return await guarded(self._office.give_back(command))

    async def mark_seen(self, command: MarkSeen) -> DeskEntry | Refusal:
        """Note that a person has looked."""
        return await guarded(self._office.mark_seen(command))

    async def payments(self, caller: Caller, filters: Filters) -> PaymentPage | Refusal:
        """A page of payments."""
        return await self._reads.payments(caller, filters)

    async def events(self, caller: Caller, payment_id: str) -> tuple[EventView, ...] | Refusal:
        """The payment's history."""
        return await self._reads.events(caller, payment_id)

    async def transaction(self, caller: Caller, transaction_id: str) -> TransactionView | Refusal:
        """The transaction as committed."""
        return await self._reads.transaction(caller, transaction_id)

    async def transactions(self, caller: Caller, filters: Filters) -> TransactionPage | Refusal:
        """A page of transactions."""
        return await self._reads.transactions(caller, filters)

    async def providers(self) -> tuple[ProviderView, ...]:
        """Every provider, by priority."""
        return tuple(map(self._desk.view, self._desk.all()))

    async def nodes(self, caller: Caller) -> tuple[NodeView, ...] | Refusal:
        """Every node, by seat."""
        return await guarded(self._nodes.all())

    async def check_fraud(self, caller: Caller, request: ScoreRequest) -> FraudCheck:
        """Score without charging."""
        return await self._intake.score(request, None)

    async def fraud_of(self, caller: Caller, transaction_id: str) -> FraudCheck | Refusal:
        """The check of the transaction's payment."""
        return await self._reads.fraud_of(caller, transaction_id)

    async def find_key(self, digest: str) -> ApiKey | None:
        """The stored API key with this digest."""
        return await self._reads.key(digest)

    async def keys(self) -> tuple[ApiKey, ...]:
        """All stored keys."""
        return await self._reads.keys()

    def fingerprint(self, of: SealedCard | ProviderTokenMethod) -> str:
        """The keyed hash of a card or of a provider's token."""
        if isinstance(of, SealedCard):
            return self._vault.fingerprint(of.reveal()[0])
        return self._vault.token_fingerprint(of.provider, of.token.reveal())

    def admits(self) -> Refusal | None:
        """None where new payments are taken."""
        return self._admission.refusal()

    def readiness(self) -> str | None:
        """None when ready; else why not."""
        return self._admission.unready()

    def gauges(self) -> Mapping[str, float]:
        """Numbers for the metrics page."""
        return self._gauges()

    # ------------------------------------------------------------------ asking payments

    async def _operate(
        self, command: CapturePayment | RefundPayment | ReversePayment, wait_s: float
    ) -> TransactionReply | Refusal:
        owned = await self.payment(command.caller, command.payment_id)
        if isinstance(owned, Refusal):
            return owned
        key = operation_key(command, self._vault)
        made: TransactionReply | Refusal = await self._ask(
            command.payment_id, Operate(command=command, key=key)
        )
        reply = await kept(made, self._journal, self._nodes)
        if isinstance(reply, Refusal) or wait_s <= 0 or reply.transaction.status != "pending":
            return reply
        waiting = Await(transaction_id=reply.transaction.id)
        view = await self._moved(command.payment_id, waiting, wait_s)
        return reply if view is None else msgspec.structs.replace(reply, transaction=view)

    async def _ask(self, payment_id: str, message: Any) -> Any:
        return await guarded(self._payments.ask(payment_id, message, timeout=RECORDED_S))

    async def _moved(self, payment_id: str, waiting: Await, wait_s: float) -> Any:
        """What is waited for, or None where it did not come in time (or the server drains)."""
        asked = self._payments.ask(payment_id, waiting, timeout=min(wait_s, WAIT_S_MAX))
        release = asyncio.ensure_future(self._released.wait())
        answer = asyncio.ensure_future(_answer(asked))
        try:
            await asyncio.wait((answer, release), return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            release.cancel()
            answer.cancel()

    async def _record(self, unit: Unit) -> Refusal | None:
        async def append() -> Refusal | None:
            await self._journal.append_wait(unit)
            return None

        return await guarded(append())


async def _answer(asked: LoopFuture[Any]) -> Any:
    try:
        return await asked
    except (EngineError, ActorDeadError):
        return None
