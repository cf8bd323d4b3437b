"""Signs webhooks by the Standard Webhooks specification 1.0.0: HMAC-SHA256, `v1`.

While a secret is rotated each message carries a signature for every secret that is valid, so that
a receiver may change over at any moment.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

# The specification asks for 24 to 64 bytes.
SECRET_BYTES: Final = 32
_PREFIX: Final = "whsec_"


def secret_bytes(text: str) -> bytes:
    """The bytes behind a secret's text."""
    return base64.b64decode(text.removeprefix(_PREFIX))


def secret_text(secret: bytes) -> str:
    """The secret as merchants are shown it, once."""
    return _PREFIX + base64.b64encode(secret).decode()


def signed_headers(
    message_id: str, body: bytes, *, at_s: int, secrets: Sequence[bytes]
) -> Mapping[str, str]:
    """The headers of a message; `secrets` are the newest first, and so are the signatures."""
    text = f"{message_id}.{at_s}.".encode() + body
    signatures = (
        "v1," + base64.b64encode(hmac.digest(secret, text, hashlib.sha256)).decode()
        for secret in secrets
    )
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(signatures),
    }
