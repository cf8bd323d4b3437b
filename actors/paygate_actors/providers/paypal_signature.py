"""PayPal's webhook signatures, checked on the system's clock.

What is signed is `ID|TIME|WEBHOOK ID|CRC32 of the body`, by RSA with SHA-256. The checksum is
PayPal's own design, and it protects from accidents alone: CRC-32 is linear, so whoever has seen
one transmission writes another body under it at once, with blanks that bring the checksum back.
So what was signed once stands for one body, the first that came, for as long as the time in it is
taken. That is in memory: it holds from one start to the next, and not against somebody who stands
between PayPal and us and comes first.
"""

import base64
import binascii
import hashlib
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
_WINDOW_US: Final = REPLAY_WINDOW_S * 1_000_000

# Bodies that are remembered, at some 250 bytes each: 33 webhooks a second for as long as a
# signature is taken. Of more than that the oldest are forgotten: to refuse would lose news.
SEEN_MAX: Final = 20_000

CERTIFICATE: Final = "paypal-cert-url"
ALGORITHM: Final = "SHA256withRSA"

# What is between the bars must not hold one: somebody could move their borders.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")
_WEBHOOK_ID = re.compile(r"[A-Za-z0-9]{1,50}")
# 512 bytes of a 4096-bit key, in base64.
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{1,682}={0,2}")


class SeenBodies:
    """Which body came under what was signed. `len` is how many are remembered."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def hold(self, signed: str, body: bytes, *, until_us: int, now_us: int) -> None:
        """Remember the body, or hold it against the first. Raises `SignatureInvalid`."""
        digest = hashlib.blake2b(body, digest_size=16).digest()
        _, first = self._seen.setdefault(signed, (until_us, digest))
        if first != digest:
            raise SignatureInvalid("another body came under this signature before")
        oldest = next(iter(self._seen))
        while len(self._seen) > SEEN_MAX or self._seen[oldest][0] < now_us:
            del self._seen[oldest]
            oldest = next(iter(self._seen))


class PayPalSignature:
    """Checks one webhook's signatures. Raises `ValueError` for an unusable webhook id."""

    def __init__(self, webhook_id: str, certificates: Certificates) -> None:
        # Without one every webhook of PayPal's, anybody's, would be taken for ours.
        if _WEBHOOK_ID.fullmatch(webhook_id) is None:
            raise ValueError("PayPal's webhook id is empty, or is none")
        self._webhook_id = webhook_id
        self._certificates = certificates
        self._seen = SeenBodies()

    async def fetch(self, headers: Mapping[str, str], *, now_us: int) -> None:
        """Fetch what `check` needs. Raises `SignatureInvalid`, `KeysUnavailable`.

        Nothing is fetched for headers that `check` would refuse whatever the certificate is.
        """
        _, time, _ = _read(headers)
        _timely_us(time, now_us)
        await self._certificates.fetch(headers.get(CERTIFICATE, ""))

    def check(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check time, certificate and signature of the raw body, and that it is the first one.

        Header names are lower case.

        Raises `SignatureInvalid`, whatever the headers hold; its text repeats none of them.
        """
        id_, time, signature = _read(headers)
        at_us = _timely_us(time, now_us)
        key = self._certificates.key(headers.get(CERTIFICATE, ""), now_us=now_us)
        signed = f"{id_}|{time}|{self._webhook_id}|{zlib.crc32(body)}"
        try:
            key.verify(signature, signed.encode(), PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise SignatureInvalid("the signature of the webhook is not PayPal's") from error
        self._seen.hold(signed, body, until_us=at_us + _WINDOW_US, now_us=now_us)


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


def _timely_us(time: str, now_us: int) -> int:
    try:
        at_us = time_us(time)
    except ValueError as error:
        raise SignatureInvalid("the transmission time is none") from error
    if abs(now_us - at_us) > _WINDOW_US:
        raise SignatureInvalid("the webhook was signed too long ago, or in the future")
    return at_us
