"""Adyen's webhook signatures (docs.adyen.com, "Verify HMAC signatures").

Each item of a notification carries its own: base64 of an HMAC-SHA256 over eight of its fields,
joined by colons, as Adyen's own libraries join them: with nothing escaped. That one field may hold
a colon (the merchant's reference) makes no second reading possible, because the three before it
and the four behind it are checked to hold none.

There is no time in the signature, so nothing is too old: an event that comes again is known by its
id. Headers are not signed; a login may be demanded beside.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from paygate_actors.providers.base import EVENTS_A_BODY_MAX, SignatureInvalid

# Two while one is rotated; Adyen itself keeps no more.
KEYS_MAX: Final = 4
KEY_BYTES: Final = 32
# Longer than any login that Adyen's form takes.
_HEADER_CHARS_MAX: Final = 1_024

_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_NoColon = Annotated[str, Meta(pattern="^[^:]*$", max_length=255)]


class _Signed(Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class _Amount(Struct, frozen=True, kw_only=True):
    value: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]


class _Additional(_Signed, frozen=True, kw_only=True):
    hmac_signature: Annotated[str, Meta(max_length=100)]


class _Item(_Signed, frozen=True, kw_only=True):
    psp_reference: _NoColon
    original_reference: _NoColon | None = None
    merchant_account_code: _NoColon
    merchant_reference: Annotated[str, Meta(max_length=255)] = ""
    amount: _Amount
    event_code: Annotated[str, Meta(pattern="^[A-Z0-9_]{1,100}$")]
    success: Annotated[str, Meta(pattern="^(true|false)$")]
    additional_data: _Additional


class _Wrapper(Struct, frozen=True, rename={"item": "NotificationRequestItem"}):
    item: _Item


class _Notification(_Signed, frozen=True, kw_only=True):
    notification_items: tuple[_Wrapper, ...]


_decode = msgspec.json.Decoder(_Notification).decode


class AdyenSignature:
    """Checks the items of a webhook under any of its keys. Raises `ValueError` for none.

    `keys`: in hex, as the Customer Area shows them. `login`: `USER:PASSWORD` of the webhook.
    """

    def __init__(self, keys: Sequence[str], *, login: str | None = None) -> None:
        if not 1 <= len(keys) <= KEYS_MAX:
            raise ValueError(f"a webhook of Adyen's has 1 to {KEYS_MAX} HMAC keys")
        # A short key would be taken in silence: it is refused, as an empty one is.
        if any(_HEX.fullmatch(key) is None for key in keys):
            raise ValueError(f"an HMAC key of Adyen's is {KEY_BYTES} bytes in hex")
        if login is not None and not all(login.partition(":")):
            raise ValueError("the webhook's login must be USER:PASSWORD")
        secrets = tuple(bytes.fromhex(key) for key in keys)
        expected = None if login is None else login.encode()
        # In closures, so that no error reporter that walks attributes finds them.
        self._digests: Callable[[bytes], list[bytes]] = lambda signed: [
            hmac.digest(secret, signed, hashlib.sha256) for secret in secrets
        ]
        self._login: Callable[[], bytes | None] = lambda: expected

    def __repr__(self) -> str:
        return "<adyen signature>"

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Check the login, if any, and every item. Header names are lower case.

        Raises `SignatureInvalid`, whatever comes; its text repeats none of it.
        """
        expected = self._login()
        if expected is not None:
            given = _basic(headers.get("authorization", ""))
            if not hmac.compare_digest(given, expected):
                raise SignatureInvalid("the webhook's login is missing or not ours")
        try:
            items = _decode(body).notification_items
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SignatureInvalid("the webhook has no signature that can be read") from error
        if not 1 <= len(items) <= EVENTS_A_BODY_MAX:
            raise SignatureInvalid("the webhook holds no item, or too many")
        # All of them, so that the time that it takes does not tell which one is wrong.
        if not all([self._is_ours(each.item) for each in items]):  # noqa: C419
            raise SignatureInvalid("an item of the webhook is not signed by one of our keys")

    def _is_ours(self, item: _Item) -> bool:
        try:
            given = base64.b64decode(item.additional_data.hmac_signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        expected = self._digests(_signed_text(item).encode())
        return any([hmac.compare_digest(mine, given) for mine in expected])  # noqa: C419 - as above


def _signed_text(item: _Item) -> str:
    return ":".join(
        (
            item.psp_reference,
            item.original_reference or "",
            item.merchant_account_code,
            item.merchant_reference,
            str(item.amount.value),
            item.amount.currency,
            item.event_code,
            item.success,
        )
    )


def _basic(header: str) -> bytes:
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "basic" or len(header) > _HEADER_CHARS_MAX:
        return b""
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return b""
