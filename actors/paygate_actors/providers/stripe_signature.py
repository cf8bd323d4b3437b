"""Stripe's webhook signatures (docs.stripe.com/webhooks/signature), checked on the system's clock.

The header is `t=SECONDS,v1=HEX,v1=HEX`: HMAC-SHA256 over `SECONDS.BODY`. Several `v1` stand there
while the endpoint's secret is rotated; other schemes (`v0`) are ignored, as the documents say.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from paygate_actors.providers.base import SignatureInvalid

# Stripe's own tolerance; its SDKs hold it against the past alone, we on both sides of now.
REPLAY_WINDOW_S: Final = 300

# One signature for each secret that is valid at the moment: two while one is rotated.
SIGNATURES_MAX: Final = 8
SECRETS_MAX: Final = 4
_HEADER_CHARS_MAX: Final = 1_024

# One way to write a number: what is signed is the text, what is compared with now is the number.
_SECONDS = re.compile(r"[1-9][0-9]{0,11}")
_HEX = re.compile(r"[0-9a-f]{64}")


class StripeSignature:
    """Checks one endpoint's signatures under any of its secrets. Raises `ValueError` for none."""

    def __init__(self, secrets: Sequence[str]) -> None:
        if not 1 <= len(secrets) <= SECRETS_MAX:
            raise ValueError(f"a webhook endpoint has 1 to {SECRETS_MAX} secrets")
        # An empty secret would let anybody sign: it is refused, never taken as "do not check".
        if any(not secret.strip() for secret in secrets):
            raise ValueError("a webhook secret is empty")
        keys = tuple(secret.strip().encode() for secret in secrets)
        # In a closure, so that no error reporter that walks attributes finds them.
        self._signatures: Callable[[bytes], list[bytes]] = lambda signed: [
            _sign(key, signed) for key in keys
        ]

    def __repr__(self) -> str:
        return "<stripe signature>"

    def check(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check time and signature of the raw body. Header names are lower case.

        Raises `SignatureInvalid`, whatever the header holds; its text repeats none of it.
        """
        seconds, given = _read(headers.get("stripe-signature", ""))
        if abs(now_us - int(seconds) * 1_000_000) > REPLAY_WINDOW_S * 1_000_000:
            raise SignatureInvalid("the webhook was signed too long ago, or in the future")
        expected = self._signatures(seconds.encode() + b"." + body)
        # A list, so that the time that it takes does not tell which one matched.
        if not any(
            [hmac.compare_digest(mine, theirs) for mine in expected for theirs in given]  # noqa: C419
        ):
            raise SignatureInvalid("no signature of the webhook is ours")


def _sign(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).hexdigest().encode()


def _read(header: str) -> tuple[str, list[bytes]]:
    if not 0 < len(header) <= _HEADER_CHARS_MAX:
        raise SignatureInvalid("the stripe-signature header is missing or too long")
    times: list[str] = []
    signatures: list[bytes] = []
    for item in header.split(","):
        scheme, _, value = item.strip().partition("=")
        if scheme == "t":
            times.append(value)
        elif scheme == "v1" and _HEX.fullmatch(value):
            signatures.append(value.encode())
    # Of two times one would be compared with now and the other be signed.
    if len(times) != 1 or _SECONDS.fullmatch(times[0]) is None:
        raise SignatureInvalid("the stripe-signature header names no time, or several")
    if not 1 <= len(signatures) <= SIGNATURES_MAX:
        raise SignatureInvalid("the stripe-signature header holds no v1 signature, or too many")
    return times[0], signatures
