"""The reference that Adyen is given for each call: our key, and what the call was to do.

Adyen signs eight fields of a webhook and no others. Whether a charge was to be captured at once,
or a failed modification was a capture, is in none of them but the reference: so it is said there.
`txn_1-1` charges, `txn_1-1.hold` holds, `txn_2-1.capture` captures, and so on.
"""

from typing import Final, Literal

from msgspec import Struct

Purpose = Literal["charge", "hold", "capture", "void", "refund"]

# As Adyen takes it for a key; the longest word after it keeps the reference under 80.
KEY_LENGTH_MAX: Final = 64


class Reference(Struct, frozen=True):
    """A reference that was read. One that we did not write is a charge's by its looks."""

    key: str
    purpose: Purpose


def write_reference(key: str, purpose: Purpose) -> str:
    """The reference of the call with this key."""
    return key if purpose == "charge" else f"{key}.{purpose}"


def read_reference(text: str) -> Reference:
    """Which call's reference it is."""
    key, dot, word = text.rpartition(".")
    match word:
        case "hold" | "capture" | "void" | "refund" if dot and key:
            return Reference(key, word)
        case _:
            return Reference(text, "charge")
