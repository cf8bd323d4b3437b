"""Idempotency keys: one operation for each, whoever repeats it, at whatever moment.

The key of a payment's creation is a claim that is committed with its first event. Here is only
what happens in memory before that: repetitions that come while the first is on its way wait for
it. Keys of captures, refunds and reverses lie in the payment itself (`operating`).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Struct

from paygate_actors.credentials import BY_CUSTOMER, is_provider_token
from paygate_actors.events import PaymentCreated, RequestKey, decode
from paygate_actors.messages import (
    CapturePayment,
    PaymentView,
    ProcessPayment,
    RefundPayment,
    ReversePayment,
)
from paygate_actors.payment_methods import (
    CardMethod,
    ProviderTokenMethod,
    TokenMethod,
    WalletMethod,
)
from paygate_actors.states import FINAL
from paygate_actors.vault import Vault
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import Claim, Store

_MAC_DOMAIN: Final = "idempotency"
_DERIVED_DOMAIN: Final = "derived-key"
_GIVEN_DOMAIN: Final = "given-key"
# A repetition comes within seconds as a rule; this many keys are the last half minute of a full
# server, and some megabytes.
SEEN_MAX: Final = 50_000


class Binding(Struct, frozen=True, kw_only=True):
    """What a claim's row holds: the keyed hash of the request, and where the key came from."""

    mac: str
    derived: bool = False


def creation_key(
    command: ProcessPayment, vault: Vault, fingerprint: str | None
) -> RequestKey | None:
    """The key of a creation: the caller's, or one derived from its order; None for neither.

    A derived key is made of merchant, order, amount, currency and the keyed hash of the card or
    the provider's token, each with its length, so that no two orders can run together.
    """
    merchant = command.caller.merchant
    mac = vault.mac(_MAC_DOMAIN, _canonical(command, fingerprint)).hex()
    if command.idempotency_key is not None:
        named = _sealed(command.idempotency_key, vault)
        return RequestKey(name=f"{merchant}\x1fprocess\x1f{named}", mac=mac)
    order = command.metadata.get("orderID")
    if not order:
        return None
    method = command.method
    sealed = isinstance(method, CardMethod | ProviderTokenMethod)
    paid_by = fingerprint if sealed else _instrument(command)
    parts = (merchant, order, command.amount.minor, command.amount.currency, paid_by)
    derived = vault.mac(_DERIVED_DOMAIN, msgspec.json.encode(parts)).hex()
    return RequestKey(name=f"{merchant}\x1fderived\x1f{derived}", mac=mac, derived=True)


def operation_key(
    command: CapturePayment | RefundPayment | ReversePayment, vault: Vault
) -> RequestKey | None:
    """The key of an operation on a payment, scoped to who asks and to the path."""
    if command.idempotency_key is None:
        return None
    caller = command.caller
    scope = caller.merchant or f"operator {caller.key_id}"
    asked: tuple[object, ...]
    match command:
        case CapturePayment():
            asked = (command.amount_minor,)
        case RefundPayment():
            asked = (command.amount_minor, command.reason)
        case ReversePayment():
            asked = (command.reason, command.or_refund)
    mac = vault.mac(_MAC_DOMAIN, msgspec.json.encode((type(command).__name__, asked)))
    return RequestKey(name=f"{scope}\x1f{_sealed(command.idempotency_key, vault)}", mac=mac.hex())


def binds(view: PaymentView, binding: Binding, *, now_us: int, life_us: int) -> bool:
    """Whether the key still stands for the payment.

    It outlives an open payment, and one in doubt, however long that takes. A derived key lets a
    payer try again after a failure.
    """
    if view.status not in FINAL or view.in_doubt or view.processed_at_us is None:
        return True
    if binding.derived and view.status in ("failed", "cancelled"):
        return False
    return now_us - view.processed_at_us <= life_us


def differences(
    created: PaymentCreated, command: ProcessPayment, fingerprint: str | None
) -> list[str]:
    """The names of the request's fields that differ from those of the recorded request."""
    was = created.method
    method = command.method
    pairs: dict[str, tuple[object, object]] = {
        "amount": (created.amount_minor, command.amount.minor),
        "currency": (created.currency, command.amount.currency),
        "captureMethod": (created.capture_method, command.capture_method),
        "billingAddress": (created.billing, command.billing),
        "metadata": (created.metadata, command.metadata),
        "description": (created.description, command.description),
        "returnURL": (created.return_url, command.return_url),
        "customerIP": (created.customer_ip, command.customer_ip),
        "initiation": (created.initiation, command.initiation),
        "storeCredential": (created.store_credential, command.store_credential),
        "threeDSecure": (created.three_d_secure, command.three_d_secure),
    }
    if not is_provider_token(was.token) and not isinstance(method, ProviderTokenMethod):
        # The pin of a token's payment is the token's own provider.
        pairs["provider"] = (created.provider_pin, command.provider)
    match method:
        case CardMethod():
            pairs["paymentMethod.type"] = (was.kind, method.kind)
            pairs["paymentMethod.cardNumber"] = (created.fingerprint, fingerprint)
            pairs["paymentMethod.expiryMonth"] = (was.expiry_month, method.expiry_month)
            pairs["paymentMethod.expiryYear"] = (was.expiry_year, method.expiry_year)
            pairs["paymentMethod.holderName"] = (was.holder_name, method.holder_name)
        case WalletMethod():
            pairs["paymentMethod.type"] = (was.kind, "wallet")
            pairs["paymentMethod.walletID"] = (was.wallet_id, method.wallet_id)
        case TokenMethod():
            # A card's payment shows its token too: then the type alone tells them apart.
            pairs["paymentMethod.type"] = (was.kind, "token")
            pairs["paymentMethod.token"] = (was.token, method.token)
        case ProviderTokenMethod():
            pairs["paymentMethod.type"] = (was.kind, "provider_token")
            pairs["paymentMethod.provider"] = (created.provider_pin, method.provider)
            pairs["paymentMethod.token"] = (created.fingerprint, fingerprint)
    return [name for name, (first, second) in pairs.items() if first != second]


def claim_of(key: RequestKey, payment_id: str, *, replaces: str | None) -> Claim:
    """The row that is committed with the payment."""
    body = msgspec.json.encode(Binding(mac=key.mac, derived=key.derived))
    return Claim(name=key.name, stream=payment_id, body=body, replaces=replaces)


class ClaimDesk:
    """Lets one request for each key through at a time; the others wait for its payment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._first: dict[str, asyncio.Event] = {}
        # Beside a set, for the first of a dictionary that always loses its first is far to find.
        self._seen: set[int] = set()
        self._order: deque[int] = deque()

    def is_fresh(self, name: str) -> bool:
        """Whether nobody has used this key lately, as far as is remembered; it is from now on.

        Only a guess at what a look at the store would find: a key that seems fresh is claimed
        without that look, and the store, where names are unique, refuses it if it is not.
        """
        # A hash is a quarter of the name; of two that are the same the second one is looked up.
        seen = hash(name)
        if seen in self._seen:
            return False
        self._seen.add(seen)
        self._order.append(seen)
        if len(self._order) > SEEN_MAX:
            self._seen.discard(self._order.popleft())
        return True

    async def holder(self, name: str) -> tuple[str, Binding] | None:
        """Who holds the key as committed: the payment, and what it was used for.

        Raises `Corrupt` for a damaged claim whose payment does not say so itself.
        """
        claim = await self._store.read_claim(name)
        if claim is None:
            return None
        if not claim.sound:
            return await self._by_events(claim)
        return claim.stream, msgspec.json.decode(claim.body, type=Binding)

    async def _by_events(self, claim: Claim) -> tuple[str, Binding]:
        """A damaged claim, as the payment that it may point to tells it."""
        for first in (await self._store.read_stream(claim.stream))[:1]:
            created = decode(first.kind, first.body)
            if isinstance(created, PaymentCreated) and created.key is not None:
                key = created.key
                if key.name == claim.name:
                    return claim.stream, Binding(mac=key.mac, derived=key.derived)
        raise Corrupt(f"the claim of an idempotency key by {claim.stream} is damaged")

    async def alone(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` when no other request with this key is being worked on."""
        while (first := self._first.get(name)) is not None:
            await first.wait()
        self._first[name] = mine = asyncio.Event()
        try:
            await work()
        finally:
            del self._first[name]
            mine.set()


def _sealed(key: str, vault: Vault) -> str:
    # A caller may use anything as a key, a card number too: as a keyed hash it serves as well.
    return vault.mac(_GIVEN_DOMAIN, key.encode()).hex()


def _canonical(command: ProcessPayment, fingerprint: str | None) -> bytes:
    return msgspec.json.encode(
        (
            command.amount.minor,
            command.amount.currency,
            _instrument(command),
            fingerprint,
            command.billing,
            command.metadata,
            command.capture_method,
            command.description,
            command.provider,
            command.return_url,
            command.customer_ip,
            *_beyond_the_first_words(command),
        ),
        order="deterministic",
    )


def _beyond_the_first_words(command: ProcessPayment) -> tuple[object, ...]:
    # Left out where nothing is said: keys that were claimed before these words existed stay good.
    asked = (command.initiation, command.store_credential, command.three_d_secure)
    return () if asked == (BY_CUSTOMER, False, "automatic") else asked


def _instrument(command: ProcessPayment) -> tuple[object, ...]:
    method = command.method
    match method:
        case CardMethod():
            # `card` and `credit_card` are told apart; the number is in the fingerprint, and the
            # CVV is nowhere.
            return (
                method.kind,
                method.expiry_month,
                method.expiry_year,
                method.holder_name,
            )
        case WalletMethod():
            return ("wallet", method.wallet_id)
        case TokenMethod():
            return ("token", method.token)
        case ProviderTokenMethod():
            # The token is in the fingerprint.
            return ("provider_token", method.provider)
