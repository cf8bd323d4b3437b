"""The payer's credential and who uses it: words, bounds, and a provider's token kept to itself.

A *customer-initiated* payment is one where the payer is there. A *merchant-initiated* one is made
later with a credential that the payer agreed to leave; nobody is there to confirm it, and the card
networks tie it to the payer's own payment by that one's network transaction id.
"""

import re
from collections.abc import Callable
from typing import Final, Literal, NoReturn, final

from msgspec import Struct

from paygate_actors.card_checks import looks_like_card_number

Initiator = Literal["customer", "merchant"]
InitiationReason = Literal["unscheduled", "recurring", "installment"]
StepUp = Literal["automatic", "required"]

# Stripe's have 27 characters, PayPal's 22, Adyen's 16; one that is much longer is a document.
TOKEN_CHARS_MAX: Final = 200
# The networks' own have 13 to 15 characters; PayPal takes 36 and Adyen more.
NETWORK_ID_CHARS_MAX: Final = 64

PROVIDER_TOKEN_PREFIX: Final = "ptk"  # noqa: S105 - of an id
"""How our own token of a provider's token begins; that of a card begins with `tok`."""

_VISIBLE = re.compile(r"[!-~]+")
_NO_LETTER_OR_DIGIT = re.compile(r"[^0-9A-Za-z]+")


class Initiation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who starts the payment. `reason`: why the merchant does, where it does.

    `network_transaction_id`: the card network's id of the payer's own payment, which this one
    follows.
    """

    by: Initiator = "customer"
    reason: InitiationReason | None = None
    network_transaction_id: str | None = None


BY_CUSTOMER: Final = Initiation()
"""The payer is there, and nothing is said of it."""


@final
class SealedToken:
    """A provider's own token for a payer's card or account: whoever has it may charge it.

    It cannot be printed, copied, pickled or encoded; whoever needs it says `reveal()`.
    """

    # In a closure, as a card's digits are: no error reporter that walks attributes finds it.
    __slots__ = ("_open",)

    def __init__(self, token: str) -> None:
        self._open: Callable[[], str] = lambda: token

    def reveal(self) -> str:
        """Give out the token."""
        return self._open()

    def __repr__(self) -> str:
        return "<sealed token>"

    def __format__(self, spec: str) -> str:
        return "<sealed token>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a sealed token cannot be copied or pickled")


def is_provider_token(token: str | None) -> bool:
    """Whether a token of ours stands for a provider's token, and not for a card."""
    return token is not None and token.startswith(f"{PROVIDER_TOKEN_PREFIX}_")


def is_token(text: str) -> bool:
    """Whether the text may be a provider's token: 1 to 200 visible ASCII characters."""
    return len(text) <= TOKEN_CHARS_MAX and _VISIBLE.fullmatch(text) is not None


def is_network_id(text: str) -> bool:
    """Whether the text may be a network's transaction id: 1 to 64 visible ASCII characters."""
    return len(text) <= NETWORK_ID_CHARS_MAX and _VISIBLE.fullmatch(text) is not None


def hides_card_number(text: str) -> bool:
    """Whether a card number stands in a token or id, whatever marks are put between its digits.

    A network's id of 15 digits is taken for one where a brand issues its first digits and its
    check digit is right by chance.
    """
    return looks_like_card_number(text) or looks_like_card_number(_NO_LETTER_OR_DIGIT.sub("", text))


def recordable_network_id(text: str | None) -> str | None:
    """What a provider gave as a network's id, if it can be one; None for anything else.

    It is kept for ever and shown to merchants: never a card number, and no page of text.
    """
    if text is None:
        return None
    text = text.strip()  # Mastercard's are written with two blanks at the end
    return text if is_network_id(text) and not hides_card_number(text) else None
