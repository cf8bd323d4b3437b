"""Which card or wallet does what: the contract's table as data."""

from msgspec import Struct

from paygate_http.sandbox.wire import ChargeBody, ProviderId


class Approve(Struct, frozen=True):
    """The money moves; `disputed`: the cardholder disputes it soon after.

    `authentication`: how the payer proved who they are, where that was demanded.
    """

    disputed: bool = False
    authentication: str | None = None


class Decline(Struct, frozen=True):
    """No money moves."""

    code: str


class Confirm(Struct, frozen=True):
    """The payer has to confirm first (3-D Secure)."""


Verdict = Approve | Decline | Confirm

_ANYWHERE: dict[str, Verdict] = {
    "4000000000000002": Decline("card_declined"),
    "4000000000009995": Decline("insufficient_funds"),
    "4000000000009987": Decline("lost_card"),
    "4000000000009979": Decline("stolen_card"),
    "4000000000000069": Decline("expired_card"),
    "4000000000000127": Decline("incorrect_cvc"),
    "4000002760003184": Confirm(),
    "4000000000000259": Approve(disputed=True),
}

# A sick issuer link at the first provider only: what failing over is for.
_AT_ONE: dict[tuple[ProviderId, str], Verdict] = {
    ("sandbox", "4000000000000119"): Decline("processing_error"),
    ("sandbox_stripe", "4000000000000119"): Decline("processing_error"),
    ("sandbox_adyen", "4000000000000119"): Decline("processing_error"),
    ("sandbox_paypal", "4000000000000119"): Decline("processing_error"),
}

_WALLETS: dict[str, Verdict] = {"wallet_declined": Decline("card_declined")}

_TOKENS: dict[str, Verdict] = {
    "token_declined": Decline("card_declined"),
    "token_confirm": Confirm(),
}

MESSAGES: dict[str, str] = {
    "authentication_required": "The issuer demands that the payer confirms the payment.",
    "card_declined": "The card was declined.",
    "insufficient_funds": "The card has insufficient funds.",
    "lost_card": "The card was reported lost.",
    "stolen_card": "The card was reported stolen.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The security code is incorrect.",
    "processing_error": "An error occurred while processing the card.",
}
"""What a declined payer is told, by code."""


def judge(body: ChargeBody, *, provider: ProviderId) -> Verdict:
    """Say what the instrument does. Numbers, wallets and tokens outside the table are approved.

    `declined` is for those who ask for it: tests need any number of cards that work.
    """
    if body.card is not None:
        return judge_card(body.card.number, provider=provider)
    if body.token is not None:
        return _TOKENS.get(body.token.id, Approve())
    assert body.wallet is not None  # ChargeBody takes exactly one of the three
    return _WALLETS.get(body.wallet.id, Approve())


def judge_card(number: str, *, provider: ProviderId) -> Verdict:
    """Say what a card of this number does."""
    return _AT_ONE.get((provider, number)) or _ANYWHERE.get(number, Approve())
