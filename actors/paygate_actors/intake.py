"""How a request becomes a payment: key, token, score, and then the payment actor.

Everything up to the actor may be repeated or lost without harm; the actor's first commit is the
moment from which the payment exists, and with it the idempotency claim, the sealed card number
and the fraud check.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct
from pykka import ActorDeadError

from paygate_actors import events as e
from paygate_actors.card import SealedCard
from paygate_actors.card_checks import is_expired
from paygate_actors.damage import Mender
from paygate_actors.draft import first_transaction_id
from paygate_actors.fraud import FraudActor, Score
from paygate_actors.fraud_rules import FraudRules
from paygate_actors.idempotency import (
    ClaimDesk,
    binds,
    claim_of,
    creation_key,
    differences,
)
from paygate_actors.messages import (
    CardMethod,
    Fault,
    FraudCheck,
    Method,
    MethodView,
    PaymentReply,
    PaymentView,
    ProcessPayment,
    Refusal,
    ScoreRequest,
    TokenMethod,
    WalletMethod,
)
from paygate_actors.operating import key_reused
from paygate_actors.payment import PaymentActor
from paygate_actors.payment_messages import Create
from paygate_actors.projection import CARD, StoredCard, card_document, fraud_document, read_card
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.vault import Vault
from paygate_engine.errors import Conflicted, EngineError
from paygate_engine.future import LoopFuture
from paygate_engine.ref import LightRef
from paygate_engine.region import Region
from paygate_engine.stores.base import Document, Store
from paygate_engine.system import ActorSystem

# Scoring takes microseconds, but a burst waits for its turn; longer than this the actor is down.
FRAUD_S: Final = 2.0
# A payment's first commit waits for the disk and for the groups before it.
CREATE_S: Final = 15.0
# Another node may take a key between our look and our commit; then we look again.
CONFLICTS_MAX: Final = 3

NO_PROVIDER: Final = Refusal(
    code="no_provider",
    detail="No provider takes this payment now.",
    retry_after_s=5,
)
# Found here and not at the edge: a repetition of what was made while the card was good is answered
# with what was made.
EXPIRED_CARD: Final = Refusal(
    code="validation_failed",
    detail="One fault was found.",
    faults=(
        Fault(
            pointer="/paymentMethod/expiryYear",
            code="expired_card",
            detail="the card has expired",
        ),
    ),
)
UNKNOWN_TOKEN: Final = Refusal(
    code="validation_failed",
    detail="The payment method is not valid.",
    faults=(
        Fault(
            pointer="/paymentMethod/token",
            code="unknown_token",
            detail="No card of this merchant is stored under this token.",
        ),
    ),
)
UNREADABLE_TOKEN: Final = Refusal(
    code="validation_failed",
    detail="The payment method is not valid.",
    faults=(
        Fault(
            pointer="/paymentMethod/token",
            code="unreadable_token",
            detail="The card that is stored under this token is damaged: ask for it again.",
        ),
    ),
)


class _Instrument(Struct, frozen=True, kw_only=True):
    """The method as it is charged and as it is shown."""

    view: MethodView
    card: SealedCard | None
    fingerprint: str | None
    documents: tuple[Document, ...]


class Intake:
    """Takes `ProcessPayment` in. `look(payment_id)` reads a payment as committed."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        store: Store,
        payments: Region[PaymentActor],
        desk: ProviderDesk,
        vault: Vault,
        rules: FraudRules,
        fraud: Callable[[], LightRef[FraudActor] | None],
        look: Callable[[str], Awaitable[PaymentView | None]],
        mender: Mender,
        livemode: bool,
        key_life_us: int,
    ) -> None:
        self._system = system
        self._store = store
        self._payments = payments
        self._desk = desk
        self._vault = vault
        self._rules = rules
        self._fraud = fraud
        self._look = look
        self._mender = mender
        self._livemode = livemode
        self._key_life_us = key_life_us
        self._claims = ClaimDesk(store)

    async def process(self, command: ProcessPayment) -> PaymentReply | Refusal:
        """Find or make the payment. Raises what the engine raises when it cannot record it."""
        fingerprint = self._fingerprint(command.method)
        key = creation_key(command, self._vault, fingerprint)
        if key is None:
            return await self._create(command, None, None, fingerprint)
        answer: list[PaymentReply | Refusal] = []

        async def work() -> None:
            answer.append(await self._with_key(command, key, fingerprint))

        await self._claims.alone(key.name, work)
        return answer[0]

    async def score(self, request: ScoreRequest, transaction_id: str | None) -> FraudCheck:
        """Score by the fraud actor; where it does not answer, by the static rules alone."""
        fraud = self._fraud()
        if fraud is not None:
            message = Score(request=request, transaction_id=transaction_id)
            try:
                asked: LoopFuture[FraudCheck] = fraud.ask(message, block=False, timeout=FRAUD_S)
                return await asked
            except (EngineError, ActorDeadError, ValueError):
                pass  # it is down: the till stays open, and the check says so
        now_us = self._system.clock.now_us()
        return self._rules.static_check(request, transaction_id=transaction_id, now_us=now_us)

    async def open_card(self, token: str, merchant: str) -> SealedCard | None:
        """The card that the merchant left in the vault under this token, without its CVV.

        None for none that is theirs, and for one that is damaged.
        """
        document = await self._mender.read(CARD, token)
        if document is None or document.scope != merchant:
            return None
        sealed = read_card(document).sealed
        return SealedCard(self._vault.open(sealed, token=token, merchant=merchant))

    async def _with_key(
        self, command: ProcessPayment, key: e.RequestKey, fingerprint: str | None
    ) -> PaymentReply | Refusal:
        fresh = self._claims.is_fresh(key.name)
        for round_number in range(CONFLICTS_MAX):
            # A fresh key is not looked up first: its claim fails if somebody holds it after all.
            skip = fresh and round_number == 0
            held = None if skip else await self._claims.holder(key.name)
            replaces: str | None = None
            if held is not None:
                payment_id, binding = held
                view = await self._look(payment_id)
                now_us = self._system.clock.now_us()
                if view is None or binds(view, binding, now_us=now_us, life_us=self._key_life_us):
                    if binding.mac == key.mac or key.derived:
                        return _replayed(view)
                    return await self._reused(payment_id, command, fingerprint)
                replaces = payment_id
            try:
                made = await self._create(command, key, replaces, fingerprint)
            except Conflicted:
                continue
            if skip and isinstance(made, Refusal):
                continue  # nothing was claimed, so nothing told whether somebody holds the key
            return made
        return Refusal(code="overloaded", detail="This key is being fought over.", retry_after_s=1)

    async def _reused(
        self, payment_id: str, command: ProcessPayment, fingerprint: str | None
    ) -> Refusal:
        first = (await self._store.read_stream(payment_id))[0]
        created = e.decode(first.kind, first.body)
        assert isinstance(created, e.PaymentCreated)
        return key_reused(differences(created, command, fingerprint))

    async def _create(
        self,
        command: ProcessPayment,
        key: e.RequestKey | None,
        replaces: str | None,
        fingerprint: str | None,
    ) -> PaymentReply | Refusal:
        payment_id = self._system.ids.new("pay")
        instrument = await self._instrument(command, fingerprint)
        if isinstance(instrument, Refusal):
            return instrument
        transaction_id = first_transaction_id(payment_id)
        check = await self.score(_score_request(command, instrument), transaction_id)
        if not check.blocked and not self._desk.routes(command.amount.currency, command.provider):
            return NO_PROVIDER
        message = Create(
            created=self._created(command, transaction_id, instrument, key),
            card=instrument.card,
            check=check,
            review=self._rules.wants_review(check, command.amount),
            claim=None if key is None else claim_of(key, payment_id, replaces=replaces),
            documents=(
                fraud_document(command.caller.merchant, check),
                *instrument.documents,
            ),
        )
        asked: LoopFuture[PaymentReply] = self._payments.create(payment_id).actor_ref.ask(
            message, block=False, timeout=CREATE_S
        )
        return await asked

    def _created(
        self,
        command: ProcessPayment,
        transaction_id: str,
        instrument: _Instrument,
        key: e.RequestKey | None,
    ) -> e.PaymentCreated:
        return e.PaymentCreated(
            merchant=command.caller.merchant,
            by=command.caller.key_id,
            transaction_id=transaction_id,
            amount_minor=command.amount.minor,
            currency=command.amount.currency,
            capture_method=command.capture_method,
            method=instrument.view,
            livemode=self._livemode,
            fingerprint=instrument.fingerprint,
            billing=command.billing,
            metadata=command.metadata,
            description=command.description,
            return_url=command.return_url,
            customer_ip=command.customer_ip,
            provider_pin=command.provider,
            key=key,
        )

    def _fingerprint(self, method: Method) -> str | None:
        if not isinstance(method, CardMethod):
            return None
        return self._vault.fingerprint(method.card.reveal()[0])

    async def _instrument(
        self, command: ProcessPayment, fingerprint: str | None
    ) -> _Instrument | Refusal:
        method = command.method
        merchant = command.caller.merchant
        match method:
            case WalletMethod():
                view = MethodView(kind="wallet", wallet_id=method.wallet_id)
                return _Instrument(view=view, card=None, fingerprint=None, documents=())
            case TokenMethod():
                return await self._from_vault(method, merchant)
            case CardMethod():
                now_us = self._system.clock.now_us()
                if is_expired(method.expiry_month, method.expiry_year, now_us=now_us):
                    return EXPIRED_CARD
                token = self._system.ids.new("tok")
                sealed = self._vault.seal(method.card.reveal()[0], token=token, merchant=merchant)
                stored = StoredCard(
                    sealed=sealed,
                    expiry_month=method.expiry_month,
                    expiry_year=method.expiry_year,
                    holder_name=method.holder_name,
                )
                return _Instrument(
                    view=MethodView(
                        kind=method.kind,
                        brand=method.card.brand,
                        last4=method.card.last4,
                        expiry_month=method.expiry_month,
                        expiry_year=method.expiry_year,
                        holder_name=method.holder_name,
                        token=token,
                    ),
                    card=method.card,
                    fingerprint=fingerprint,
                    documents=(card_document(merchant, token, stored),),
                )

    async def _from_vault(self, method: TokenMethod, merchant: str) -> _Instrument | Refusal:
        document = await self._store.read_document(CARD, method.token)
        if document is not None and await self._mender.mended(document) is None:
            return UNREADABLE_TOKEN
        if document is None or document.scope != merchant:
            return UNKNOWN_TOKEN
        stored = read_card(document)
        number = self._vault.open(stored.sealed, token=method.token, merchant=merchant)
        card = SealedCard(number)
        return _Instrument(
            view=MethodView(
                kind="token",
                brand=card.brand,
                last4=card.last4,
                expiry_month=stored.expiry_month,
                expiry_year=stored.expiry_year,
                holder_name=stored.holder_name,
                token=method.token,
            ),
            card=card,
            fingerprint=self._vault.fingerprint(number),
            documents=(),
        )


def _replayed(view: PaymentView | None) -> PaymentReply | Refusal:
    if view is None:
        return Refusal(code="outcome_unknown", detail="Ask again with the same key.")
    return PaymentReply(payment=view, replayed=True)


def _score_request(command: ProcessPayment, instrument: _Instrument) -> ScoreRequest:
    return ScoreRequest(
        merchant=command.caller.merchant,
        amount=command.amount,
        # The rules about card numbers and expiry are for cards that were typed in: the edge has
        # refused bad ones, and the vault holds none.
        has_card=isinstance(command.method, CardMethod),
        number_valid=True,
        expired=False,
        fingerprint=instrument.fingerprint,
        customer_id=command.metadata.get("customerID"),
        customer_ip=command.customer_ip,
    )
