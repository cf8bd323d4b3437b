"""How an account words and signs its webhooks: one tongue for each protocol."""

from datetime import UTC, datetime
from typing import Protocol

import msgspec
from msgspec import Struct
from standardwebhooks import Webhook

from paygate_engine.ids import Ids
from paygate_http.sandbox.records import Notice
from paygate_http.sandbox.wire import ProviderId, time_text


class News(Struct, frozen=True, kw_only=True):
    """What happened, in the sandbox's own words. `data` as in its own webhooks."""

    event_type: str
    transaction_id: str
    data: dict[str, object]


class Worded(Struct, frozen=True):
    """A webhook's id and body, which stay the same through all attempts."""

    id: str
    body: bytes


class Tongue(Protocol):
    """One account's protocol for webhooks."""

    def record(self, news: News, *, now_us: int) -> Worded | None:
        """Put the event on the provider's own list; None where it keeps none."""
        ...

    def word(self, news: News, *, now_us: int) -> Worded:
        """Say it in the account's protocol."""
        ...

    def sign(self, notice: Notice, *, now_us: int) -> dict[str, str]:
        """Give the headers of one attempt to deliver it."""
        ...


class StandardTongue:
    """The sandbox's own protocol, signed by the Standard Webhooks specification."""

    def __init__(self, *, provider: ProviderId, ids: Ids, secret: str) -> None:
        self._provider = provider
        self._ids = ids
        self._signer = Webhook(secret)

    def record(self, news: News, *, now_us: int) -> Worded | None:
        """Keep no list."""
        return None

    def word(self, news: News, *, now_us: int) -> Worded:
        """Write the event as the contract's WebhookEvent."""
        body = {
            "providerID": self._provider,
            "eventType": news.event_type,
            "transactionID": news.transaction_id,
            "data": news.data,
            "timestamp": time_text(now_us),
        }
        return Worded(self._ids.new("msg"), msgspec.json.encode(body))

    def sign(self, notice: Notice, *, now_us: int) -> dict[str, str]:
        """Sign id, time and body."""
        seconds = now_us // 1_000_000
        signature = self._signer.sign(
            notice.id, datetime.fromtimestamp(seconds, UTC), notice.body.decode()
        )
        return {
            "Content-Type": "application/json",
            "webhook-id": notice.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature,
        }
