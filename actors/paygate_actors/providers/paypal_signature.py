"""PayPal's webhook signatures, checked on the system's clock.

What is signed is `ID|TIME|WEBHOOK ID|CRC32 of the body`, by RSA with SHA-256. The checksum is
PayPal's own design: it binds the body to 32 bits, so a body that was changed passes once in four
billion tries; the time and the id bound how long anybody can try.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from paygate_actors.providers.base import SignatureInvalid
from paygate_actors.providers.paypal_certificates import Certificates
from paygate_actors.providers.paypal_wire import time_us

# PayPal names none; this is what the others have, on both sides of now.
REPLAY_WINDOW_S: Final = 300

CERTIFICATE: Final = "paypal-cert-url"
ALGORITHM: Final = "SHA256withRSA"

# What is between the bars must not hold one: somebody could move their borders.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")
_WEBHOOK_ID = re.compile(r"[A-Za-z0-9]{1,50}")
# 512 bytes of a 4096-bit key, in base64.
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{1,682}={0,2}")


class PayPalSignature:
    """Checks one webhook's signatures. Raises `ValueError` for an unusable webhook id."""

    def __init__(self, webhook_id: str, certificates: Certificates) -> None:
        # Without one every webhook of PayPal's, anybody's, would be taken for ours.
        if _WEBHOOK_ID.fullmatch(webhook_id) is None:
            raise ValueError("PayPal's webhook id is empty, or is none")
        self._webhook_id = webhook_id
        self._certificates = certificates

    async def fetch(self, headers: Mapping[str, str]) -> None:
        """Fetch what `check` needs. Raises `SignatureInvalid`, `KeysUnavailable`."""
        _read(headers)
        await self._certificates.fetch(headers.get(CERTIFICATE, ""))

    def check(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check time, certificate and signature of the raw body. Header names are lower case.

        Raises `SignatureInvalid`, whatever the headers hold; its text repeats none of them.
        """
        id_, time, signature = _read(headers)
        if abs(now_us - _at_us(time)) > REPLAY_WINDOW_S * 1_000_000:
            raise SignatureInvalid("the webhook was signed too long ago, or in the future")
        key = self._certificates.key(headers.get(CERTIFICATE, ""), now_us=now_us)
        signed = f"{id_}|{time}|{self._webhook_id}|{zlib.crc32(body)}".encode()
        try:
            key.verify(signature, signed, PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise SignatureInvalid("the signature of the webhook is not PayPal's") from error


def _read(headers: Mapping[str, str]) -> tuple[str, str, bytes]:
    id_ = headers.get("paypal-transmission-id", "")
    time = headers.get("paypal-transmission-time", "")
    signature = headers.get("paypal-transmission-sig", "")
    if _ID.fullmatch(id_) is None:
        raise SignatureInvalid("the transmission id is missing or malformed")
    if _TIME.fullmatch(time) is None:
        raise SignatureInvalid("the transmission time is missing or malformed")
    if headers.get("paypal-auth-algo", "") != ALGORITHM:
        raise SignatureInvalid("the signature is of another kind than PayPal's")
    if _SIGNATURE.fullmatch(signature) is None:
        raise SignatureInvalid("the signature is missing or malformed")
    try:
        return id_, time, base64.b64decode(signature, validate=True)
    except binascii.Error as error:
        raise SignatureInvalid("the signature is malformed") from error


def _at_us(time: str) -> int:
    try:
        return time_us(time)
    except ValueError as error:
        raise SignatureInvalid("the transmission time is none") from error
