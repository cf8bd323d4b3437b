"""How a payer pays, as a request says it: a closed union. Numbers and tokens are sealed."""

from typing import Final

from msgspec import Struct

from paygate_actors.card import SealedCard
from paygate_actors.credentials import SealedToken

CARD_KINDS: Final = ("card", "credit_card", "debit_card")
"""What a request may call a card: merchants' own words, of which nobody checks the second half."""
METHOD_KINDS: Final = (*CARD_KINDS, "wallet", "token", "provider_token")
"""Every `paymentMethod.type`."""


class CardMethod(Struct, frozen=True, kw_only=True, tag="card"):
    """A card as it came in. `kind` is `card`, `credit_card` or `debit_card`."""

    kind: str
    card: SealedCard
    expiry_month: int
    expiry_year: int
    holder_name: str | None = None


class WalletMethod(Struct, frozen=True, kw_only=True, tag="wallet"):
    """A digital wallet by its id at the provider."""

    wallet_id: str


class TokenMethod(Struct, frozen=True, kw_only=True, tag="token"):
    """A card that an earlier payment of the same merchant left in the vault."""

    token: str


class ProviderTokenMethod(Struct, frozen=True, kw_only=True, tag="provider_token"):
    """What `provider` itself keeps of the payer; nobody else can charge it."""

    provider: str
    token: SealedToken


Method = CardMethod | WalletMethod | TokenMethod | ProviderTokenMethod
