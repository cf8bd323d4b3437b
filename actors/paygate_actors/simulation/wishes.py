"""What the clients of a simulated world want: payments and what follows, by the throw of dice."""

import random
from typing import Final

from paygate_actors.card import SealedCard
from paygate_actors.messages import (
    Caller,
    CapturePayment,
    ProcessPayment,
    RefundPayment,
    ReversePayment,
)
from paygate_actors.money import Money
from paygate_actors.payment_methods import CardMethod, Method, TokenMethod, WalletMethod
from paygate_actors.simulation.doors import Operation

# Over this sum a person has to look first.
LARGE_MINOR: Final = 500_000
# The order of a request that must make nothing begins so.
NEVER: Final = "never"

_METHODS: Final = (
    "4242424242424242",
    "4242424242424242",
    "4242424242424242",
    "4000000000000002",
    "4000000000009995",
    "4000000000000119",
    "4000002760003184",
    "wallet_ok",
    "wallet_declined",
)
# How often a payer's card is known from an earlier payment, and how often an order is numbered
# instead of given a key.
_KNOWN_CARD: Final = 0.15
_NUMBERED: Final = 0.15
_KEYED: Final = 0.9


class Market:
    """What all clients together have seen: which payments and tokens are whose."""

    def __init__(self) -> None:
        self.made: dict[str, set[str]] = {}
        self.tokens: dict[str, list[str]] = {}
        self.owners: dict[str, str] = {}

    def saw(self, merchant: str, payment_id: str, token: str | None) -> None:
        """A merchant was told of a payment of theirs."""
        self.made.setdefault(merchant, set()).add(payment_id)
        if token is not None and token not in self.owners:
            self.owners[token] = merchant
            self.tokens.setdefault(merchant, []).append(token)

    def foreign_token(self, merchant: str, rng: random.Random) -> str | None:
        """A token that is another merchant's; None while there is none."""
        others = [token for token, owner in self.owners.items() if owner != merchant]
        return rng.choice(others) if others else None


class Wishes:
    """What one client wants; its keys are its own."""

    def __init__(self, number: int, caller: Caller, *, rng: random.Random, market: Market) -> None:
        self._number = number
        self._caller = caller
        self._rng = rng
        self._market = market
        self._keys = 0

    def payment(self) -> ProcessPayment:
        """A payment, named by a key, by its order, or by nothing."""
        rng = self._rng
        large = rng.random() < 0.1  # noqa: PLR2004 - one in ten is for a person to look at
        minor = rng.randint(100, 20_000) + (LARGE_MINOR if large else 0)
        numbered = rng.random() < _NUMBERED
        return ProcessPayment(
            caller=self._caller,
            amount=Money(minor, "USD"),
            method=self._method(),
            metadata={"orderID": f"o{self._number}-{self._next()}"} if numbered else {},
            idempotency_key=None if numbered else self._key(),
            capture_method=rng.choice(("automatic", "automatic", "manual")),
        )

    def nothing(self, key: str | None) -> ProcessPayment:
        """A payment that must not be made, under a key that may be used for one afterwards."""
        return ProcessPayment(
            caller=self._caller,
            amount=Money(self._rng.randint(100, 20_000), "USD"),
            method=card("4242424242424242"),
            metadata={"orderID": f"{NEVER} {self._number}-{self._next()}"},
            idempotency_key=key,
        )

    def stolen(self) -> ProcessPayment | None:
        """A payment with a token of another merchant's; None while there is none."""
        token = self._market.foreign_token(self._caller.merchant, self._rng)
        if token is None:
            return None
        return ProcessPayment(
            caller=self._caller,
            amount=Money(self._rng.randint(100, 20_000), "USD"),
            method=TokenMethod(token=token),
            metadata={"orderID": f"{NEVER} {self._number}-{self._next()}"},
        )

    def capture(self, made: ProcessPayment, payment_id: str) -> Operation:
        """Capture all of it, or a part."""
        return CapturePayment(
            caller=self._caller,
            payment_id=payment_id,
            amount_minor=self._rng.choice((None, None, made.amount.minor // 2)),
            idempotency_key=self._key(),
        )

    def refund(self, made: ProcessPayment, payment_id: str) -> Operation:
        """Give back what is left, or a part of the whole."""
        minor = made.amount.minor
        return RefundPayment(
            caller=self._caller,
            payment_id=payment_id,
            amount_minor=self._rng.choice((None, minor // 2, minor // 3)),
            idempotency_key=self._key(),
        )

    def reverse(self, payment_id: str) -> Operation:
        """Undo it."""
        return ReversePayment(
            caller=self._caller,
            payment_id=payment_id,
            or_refund=self._rng.random() < 0.5,  # noqa: PLR2004 - a coin
            idempotency_key=self._key(),
        )

    def _method(self) -> Method:
        known = self._market.tokens.get(self._caller.merchant)
        if known and self._rng.random() < _KNOWN_CARD:
            return TokenMethod(token=self._rng.choice(known))
        chosen = self._rng.choice(_METHODS)
        return WalletMethod(wallet_id=chosen) if chosen.startswith("wallet") else card(chosen)

    def _key(self) -> str | None:
        return f"k{self._number}-{self._next()}" if self._rng.random() < _KEYED else None

    def _next(self) -> int:
        self._keys += 1
        return self._keys


def card(number: str) -> CardMethod:
    """A card that has not expired."""
    return CardMethod(
        kind="card", card=SealedCard(number, "123"), expiry_month=12, expiry_year=2040
    )
