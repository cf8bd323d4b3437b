"""How a request becomes a payment: key, token, score, and then the payment actor.

Everything up to the actor may be repeated or lost without harm; the actor's first commit is the
moment from which the payment exists, and with it the idempotency claim, the sealed card number
and the fraud check.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from pykka import ActorDeadError

from paygate_actors import events as e
from paygate_actors.draft import first_transaction_id
from paygate_actors.fraud import FraudActor, Score
from paygate_actors.fraud_rules import FraudRules
from paygate_actors.guarding import RECORDED_S
from paygate_actors.idempotency import (
    ClaimDesk,
    binds,
    claim_of,
    creation_key,
    differences,
)
from paygate_actors.instruments import Instruments, Taken
from paygate_actors.messages import (
    FraudCheck,
    PaymentReply,
    PaymentView,
    ProcessPayment,
    Refusal,
    ScoreRequest,
)
from paygate_actors.operating import key_reused
from paygate_actors.payment import PaymentActor
from paygate_actors.payment_messages import Create
from paygate_actors.payment_methods import CardMethod, ProviderTokenMethod, TokenMethod
from paygate_actors.projection import fraud_document
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.routing import facts_of
from paygate_actors.vault import Vault
from paygate_engine.errors import Conflicted, EngineError
from paygate_engine.future import LoopFuture
from paygate_engine.ref import LightRef
from paygate_engine.region import Region
from paygate_engine.stores.base import Store
from paygate_engine.system import ActorSystem

# Scoring takes microseconds, but a burst waits for its turn; longer than this the actor is down.
FRAUD_S: Final = 2.0
# Another node may take a key between our look and our commit; then we look again.
CONFLICTS_MAX: Final = 3

NO_PROVIDER: Final = Refusal(
    code="no_provider",
    detail="No provider takes this payment now.",
    retry_after_s=5,
)


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
        instruments: Instruments,
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
        self._instruments = instruments
        self._livemode = livemode
        self._key_life_us = key_life_us
        self._claims = ClaimDesk(store)

    async def process(self, command: ProcessPayment) -> PaymentReply | Refusal:
        """Find or make the payment. Raises what the engine raises when it cannot record it."""
        fingerprint = self._instruments.fingerprint(command.method)
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
        instrument = await self._instruments.take(command, fingerprint)
        if isinstance(instrument, Refusal):
            return instrument
        transaction_id = first_transaction_id(payment_id)
        check = await self.score(_score_request(command, instrument), transaction_id)
        follows = await self._follows(command, instrument)
        created = self._created(command, transaction_id, instrument, follows, key)
        facts = facts_of(payment_id, created, check, instrument.card)
        route = None if check.blocked else self._desk.route(facts)
        if route is None and not check.blocked:
            return NO_PROVIDER
        message = Create(
            created=created,
            card=instrument.card,
            check=check,
            review=self._rules.wants_review(check, command.amount),
            claim=None if key is None else claim_of(key, payment_id, replaces=replaces),
            documents=(
                fraud_document(command.caller.merchant, check),
                *instrument.documents,
            ),
            route=route,
        )
        asked: LoopFuture[PaymentReply] = self._payments.create(payment_id).actor_ref.ask(
            message, block=False, timeout=RECORDED_S
        )
        return await asked

    async def _follows(self, command: ProcessPayment, instrument: Taken) -> str | None:
        """The network's id of the payer's own payment, where the merchant charges what was kept."""
        asked = command.initiation
        if asked.by == "customer" or asked.network_transaction_id is not None:
            return None
        kept = isinstance(command.method, TokenMethod | ProviderTokenMethod)
        token = instrument.view.token if kept else None
        if token is None:
            return None
        return await self._instruments.network_txn_id(token, command.caller.merchant)

    def _created(
        self,
        command: ProcessPayment,
        transaction_id: str,
        instrument: Taken,
        follows: str | None,
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
            provider_pin=instrument.only_provider or command.provider,
            key=key,
            initiation=command.initiation,
            follows_network_transaction_id=follows,
            store_credential=command.store_credential,
            three_d_secure=command.three_d_secure,
            without_cvv=instrument.without_cvv,
        )


def _replayed(view: PaymentView | None) -> PaymentReply | Refusal:
    if view is None:
        return Refusal(code="outcome_unknown", detail="Ask again with the same key.")
    return PaymentReply(payment=view, replayed=True)


def _score_request(command: ProcessPayment, instrument: Taken) -> ScoreRequest:
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
