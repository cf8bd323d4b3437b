"""Whether the payer is there, and what they are asked: step-up and merchant-initiated charges.

As at the real ones: a card that is charged while its payer is away cannot be confirmed, and is
declined where its issuer insists, unless the charge refers to the payer's own by the network's id.
"""

import hashlib
from typing import Final, Literal

from msgspec import Struct

from paygate_http.sandbox.cards import Approve, Confirm, Decline, Verdict

Initiator = Literal["customer", "merchant"]
Asked = Literal["challenge", "frictionless", "attempted", "none"]
"""What comes of it when a step-up is demanded: the payer is sent to confirm, or nobody asks."""

_ASKED: Final[dict[str, Asked]] = {
    "5555555555554444": "frictionless",
    "4242424242424242": "attempted",
    "378282246310005": "none",
}


class Presence(Struct, frozen=True, kw_only=True):
    """How a charge comes: by whom, to be kept or not, after which one, and with what demanded."""

    initiator: Initiator = "customer"
    store: bool = False
    network_txn_id: str | None = None
    step_up: bool = False

    @property
    def named(self) -> bool:
        """Whether the network's id of the charge is given out: that of a credential that is kept.

        Real networks name every charge; here whoever keeps nothing is not bothered with it.
        """
        return self.store or self.initiator == "merchant"


def asked_of(number: str) -> Asked:
    """Say what a card does when the payer must prove who they are; most are sent to confirm."""
    return _ASKED.get(number, "challenge")


def present(verdict: Verdict, asked: Asked, presence: Presence) -> Verdict:
    """Say what the instrument does, given who is there and what is demanded."""
    match verdict:
        case Confirm() if presence.initiator == "merchant":
            if presence.network_txn_id is None:
                return Decline("authentication_required")
            return Approve()
        case Approve(disputed=disputed) if presence.step_up:
            if asked == "challenge":
                return Confirm()
            return Approve(disputed, authentication=asked)
        case _:
            return verdict


def network_id_of(charge_id: str) -> str:
    """Give the network's id of a charge: the same for the same charge, and no card number."""
    return "NW" + hashlib.sha256(charge_id.encode()).hexdigest()[:11].upper()
