"""What a payment is charged to: the method of a request as it is charged, kept and shown.

Whatever may be charged again rests sealed: a card's number under a token of ours (`tok_...`), a
provider's own token under another (`ptk_...`). The CVV is kept nowhere.
"""

from typing import Final, assert_never

from msgspec import Struct

from paygate_actors.card import SealedCard
from paygate_actors.card_checks import is_expired
from paygate_actors.credentials import PROVIDER_TOKEN_PREFIX, SealedToken, is_provider_token
from paygate_actors.damage import Mender
from paygate_actors.messages import Fault, MethodView, ProcessPayment, Refusal
from paygate_actors.payment_methods import (
    CardMethod,
    Method,
    ProviderTokenMethod,
    TokenMethod,
    WalletMethod,
)
from paygate_actors.projection import (
    CARD,
    CREDENTIAL_LINK,
    FINGERPRINT_LINK,
    PAYMENT,
    PROVIDER_TOKEN,
    StoredCard,
    StoredToken,
    card_document,
    read_card,
    read_payment,
    read_token,
    token_document,
)
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.vault import Vault
from paygate_engine.stores.base import Document, Query, Store
from paygate_engine.system import ActorSystem

# Of the payments that the payer made with a stored credential, the newest is as good as any that
# the network gave an id; further back than this nobody looks.
FIRST_PAYMENTS_MAX: Final = 20


def _refused(field: str, code: str, detail: str) -> Refusal:
    return Refusal(
        code="validation_failed",
        detail="The payment method is not valid.",
        faults=(Fault(pointer=f"/paymentMethod/{field}", code=code, detail=detail),),
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
UNKNOWN_TOKEN: Final = _refused(
    "token", "unknown_token", "No card of this merchant is stored under this token."
)
UNREADABLE_TOKEN: Final = _refused(
    "token",
    "unreadable_token",
    "The card that is stored under this token is damaged: ask for it again.",
)
ANOTHER_MERCHANT: Final = _refused(
    "token", "unknown_token", "The token is not one of this merchant's."
)
UNKNOWN_PROVIDER: Final = _refused("provider", "unknown_provider", "There is no such provider.")
TOKENS_NOT_TAKEN: Final = _refused(
    "provider", "tokens_not_taken", "This provider charges no tokens of its own through us."
)
ANOTHER_PROVIDER: Final = Refusal(
    code="validation_failed",
    detail="One fault was found.",
    faults=(
        Fault(
            pointer="/provider",
            code="another_provider",
            detail="the token is another provider's, which alone can charge it",
        ),
    ),
)


class Taken(Struct, frozen=True, kw_only=True):
    """A method as it is charged, shown and stored.

    `only_provider`: the one that can charge it; None: any that takes the method. `fingerprint`: the
    keyed hash by which velocity counts. `card` is at hand with its CVV, if it came with one.
    """

    view: MethodView
    card: SealedCard | None = None
    fingerprint: str | None = None
    only_provider: str | None = None
    documents: tuple[Document, ...] = ()

    @property
    def without_cvv(self) -> bool:
        """Whether it is a card that no CVV came with."""
        return self.card is not None and self.card.reveal()[1] is None


class Instruments:
    """Seals what comes in, and opens what is stored."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        store: Store,
        vault: Vault,
        mender: Mender,
        desk: ProviderDesk,
    ) -> None:
        self._system = system
        self._store = store
        self._vault = vault
        self._mender = mender
        self._desk = desk

    def fingerprint(self, method: Method) -> str | None:
        """The keyed hash of a card or of a provider's token that came in; None for what did not."""
        match method:
            case CardMethod():
                return self._vault.fingerprint(method.card.reveal()[0])
            case ProviderTokenMethod():
                return self._vault.token_fingerprint(method.provider, method.token.reveal())
            case WalletMethod() | TokenMethod():
                return None
            case _:
                assert_never(method)

    async def take(self, command: ProcessPayment, fingerprint: str | None) -> Taken | Refusal:
        """What the request's method comes to, or why it cannot be charged."""
        method = command.method
        merchant = command.caller.merchant
        match method:
            case WalletMethod():
                taken = Taken(view=MethodView(kind="wallet", wallet_id=method.wallet_id))
            case TokenMethod():
                taken = await self._stored(method.token, merchant)
            case CardMethod():
                taken = self._card(method, merchant, fingerprint)
            case ProviderTokenMethod():
                taken = await self._token(method, merchant)
            case _:
                assert_never(method)
        if isinstance(taken, Taken) and taken.only_provider is not None:
            return self._bound(taken, taken.only_provider, command.provider)
        return taken

    async def open(self, token: str, merchant: str) -> SealedCard | SealedToken | None:
        """What the merchant left under this token of ours; a card comes without its CVV.

        None for none that is theirs, and for one that is damaged.
        """
        kind = PROVIDER_TOKEN if is_provider_token(token) else CARD
        document = await self._mender.read(kind, token)
        if document is None or document.scope != merchant:
            return None
        if kind == CARD:
            sealed = read_card(document).sealed
            return SealedCard(self._vault.open(sealed, token=token, merchant=merchant))
        sealed = read_token(document).sealed
        return SealedToken(self._vault.open_token(sealed, token=token, merchant=merchant))

    async def network_txn_id(self, token: str, merchant: str) -> str | None:
        """The network's id of the newest payment by which the payer left this credential.

        None where no network gave one, or the payer never agreed that it is kept.
        """
        query = Query(
            kind=PAYMENT,
            scope=merchant,
            link=(CREDENTIAL_LINK, token),
            limit=FIRST_PAYMENTS_MAX,
        )
        found = await self._mender.all_of(await self._store.query(query))
        ids = (read_payment(document).network_txn_id for document in found)
        return next((each for each in ids if each is not None), None)

    def _card(self, method: CardMethod, merchant: str, fingerprint: str | None) -> Taken | Refusal:
        now_us = self._system.clock.now_us()
        if is_expired(method.expiry_month, method.expiry_year, now_us=now_us):
            return EXPIRED_CARD
        token = self._system.ids.new("tok")
        stored = StoredCard(
            sealed=self._vault.seal(method.card.reveal()[0], token=token, merchant=merchant),
            expiry_month=method.expiry_month,
            expiry_year=method.expiry_year,
            holder_name=method.holder_name,
        )
        return Taken(
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

    async def _token(self, method: ProviderTokenMethod, merchant: str) -> Taken | Refusal:
        # All merchants share an account at the provider: it would charge one's token for another.
        fingerprint = self._vault.token_fingerprint(method.provider, method.token.reveal())
        query = Query(kind=PROVIDER_TOKEN, link=(FINGERPRINT_LINK, fingerprint), limit=1)
        known = await self._store.query(query)
        if known and known[0].scope != merchant:
            return ANOTHER_MERCHANT
        if known and known[0].sound:
            token, documents = known[0].id, ()
        else:
            token = self._system.ids.new(PROVIDER_TOKEN_PREFIX)
            sealed = self._vault.seal_token(method.token.reveal(), token=token, merchant=merchant)
            stored = StoredToken(sealed=sealed, provider=method.provider)
            documents = (token_document(merchant, token, stored, fingerprint=fingerprint),)
        return Taken(
            view=MethodView(kind="provider_token", token=token),
            fingerprint=fingerprint,
            only_provider=method.provider,
            documents=documents,
        )

    async def _stored(self, token: str, merchant: str) -> Taken | Refusal:
        kind = PROVIDER_TOKEN if is_provider_token(token) else CARD
        document = await self._store.read_document(kind, token)
        if document is not None and await self._mender.mended(document) is None:
            return UNREADABLE_TOKEN
        if document is None or document.scope != merchant:
            return UNKNOWN_TOKEN
        return (self._stored_card if kind == CARD else self._stored_token)(document, merchant)

    def _stored_card(self, document: Document, merchant: str) -> Taken:
        stored = read_card(document)
        number = self._vault.open(stored.sealed, token=document.id, merchant=merchant)
        card = SealedCard(number)
        return Taken(
            view=MethodView(
                kind="token",
                brand=card.brand,
                last4=card.last4,
                expiry_month=stored.expiry_month,
                expiry_year=stored.expiry_year,
                holder_name=stored.holder_name,
                token=document.id,
            ),
            card=card,
            fingerprint=self._vault.fingerprint(number),
        )

    def _stored_token(self, document: Document, merchant: str) -> Taken:
        stored = read_token(document)
        opened = self._vault.open_token(stored.sealed, token=document.id, merchant=merchant)
        return Taken(
            view=MethodView(kind="token", token=document.id),
            fingerprint=self._vault.token_fingerprint(stored.provider, opened),
            only_provider=stored.provider,
        )

    def _bound(self, taken: Taken, provider: str, pinned: str | None) -> Taken | Refusal:
        """A token goes to its own provider or nowhere."""
        can = self._desk.capabilities(provider)
        if can is None:
            return UNKNOWN_PROVIDER
        if not can.provider_tokens:
            return TOKENS_NOT_TAKEN
        return taken if pinned in (None, provider) else ANOTHER_PROVIDER
