"""What the doors may ask of the gateway: a protocol, so that they never know who answers."""

from collections.abc import Mapping
from typing import Protocol

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
from paygate_actors.nodes import NodeView
from paygate_actors.notice_messages import NoticeDesk
from paygate_actors.payment_methods import ProviderTokenMethod
from paygate_actors.provider_messages import AS_IT_IS, ProviderView, Tuning
from paygate_actors.replay_messages import ReplayPage, ReplayWebhooks


class Front(Protocol):
    """What the doors may ask of the gateway. Nothing here raises for what callers do."""

    @property
    def notices(self) -> NoticeDesk:
        """Webhooks to merchants, and their feed."""
        ...

    async def process(
        self, command: ProcessPayment, *, wait_s: float = 0
    ) -> PaymentReply | Refusal:
        """Make or find the payment; durable before this returns.

        `wait_s` holds the reply until the payment has left `pending`/`processing`.
        """
        ...

    async def capture(
        self, command: CapturePayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        """Capture held funds."""
        ...

    async def refund(
        self, command: RefundPayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        """Refund captured funds."""
        ...

    async def reverse(
        self, command: ReversePayment, *, wait_s: float = 0
    ) -> TransactionReply | Refusal:
        """Undo the payment."""
        ...

    async def review(self, command: ReviewPayment) -> PaymentReply | Refusal:
        """Decide on held funds."""
        ...

    async def set_status(self, command: SetTransactionStatus) -> TransactionReply | Refusal:
        """Correct a transaction, the provider being asked first."""
        ...

    def payment_now(self, caller: Caller, payment_id: str) -> PaymentView | None:
        """The payment as committed, if it can be told at once; None says nothing: ask `payment`.

        May raise what `payment` would.
        """
        ...

    async def payment(self, caller: Caller, payment_id: str) -> PaymentView | Refusal:
        """The payment as committed."""
        ...

    async def payment_at(
        self, caller: Caller, payment_id: str, at_us: int
    ) -> PaymentView | Refusal:
        """The payment as its events told it at that instant, whatever came later."""
        ...

    async def explain(self, caller: Caller, payment_id: str) -> Explanation | Refusal:
        """Why the payment is where it is, what comes next and when."""
        ...

    async def in_doubt(self, caller: Caller, filters: Filters) -> DeskPage | Refusal:
        """The desk: everything that is not known or asks for a person, newest payment first."""
        ...

    async def ask_again(self, command: AskAgain) -> DeskEntry | Refusal:
        """Ask the provider now; what it says is applied as any answer is."""
        ...

    async def mark_not_charged(self, command: MarkNotCharged) -> DeskEntry | Refusal:
        """Set a charge in doubt as not made, where it cannot succeed any more."""
        ...

    async def give_back(self, command: GiveBack) -> DeskEntry | Refusal:
        """Repeat a reverse that failed, of money that nobody is to keep."""
        ...

    async def mark_seen(self, command: MarkSeen) -> DeskEntry | Refusal:
        """Note that a person has looked."""
        ...

    async def payments(self, caller: Caller, filters: Filters) -> PaymentPage | Refusal:
        """The caller's payments (an operator's: everybody's)."""
        ...

    async def events(self, caller: Caller, payment_id: str) -> tuple[EventView, ...] | Refusal:
        """The payment's whole history."""
        ...

    async def transaction(self, caller: Caller, transaction_id: str) -> TransactionView | Refusal:
        """The transaction as committed."""
        ...

    async def transactions(self, caller: Caller, filters: Filters) -> TransactionPage | Refusal:
        """The caller's transactions."""
        ...

    async def providers(self) -> tuple[ProviderView, ...]:
        """Every provider, by priority."""
        ...

    async def switch_provider(
        self,
        caller: Caller,
        provider_id: str,
        *,
        is_active: bool | None = None,
        accepts_charges: bool | None = None,
        tuning: Tuning = AS_IT_IS,
    ) -> ProviderView | Refusal:
        """Turn a provider off, or only new charges at it, or tune it; survives a restart.

        None: as it is when this change's turn comes; of `is_active` as the file says where no
        operator has said anything.
        """
        ...

    async def nodes(self, caller: Caller) -> tuple[NodeView, ...] | Refusal:
        """Every node of this gateway, by seat; `overloaded` where nobody can be asked just now."""
        ...

    async def check_fraud(self, caller: Caller, request: ScoreRequest) -> FraudCheck:
        """Score without charging and without counting towards velocity."""
        ...

    async def fraud_of(self, caller: Caller, transaction_id: str) -> FraudCheck | Refusal:
        """The check that was made for the transaction's payment."""
        ...

    async def webhook(
        self, provider_id: str, headers: Mapping[str, str], body: bytes
    ) -> Refusal | None:
        """Take a webhook's events in; None once they are durable. Header names are lower case."""
        ...

    def webhook_reply(self, provider_id: str) -> str:
        """The whole body of the 200 that this provider wants; empty: it wants none of its own."""
        ...

    def admits_webhook(self, provider_id: str) -> Refusal | None:
        """None where an event of this provider would find a place; else `overloaded`."""
        ...

    async def payer_returned(self, provider_id: str, query: Mapping[str, str]) -> str | Refusal:
        """Tell the provider what its payer brought back; where they go on to, empty: nowhere."""
        ...

    async def replay_webhooks(self, command: ReplayWebhooks) -> ReplayPage | Refusal:
        """Read webhooks that were kept once more, and bring what is read otherwise now."""
        ...

    async def find_key(self, digest: str) -> ApiKey | None:
        """The stored API key with this digest, revoked ones too."""
        ...

    async def put_key(self, caller: Caller, key: ApiKey) -> None:
        """Store a new key, or an old one as revoked."""
        ...

    async def keys(self) -> tuple[ApiKey, ...]:
        """All stored keys, newest first."""
        ...

    def fingerprint(self, of: SealedCard | ProviderTokenMethod) -> str:
        """The keyed hash of a card or of a provider's token, as the fraud rules see it."""
        ...

    def admits(self) -> Refusal | None:
        """None where new payments are taken; else `overloaded` or `not_ready`."""
        ...

    def readiness(self) -> str | None:
        """None when ready; else why not, in one sentence."""
        ...

    def gauges(self) -> Mapping[str, float]:
        """Numbers for the metrics page, by Prometheus name (labels inside the name)."""
        ...
