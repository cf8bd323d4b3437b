"""The door through which Adyen sends payers back, and what stands in its address.

Adyen authorises a payment whose payer had to confirm only once it is told what the payer brought
back; so payers come back to the gateway, and from there go on to the merchant's own page. What
the address carries was signed by us, so that nobody is led anywhere else, and nobody but a payer
whom we sent away makes us call Adyen.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from paygate_actors.providers.base import SignatureInvalid

# What Adyen takes for a `returnUrl`. A merchant's page whose address is too long for it is not
# gone on to: the payer reads that they may go back by themselves.
URL_LENGTH_MAX: Final = 1_024

_PURPOSE: Final = b"paygate: payers come back from Adyen"


class CameBack(Struct, frozen=True, kw_only=True):
    """Whose payment it is, and the merchant's page to go on to; None: there is none."""

    reference: str
    url: str | None


class ReturnDoor:
    """The door at `url`. `secret` is the account's own: another one's addresses do not fit."""

    def __init__(self, url: str, *, secret: str) -> None:
        self._url = url
        key = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)
        # In a closure, so that no error reporter that walks attributes finds it.
        self._sign: Callable[[str], str] = lambda text: hmac.new(
            key, text.encode(), hashlib.sha256
        ).hexdigest()

    def address(self, reference: str, merchant_url: str | None) -> str:
        """Where Adyen sends the payer of this payment, at most `URL_LENGTH_MAX` characters."""
        if merchant_url is not None:
            address = self._written(reference, _packed(merchant_url))
            if len(address) <= URL_LENGTH_MAX:
                return address
        return self._written(reference, "")

    def read(self, query: Mapping[str, str]) -> CameBack:
        """Read what the address carried. Raises `SignatureInvalid` for what we did not write."""
        reference, packed = query.get("for", ""), query.get("to", "")
        given = query.get("by", "").encode()
        if not hmac.compare_digest(self._sign(f"{reference} {packed}").encode(), given):
            raise SignatureInvalid("nobody was sent away to come back with this address")
        return CameBack(reference=reference, url=_unpacked(packed) if packed else None)

    def _written(self, reference: str, packed: str) -> str:
        fields = {"for": reference, "to": packed, "by": self._sign(f"{reference} {packed}")}
        joint = "&" if "?" in self._url else "?"
        return self._url + joint + urlencode(fields)


def _packed(url: str) -> str:
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def _unpacked(packed: str) -> str:
    try:
        return base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise SignatureInvalid("the address was not written here") from error
