"""What `paygate trigger` can make happen, as stories: who pays with which card, and what follows.

A story is told by a `Hand`: straight at the sandbox, in the protocol of one of its accounts, or
through a gateway's API, as a merchant would.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from msgspec import Struct

from paygate_actors.providers.trial import TrialAccount
from paygate_http.kit.desk import Desk, DeskRefused

# The sandbox's disputes come a second after their charge.
DISPUTED_S: Final = 10.0
_LOOK_S: Final = 0.1


class NotTriggered(Exception):
    """It did not come as it was asked for; the text says what came."""


class Made(Struct, frozen=True, kw_only=True):
    """A payment that was made. `id` is for people, `charge_id` is the provider's own.

    `marks`: texts of which one is in the webhooks about it. `url`: where the payer confirms.
    """

    id: str
    charge_id: str
    status: str
    marks: tuple[str, ...]
    url: str | None = None


class Hand(Protocol):
    """Whoever does it."""

    trial: TrialAccount
    desk: Desk

    async def pay(self, card: str, *, capture: bool = True) -> Made:
        """Pay, and tell what became of it; a decline is no error."""
        ...

    async def confirmed(self, made: Made) -> Made:
        """Go on after the payer has confirmed, where the provider wants to be asked again."""
        ...

    async def void(self, made: Made) -> Made:
        """Undo it. Raises `NotTriggered`."""
        ...

    async def refund(self, made: Made) -> Made:
        """Give it back; whether it comes to anything is not looked at. Raises `NotTriggered`."""
        ...


class Story(Struct, frozen=True):
    """One thing to trigger. `webhook`: the event that tells of it; None: none does."""

    sentence: str
    webhook: str | None
    tell: Callable[[Hand], Awaitable[Made]]


async def _succeeded(hand: Hand) -> Made:
    return _expect(await hand.pay(hand.trial.approved), "success")


async def _authorized(hand: Hand) -> Made:
    return _expect(await hand.pay(hand.trial.approved, capture=False), "authorized")


async def _failed(hand: Hand) -> Made:
    return _expect(await hand.pay(_card(hand.trial.declines.get("card_declined"))), "failed")


async def _cancelled(hand: Hand) -> Made:
    made = _expect(await hand.pay(hand.trial.approved, capture=False), "authorized")
    return await hand.void(made)


async def _requires_action(hand: Hand) -> Made:
    return _expect(await hand.pay(_card(hand.trial.confirm)), "requires_action")


async def _confirmed(hand: Hand) -> Made:
    made = await _requires_action(hand)
    await hand.desk.act(made.charge_id, "complete")
    return await hand.confirmed(made)


async def _expired(hand: Hand) -> Made:
    made = await _requires_action(hand)
    await hand.desk.act(made.charge_id, "expire")
    return made


async def _refunded(hand: Hand) -> Made:
    made = await _succeeded(hand)
    return await hand.refund(made)


async def _refund_failed(hand: Hand) -> Made:
    made = await _succeeded(hand)
    await hand.desk.plan("decline", operation="refund")
    return await hand.refund(made)


async def _refund_unasked(hand: Hand) -> Made:
    made = await _succeeded(hand)
    await hand.desk.give_back(made.charge_id)
    return made


async def _disputed(hand: Hand) -> Made:
    return _expect(await hand.pay(_card(hand.trial.disputed)), "success")


async def _dispute_lost(hand: Hand) -> Made:
    made = await _disputed(hand)
    await _close(hand.desk, made, won=False)
    return made


async def _dispute_won(hand: Hand) -> Made:
    made = await _disputed(hand)
    await _close(hand.desk, made, won=True)
    return made


STORIES: Final[dict[str, Story]] = {
    "payment.succeeded": Story("a card is charged", "payment.succeeded", _succeeded),
    "payment.authorized": Story("a card is held", "payment.authorized", _authorized),
    "payment.failed": Story("a card is declined", "payment.failed", _failed),
    "payment.cancelled": Story("a hold is voided", "payment.cancelled", _cancelled),
    "payment.requires_action": Story(
        "a payer is asked to confirm (3-D Secure); no webhook tells of it", None, _requires_action
    ),
    "payment.confirmed": Story(
        "a payer is asked to confirm, and does", "payment.succeeded", _confirmed
    ),
    "payment.expired": Story(
        "a payer is asked to confirm, and does not come in time", "payment.cancelled", _expired
    ),
    "refund.succeeded": Story("a charge is refunded", "refund.succeeded", _refunded),
    "refund.failed": Story("a refund comes to nothing", "refund.failed", _refund_failed),
    "refund.unasked": Story("the provider refunds by itself", "refund.succeeded", _refund_unasked),
    "dispute.opened": Story("a cardholder disputes a charge", "dispute.opened", _disputed),
    "dispute.closed": Story("a dispute is lost", "dispute.closed", _dispute_lost),
    "dispute.lost": Story("a dispute is lost", "dispute.closed", _dispute_lost),
    "dispute.won": Story("a dispute is won", "dispute.closed", _dispute_won),
}
"""Everything that can be triggered, by its name."""


def _expect(made: Made, status: str) -> Made:
    if made.status != status:
        raise NotTriggered(f"{made.id} should be {status} and is {made.status}")
    return made


def _card(number: str | None) -> str:
    if number is None:
        raise NotTriggered("this account has no test card for it")
    return number


async def _close(desk: Desk, made: Made, *, won: bool) -> None:
    """Close the dispute as soon as it is open."""
    refused: DeskRefused | None = None
    try:
        async with asyncio.timeout(DISPUTED_S):
            while True:
                try:
                    await desk.close_dispute(made.charge_id, "won" if won else "lost")
                except DeskRefused as error:
                    refused = error
                    await asyncio.sleep(_LOOK_S)
                else:
                    return
    except TimeoutError:
        raise NotTriggered(f"{made.id} was not disputed: {refused}") from refused
