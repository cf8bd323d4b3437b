"""Standard Webhooks signatures (https://www.standardwebhooks.com), checked on the system's clock.

The library makes the signature; the rest is ours, because its `verify` reads the wall clock,
raises ValueError and TypeError on hostile headers, and takes the id as it comes.
"""

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

from paygate_actors.providers.base import SignatureInvalid

# The specification's own tolerance, on both sides of now.
REPLAY_WINDOW_S: Final = 300

# A sender signs with two secrets while it rotates them; this is plenty.
SIGNATURES_MAX: Final = 8
_HEADER_CHARS_MAX: Final = 1_024

# The signed text is "id.timestamp.body". A dot inside the id would let somebody who saw one
# message move its borders, and so show the same signature under another id.
_ID = re.compile(r"[!-\-/-~]{1,255}")
# One way to write a number: what is signed is the text, what is compared with now is the number.
_SECONDS = re.compile(r"[1-9][0-9]{0,11}")


class WebhookSignature:
    """Checks one sender's signatures. Raises `ValueError` for an unusable secret."""

    def __init__(self, secret: str) -> None:
        # Neither the secret nor the library's message goes into the error: it may quote it.
        if not secret.strip():
            raise ValueError("the webhook secret is empty")
        try:
            self._webhook = Webhook(secret)
        except Exception:  # noqa: BLE001 - whatever it does not like, the secret is unusable
            raise ValueError("the webhook secret is not whsec_ and base64") from None

    def __repr__(self) -> str:
        return "<webhook signature>"

    def check(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check id, time and signature of the raw body. Header names are lower case.

        Raises `SignatureInvalid`, whatever the headers hold; its text repeats none of them.
        """
        message_id = headers.get("webhook-id", "")
        seconds_text = headers.get("webhook-timestamp", "")
        if _ID.fullmatch(message_id) is None:
            raise SignatureInvalid("the webhook-id header is missing or malformed")
        if _SECONDS.fullmatch(seconds_text) is None:
            raise SignatureInvalid("the webhook-timestamp header is missing or malformed")
        seconds = int(seconds_text)
        if abs(now_us - seconds * 1_000_000) > REPLAY_WINDOW_S * 1_000_000:
            raise SignatureInvalid("the webhook was signed too long ago, or in the future")
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise SignatureInvalid("the body is not UTF-8, so nobody can have signed it") from error
        signed = self._webhook.sign(message_id, datetime.fromtimestamp(seconds, UTC), text)
        if not _is_among(signed.encode(), headers.get("webhook-signature", "")):
            raise SignatureInvalid("no signature of the webhook is ours")


def _is_among(signed: bytes, header: str) -> bool:
    if len(header) > _HEADER_CHARS_MAX:
        return False
    given = header.encode("utf-8", "surrogateescape").split(b" ")[:SIGNATURES_MAX]
    # Bytes, because compare_digest raises for text that is not ASCII; a list, so that the time
    # that it takes does not tell which one matched.
    return any([hmac.compare_digest(signed, one) for one in given])  # noqa: C419 - see above
