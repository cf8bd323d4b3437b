"""Looks at URLs that merchants want webhooks sent to: a few at a time for each of them.

A look takes as long as the name's servers want, and those may be the merchant's own. Whoever asks
for more than a few at a time is told to come back, before anything is looked up.
"""

from collections import Counter
from typing import Final

from paygate_actors.messages import Refusal
from paygate_actors.notice_sender import Sender

# Endpoints are made one after another, by a person or a script that waits for the answers.
CHECKS_MAX: Final = 4
TOO_MANY: Final = Refusal(
    code="overloaded",
    detail=f"{CHECKS_MAX} URLs of this merchant are being looked at already; nothing was done.",
    retry_after_s=1,
)


class UrlChecks:
    """Asks the sender, and counts by merchant."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._looking: Counter[str] = Counter()

    async def check(self, merchant: str, url: str) -> str | Refusal | None:
        """Why this URL is not called (None: it is), or `TOO_MANY`, and then nothing was done."""
        if self._looking[merchant] >= CHECKS_MAX:
            return TOO_MANY
        self._looking[merchant] += 1
        try:
            return await self._sender.check(url)
        finally:
            self._looking[merchant] -= 1
            if not self._looking[merchant]:
                del self._looking[merchant]
