"""A gateway for the edge to talk to: small, in memory, and open to the tests' eyes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, web
from fake_notices import FakeNotices

from paygate_actors.card import SealedCard
from paygate_actors.config import Config
from paygate_actors.desk_messages import (
    Ahead,
    AskAgain,
    ConcernView,
    DeskEntry,
    DeskPage,
    Explanation,
    GiveBack,
    MarkNotCharged,
    MarkSeen,
    OpenCall,
    Told,
)
from paygate_actors.front import NO_PROVIDER_HERE
from paygate_actors.messages import (
    ApiKey,
    Caller,
    CapturePayment,
    EventView,
    Filters,
    FraudCheck,
    MethodView,
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
from paygate_actors.nodes import NodeView
from paygate_actors.payment_methods import CardMethod, ProviderTokenMethod
from paygate_actors.provider_messages import AS_IT_IS, ProviderView, Tuning
from paygate_actors.replay_messages import ReplayPage, ReplayWebhooks
from paygate_engine.clock import Clock, ManualClock
from paygate_http.app import make_app
from paygate_http.runner import EdgeRunner

# 15 January 2026, 10:30 UTC.
NOW_US = 1_768_473_000_000_000

NO_PAYMENT = Refusal(code="payment_not_found", detail="No such payment.")
NO_TRANSACTION = Refusal(code="transaction_not_found", detail="No such transaction.")

Operation = CapturePayment | RefundPayment | ReversePayment


class FakeFront:
    """Keeps payments of two merchants, remembers every command, refuses when told to."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.notices = FakeNotices(clock)
        self.commands: list[Any] = []
        self.waits: list[float] = []
        self.payments_by_id: dict[str, PaymentView] = {}
        self.transactions_by_id: dict[str, TransactionView] = {}
        self.stored_keys: dict[str, ApiKey] = {}
        self.open_calls: tuple[OpenCall, ...] = ()
        self.look_ups = 0
        self.tells_at_once = True
        self.refusal: Refusal | None = None
        self.admission: Refusal | None = None
        self.unready: str | None = None
        self.error: Exception | None = None
        self.samples: dict[str, float] = {"paygate_live_payments": 1}
        self.replayed = False
        self.wanted_reply = ""
        self.onward = ""
        self.replay_page = ReplayPage(webhooks=0, failed=0, changes=(), next_cursor=None)
        self.node_views: tuple[NodeView, ...] = ()
        self.full: Refusal | None = None
        self._numbers = count(1)

    def _may_see(self, caller: Caller, merchant: str) -> bool:
        return caller.role == "operator" or caller.merchant == merchant

    def _note(self, command: Any) -> Refusal | None:
        self.commands.append(command)
        if self.error is not None:
            raise self.error
        return self.refusal

    def keep(self, merchant: str, **changes: Any) -> PaymentView:
        """Put a payment, and its first transaction, in."""
        number = next(self._numbers)
        payment = PaymentView(
            id=f"pay_{number}",
            transaction_id=f"txn_{number}",
            merchant=merchant,
            status="processing",
            amount_minor=10_000,
            currency="USD",
            capture_method="automatic",
            method=MethodView(kind="card", brand="visa", last4="4242"),
            created_at_us=self.clock.now_us(),
            updated_at_us=self.clock.now_us(),
            livemode=False,
        )
        payment = msgspec.structs.replace(payment, **changes)
        self.payments_by_id[payment.id] = payment
        self.transactions_by_id[payment.transaction_id] = self._transaction(
            payment, payment.transaction_id, "payment", payment.amount_minor
        )
        return payment

    def _transaction(
        self, payment: PaymentView, transaction_id: str, kind: Any, amount_minor: int
    ) -> TransactionView:
        return TransactionView(
            id=transaction_id,
            payment_id=payment.id,
            merchant=payment.merchant,
            type=kind,
            origin="merchant",
            status="pending",
            amount_minor=amount_minor,
            currency=payment.currency,
            created_at_us=self.clock.now_us(),
            updated_at_us=self.clock.now_us(),
            livemode=False,
        )

    async def process(
        self, command: ProcessPayment, *, wait_s: float = 0
    ) -> PaymentReply | Refusal:
        refusal = self._note((command, wait_s))
        if refusal is not None:
            return refusal
        method = command.method
        shown = MethodView(kind="wallet")
        if isinstance(method, CardMethod):
            shown = MethodView(kind=method.kind, brand=method.card.brand, last4=method.card.last4)
        payment = self.keep(
            command.caller.merchant,
            amount_minor=command.amount.minor,
            currency=command.amount.currency,
            metadata=command.metadata,
            method=shown,
            billing=command.billing,
        )
        return PaymentReply(payment=payment, replayed=self.replayed)

    async def _operate(self, command: Operation, kind: Any) -> TransactionReply | Refusal:
        refusal = self._note(command)
        payment = self.payments_by_id.get(command.payment_id)
        if payment is None or not self._may_see(command.caller, payment.merchant):
            return NO_PAYMENT
        if refusal is not None:
            return refusal
        amount_minor = getattr(command, "amount_minor", None) or payment.amount_minor
        transaction_id = f"txn_{kind}_{next(self._numbers)}"
        made = self._transaction(payment, transaction_id, kind, amount_minor)
        self.transactions_by_id[made.id] = made
        return TransactionReply(transaction=made, replayed=self.replayed)

    async def capture(
        self, command: CapturePayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        self.waits.append(wait_s)
        return await self._operate(command, "capture")

    async def refund(
        self, command: RefundPayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        self.waits.append(wait_s)
        return await self._operate(command, "refund")

    async def reverse(
        self, command: ReversePayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        self.waits.append(wait_s)
        return await self._operate(command, "reverse")

    async def review(self, command: ReviewPayment) -> PaymentReply | Refusal:
        refusal = self._note(command)
        payment = self.payments_by_id.get(command.payment_id)
        if payment is None:
            return NO_PAYMENT
        return refusal or PaymentReply(payment=payment)

    async def set_status(self, command: SetTransactionStatus) -> TransactionReply | Refusal:
        refusal = self._note(command)
        found = self.transactions_by_id.get(command.transaction_id)
        if found is None:
            return NO_TRANSACTION
        return refusal or TransactionReply(transaction=found)

    def payment_now(self, caller: Caller, payment_id: str) -> PaymentView | None:
        if not self.tells_at_once:
            return None
        found = self.payments_by_id.get(payment_id)
        return found if found is not None and self._may_see(caller, found.merchant) else None

    async def payment(self, caller: Caller, payment_id: str) -> PaymentView | Refusal:
        found = self.payments_by_id.get(payment_id)
        if found is None or not self._may_see(caller, found.merchant):
            return NO_PAYMENT
        return found

    async def payment_at(
        self, caller: Caller, payment_id: str, at_us: int
    ) -> PaymentView | Refusal:
        self._note(("at", payment_id, at_us))
        return await self.payment(caller, payment_id)

    async def explain(self, caller: Caller, payment_id: str) -> Explanation | Refusal:
        found = await self.payment(caller, payment_id)
        if isinstance(found, Refusal):
            return found
        return Explanation(
            payment_id=found.id,
            currency=found.currency,
            status=found.status,
            in_doubt=found.in_doubt,
            attention=found.attention,
            why=(Told(seq=1, at_us=found.created_at_us, text="A payment was accepted."),),
            ahead=(Ahead(action="look_up", by="paygate", text="It is asked.", at_us=NOW_US),),
            calls=self.open_calls,
        )

    async def in_doubt(self, caller: Caller, filters: Filters) -> DeskPage | Refusal:
        refusal = self._note(filters)
        entries = tuple(map(self._entry, self.payments_by_id.values()))
        return refusal or DeskPage(items=entries, next_cursor=None)

    async def ask_again(self, command: AskAgain) -> DeskEntry | Refusal:
        return self._at_desk(command)

    async def mark_not_charged(self, command: MarkNotCharged) -> DeskEntry | Refusal:
        return self._at_desk(command)

    async def mark_seen(self, command: MarkSeen) -> DeskEntry | Refusal:
        return self._at_desk(command)

    async def give_back(self, command: GiveBack) -> DeskEntry | Refusal:
        return self._at_desk(command)

    def _at_desk(
        self, command: AskAgain | MarkNotCharged | GiveBack | MarkSeen
    ) -> DeskEntry | Refusal:
        refusal = self._note(command)
        found = self.payments_by_id.get(command.payment_id)
        return NO_PAYMENT if found is None else refusal or self._entry(found)

    def _entry(self, payment: PaymentView) -> DeskEntry:
        return DeskEntry(
            payment_id=payment.id,
            merchant=payment.merchant,
            status=payment.status,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            since_us=payment.created_at_us,
            in_doubt=payment.in_doubt,
            attention=payment.attention,
            concerns=(ConcernView(seq=4, code="disputed", detail="evt_1", at_us=NOW_US),),
            calls=self.open_calls,
            actions=("seen",),
        )

    async def payments(self, caller: Caller, filters: Filters) -> PaymentPage | Refusal:
        refusal = self._note(filters)
        if refusal is not None:
            return refusal
        seen = [p for p in self.payments_by_id.values() if self._may_see(caller, p.merchant)]
        page = tuple(reversed(seen))[: filters.limit]
        return PaymentPage(items=page, next_cursor="next" if len(seen) > len(page) else None)

    async def events(self, caller: Caller, payment_id: str) -> tuple[EventView, ...] | Refusal:
        found = await self.payment(caller, payment_id)
        if isinstance(found, Refusal):
            return found
        data: dict[str, object] = {
            "amount_minor": found.amount_minor,
            "score_milli": 200,
            "expires_at_us": self.clock.now_us(),
            "provider_txn_id": "ch_1",
            "metadata": {"order_id": "kept as it is"},
            "parts": [{"amount_minor": 5, "currency": "JPY"}],
        }
        return (EventView(seq=1, type="created", at_us=self.clock.now_us(), data=data),)

    async def transaction(self, caller: Caller, transaction_id: str) -> TransactionView | Refusal:
        found = self.transactions_by_id.get(transaction_id)
        if found is None or not self._may_see(caller, found.merchant):
            return NO_TRANSACTION
        return found

    async def transactions(self, caller: Caller, filters: Filters) -> TransactionPage | Refusal:
        self._note(filters)
        seen = [t for t in self.transactions_by_id.values() if self._may_see(caller, t.merchant)]
        return TransactionPage(items=tuple(seen), next_cursor=None)

    async def providers(self) -> tuple[ProviderView, ...]:
        return (self._provider(is_active=True, accepts_charges=True),)

    def _provider(self, *, is_active: bool, accepts_charges: bool) -> ProviderView:
        return ProviderView(
            id="sandbox",
            name="Sandbox",
            kind="sandbox",
            is_active=is_active,
            accepts_charges=accepts_charges,
            priority=1,
            config={"url": "http://127.0.0.1"},
            created_at_us=self.clock.now_us(),
            circuit="closed",
            success_rate_milli=None,
            p99_ms=None,
        )

    async def switch_provider(
        self,
        caller: Caller,
        provider_id: str,
        *,
        is_active: bool | None = None,
        accepts_charges: bool | None = None,
        tuning: Tuning = AS_IT_IS,
    ) -> ProviderView | Refusal:
        if provider_id != "sandbox":
            return NO_PROVIDER_HERE
        self._note((provider_id, is_active, accepts_charges))
        return self._provider(
            is_active=is_active is not False, accepts_charges=accepts_charges is not False
        )

    async def check_fraud(self, caller: Caller, request: ScoreRequest) -> FraudCheck:
        self._note(request)
        return self._check(None)

    async def fraud_of(self, caller: Caller, transaction_id: str) -> FraudCheck | Refusal:
        found = await self.transaction(caller, transaction_id)
        return found if isinstance(found, Refusal) else self._check(transaction_id)

    def _check(self, transaction_id: str | None) -> FraudCheck:
        return FraudCheck(
            transaction_id=transaction_id,
            score_milli=300,
            risk_level="medium",
            factors=("high_amount",),
            blocked=False,
            created_at_us=self.clock.now_us(),
        )

    async def webhook(
        self, provider_id: str, headers: Mapping[str, str], body: bytes
    ) -> Refusal | None:
        return self._note((provider_id, headers, body))

    async def nodes(self, caller: Caller) -> tuple[NodeView, ...] | Refusal:
        return self._note(caller) or self.node_views

    def webhook_reply(self, provider_id: str) -> str:
        return self.wanted_reply

    async def payer_returned(self, provider_id: str, query: Mapping[str, str]) -> str | Refusal:
        return self._note((provider_id, dict(query))) or self.onward

    async def replay_webhooks(self, command: ReplayWebhooks) -> ReplayPage | Refusal:
        refusal = self._note(command)
        return self.replay_page if refusal is None else refusal

    def admits_webhook(self, provider_id: str) -> Refusal | None:
        return self.full

    async def find_key(self, digest: str) -> ApiKey | None:
        self.look_ups += 1
        return self.stored_keys.get(digest)

    async def put_key(self, caller: Caller, key: ApiKey) -> None:
        self.stored_keys[key.digest] = key

    async def keys(self) -> tuple[ApiKey, ...]:
        return tuple(self.stored_keys.values())

    def fingerprint(self, of: SealedCard | ProviderTokenMethod) -> str:
        if isinstance(of, SealedCard):
            return f"fingerprint of {of.last4}"
        return f"fingerprint at {of.provider}"

    def admits(self) -> Refusal | None:
        return self.admission

    def readiness(self) -> str | None:
        return self.unready

    def gauges(self) -> Mapping[str, float]:
        return self.samples


class Gateway:
    """An edge that listens on loopback, its fake gateway, and a client for it."""

    def __init__(self, front: FakeFront, clock: ManualClock, runner: EdgeRunner) -> None:
        self.front = front
        self.clock = clock
        self.runner = runner
        self.host, self.port = runner.addresses[0]
        self.url = f"http://{self.host}:{self.port}"
        self.client = ClientSession(self.url)

    @staticmethod
    def key(name: str) -> dict[str, str]:
        """The header of one of the sandbox's keys: `merchant_a`, `operator`..."""
        return {"Authorization": f"Bearer sk_sandbox_{name}"}

    @staticmethod
    def card_payment(**changes: Any) -> dict[str, Any]:
        """A request that is right in every respect, but for the changes."""
        return {
            "amount": 100.00,
            "currency": "USD",
            "paymentMethod": {
                "type": "card",
                "cardNumber": "4242 4242 4242 4242",
                "expiryMonth": 12,
                "expiryYear": 2099,
                "cvv": "123",
                "holderName": "Jane Doe",
            },
            **changes,
        }

    async def ask(
        self, method: str, path: str, *, key: str | None = "merchant_a", **options: Any
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Send a request; returns the status, the JSON of the answer and its headers."""
        headers = {**(self.key(key) if key else {}), **options.pop("headers", {})}
        async with self.client.request(method, path, headers=headers, **options) as response:
            body = await response.read()
            json = "json" in response.content_type
            return response.status, msgspec.json.decode(body) if json else body, response.headers

    async def pay(self, body: Any = None, **options: Any) -> tuple[int, Any, Mapping[str, str]]:
        """Send a payment."""
        json = self.card_payment() if body is None else body
        return await self.ask("POST", "/api/payments/process", json=json, **options)


Start = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an edge; stopped with the test. Arguments go to the application or the runner."""
    started: list[tuple[Gateway, EdgeRunner]] = []

    async def _start(
        *, config: Config | None = None, idle_s: float = 15.0, limit: int | None = None, **app: Any
    ) -> Gateway:
        clock = ManualClock(now_us=NOW_US)
        front = FakeFront(clock)
        numbers = count(1)
        options = {"sandbox_keys": True, "livemode": False, **app}
        made = make_app(
            front,
            config or Config(),
            clock=clock,
            request_ids=lambda: f"req_{next(numbers)}",
            **options,
        )
        runner = EdgeRunner(made, shutdown_timeout=1.0, idle_s=idle_s, linger_s=0.05, limit=limit)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        gateway = Gateway(front, clock, runner)
        started.append((gateway, runner))
        return gateway

    yield _start
    for gateway, runner in started:
        await gateway.client.close()
        await runner.cleanup()


@pytest.fixture
async def gateway(start: Start) -> Gateway:
    """An edge with the sandbox's keys and the default configuration."""
    return await start()
