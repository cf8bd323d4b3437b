"""Merchants' webhook receivers in a simulated world, and what they must have heard in the end.

They are down for a while, slow, or in error, and now and then they take a message and do not say
so. When everything works again, each must have heard every event of its merchant's feed, as it
stands there; and whoever reads the feed alone must be right about every payment.
"""

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

from paygate_actors.endpoints import Endpoint, SealedSecret, endpoint_document, feed_of
from paygate_actors.merchant_events import MerchantEvent, read_event
from paygate_actors.notice_sender import Answer
from paygate_actors.record import Payment
from paygate_actors.simulation.faults import Options, seeded
from paygate_actors.simulation.tracing import Trace, Violation
from paygate_actors.vault import Vault
from paygate_actors.views import payment_view
from paygate_engine.simulation import EPOCH_US, VirtualLoop
from paygate_engine.stores.base import PAGE_MAX, Document
from paygate_engine.stores.memory import MemoryStore

# The life of a receiver on a bad day; when the world is healed, it takes everything at once.
_DOWN: Final = 0.05
_DOWN_S: Final = (10.0, 600.0)
_ERROR: Final = 0.15
_SILENT: Final = 0.1
_TOOK_S: Final = (0.02, 0.4)
_PATIENCE_S: Final = 15.0

# Where the newest of a merchant's events about a payment itself leaves it.
_LEADS: Final[Mapping[str, str]] = {
    "payment.requires_action": "requires_action",
    "payment.in_review": "review",
    "payment.authorized": "authorized",
    "payment.succeeded": "success",
    "payment.failed": "failed",
    "payment.cancelled": "cancelled",
}


class Receivers:
    """One receiver for each merchant; the way out of the gateway, in WebhooksOut's words."""

    def __init__(
        self,
        merchants: Iterable[str],
        *,
        options: Options,
        loop: VirtualLoop,
        trace: Trace,
        healed: Callable[[], bool],
        violate: Callable[[Violation], None],
    ) -> None:
        self.heard: dict[str, dict[str, bytes]] = {merchant: {} for merchant in merchants}
        self.refused = 0
        self._rng = seeded(options.seed, "receivers")
        self._loop = loop
        self._trace = trace
        self._healed = healed
        self._violate = violate
        self._down_until_s = dict.fromkeys(self.heard, 0.0)
        self._secrets = {merchant: self._rng.randbytes(32) for merchant in self.heard}

    def documents(self, vault: Vault) -> tuple[Document, ...]:
        """Their endpoints, as their merchants have registered them."""
        return tuple(
            endpoint_document(
                Endpoint(
                    id=_id_of(merchant),
                    merchant=merchant,
                    url=f"https://{merchant}.invalid/hooks",
                    created_at_us=EPOCH_US,
                    updated_at_us=EPOCH_US,
                    secrets=(
                        SealedSecret(
                            sealed=vault.seal_secret(
                                self._text(merchant), owner=_id_of(merchant), merchant=merchant
                            )
                        ),
                    ),
                )
            )
            for merchant in self.heard
        )

    async def check(self, url: str) -> str | None:
        """Every URL of this world may be called."""
        del url

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take a message, or not, or take it and not say so."""
        merchant = url.removeprefix("https://").partition(".")[0]
        await asyncio.sleep(self._rng.uniform(*_TOOK_S))
        trouble = None if self._healed() else self._trouble(merchant)
        if trouble is not None:
            self.refused += 1
            return trouble
        self._take(merchant, headers, body)
        if not self._healed() and self._rng.random() < _SILENT:
            await asyncio.sleep(_PATIENCE_S)
            return Answer(error="timeout")
        return Answer(status=200)

    async def close(self) -> None:
        """Nothing to give back."""

    def _trouble(self, merchant: str) -> Answer | None:
        now_s = self._loop.time()
        if self._rng.random() < _DOWN:
            self._down_until_s[merchant] = now_s + self._rng.uniform(*_DOWN_S)
            self._trace.note(f"the receiver of {merchant} is down for a while")
        if now_s < self._down_until_s[merchant]:
            return Answer(error="refused")
        if self._rng.random() < _ERROR:
            return (
                Answer(status=503, retry_after="7")
                if self._rng.random() < _ERROR
                else Answer(status=500)
            )
        return None

    def _take(self, merchant: str, headers: Mapping[str, str], body: bytes) -> None:
        message_id, at_s = headers["webhook-id"], int(headers["webhook-timestamp"])
        known = Webhook(self._text(merchant))
        genuine = known.sign(message_id, datetime.fromtimestamp(at_s, UTC), body.decode())
        if genuine not in headers["webhook-signature"].split():
            self._violate(Violation("merchants' webhooks are signed", message_id))
        before = self.heard[merchant].setdefault(message_id, body)
        if before != body:
            self._violate(Violation("a webhook stays the same in every attempt", message_id))

    def _text(self, merchant: str) -> str:
        return "whsec_" + base64.b64encode(self._secrets[merchant]).decode()


async def check_told(
    store: MemoryStore,
    payments: Mapping[str, Payment],
    receivers: Receivers | None,
    body_of: Callable[[MerchantEvent], bytes],
) -> None:
    """Feeds have no gap and are right, and receivers heard all of them. Raises `Violation`."""
    for merchant in sorted({each.created.merchant for each in payments.values()}):
        events = await _feed(store, merchant)
        mine = {id_: each for id_, each in payments.items() if each.created.merchant == merchant}
        _check_feed(events, mine)
        if receivers is not None and merchant in receivers.heard:
            _check_heard(receivers.heard[merchant], events, body_of)


async def _feed(store: MemoryStore, merchant: str) -> list[MerchantEvent]:
    found: list[MerchantEvent] = []
    number = 0
    while page := await store.read_feed(feed_of(merchant), after_n=number, limit=PAGE_MAX):
        for posted in page:
            number += 1
            if posted.n != number:
                raise Violation("a feed has no gap", f"{merchant}: {posted.n} is not {number}")
            found.append(read_event(posted.body))
    return found


def _check_feed(events: list[MerchantEvent], payments: Mapping[str, Payment]) -> None:
    """Whoever reads the feed alone knows every payment that moved, and where it stands."""
    told: dict[str, int] = {}
    stands: dict[str, str] = {}
    for event in events:
        if event.payment_id is None:
            continue
        told[event.payment_id] = told.get(event.payment_id, 0) + 1
        if event.sequence != told[event.payment_id]:
            raise Violation(
                "a payment's events are counted without a gap",
                f"{event.id} is {event.sequence}, not {told[event.payment_id]}",
                subject=event.payment_id,
            )
        stands[event.payment_id] = _LEADS.get(event.type, stands.get(event.payment_id, ""))
    for payment in payments.values():
        shown = payment_view(payment).status
        if shown not in ("pending", "processing") and stands.get(payment.id) != shown:
            raise Violation(
                "who reads the feed is right",
                f"it ends with {stands.get(payment.id)}, and the payment is {shown}",
                subject=payment.id,
            )


def _check_heard(
    heard: Mapping[str, bytes],
    events: list[MerchantEvent],
    body_of: Callable[[MerchantEvent], bytes],
) -> None:
    for event in events:
        if event.id not in heard:
            raise Violation(
                "a merchant is told everything", event.id, subject=event.payment_id or ""
            )
        if heard[event.id] != body_of(event):
            raise Violation("a webhook says what the feed says", event.id)
    unknown = set(heard) - {event.id for event in events}
    if unknown:
        raise Violation("a merchant is told nothing else", ", ".join(sorted(unknown)))


def _id_of(merchant: str) -> str:
    return f"we_{merchant}"
