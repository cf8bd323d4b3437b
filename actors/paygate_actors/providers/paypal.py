"""The adapter of PayPal: Orders v2 and Payments v2 over plain HTTP with JSON.

A charge takes two requests, and money moves with the second alone:

1. `POST /v2/checkout/orders` under `<key>-prepare` makes an order (`prepare`). Our key is in it,
   and its id can be written down before anything can happen to it.
2. `POST /v2/checkout/orders/{id}/capture` (or `/authorize`, for a hold) under `<key>` pays for it
   with a card or a saved one. An order is paid for once, whatever the request id: it is a second
   key, which PayPal does not forget after six hours.

A payer with a wallet is sent to PayPal first, and so is one whose issuer wants to see him. He only
approves: the money moves when the same call is made again, with the order's id. Should `<key>`
stand for what was refused before he came, it is said under `<key>-approved`.

PayPal cancels no order. One that nobody paid for is fenced instead: its intent is changed, so that
no request of before fits it any more (`ACTION_DOES_NOT_MATCH_INTENT`), and its reference says so.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final
from urllib.parse import quote

from paygate_actors.outcomes import Declined, Outcome, Preparation, Prepared, Unknown
from paygate_actors.providers.base import (
    Capabilities,
    ChargeCall,
    EventPage,
    FollowUpCall,
    ProviderEvent,
)
from paygate_actors.providers.countdown import countdown
from paygate_actors.providers.http_client import CONNECTIONS_MAX, HttpClient
from paygate_actors.providers.paypal_amounts import NotRepresentable
from paygate_actors.providers.paypal_answers import found
from paygate_actors.providers.paypal_bodies import Source, source_of
from paygate_actors.providers.paypal_certificates import Certificates, certificates_of
from paygate_actors.providers.paypal_charging import Charging, Confirming, path_of
from paygate_actors.providers.paypal_events import page_path, read_event, read_page
from paygate_actors.providers.paypal_following import Following
from paygate_actors.providers.paypal_reading import found_in_order, own_order, read_found_refund
from paygate_actors.providers.paypal_session import ANSWER_BYTES_MAX, Reply, Session
from paygate_actors.providers.paypal_signature import PayPalSignature
from paygate_actors.providers.paypal_terms import SANDBOX_PACE, Pace, capabilities_of
from paygate_actors.providers.provider_url import checked_url, is_here
from paygate_actors.providers.unsendable import NO_AMOUNT, NO_METHOD
from paygate_engine.clock import Clock, SystemClock

API_URL: Final = "https://api-m.paypal.com"

_NOT_HERE: Final = Unknown(reason="not_visible")


class PayPalProvider:
    """One account at PayPal. Raises `ValueError` for an unusable url, id or secret.

    `client_id` and `secret` are those of the account's REST app, `webhook_id` that of the webhook
    which was made for our door. `return_url` is where payers come back to where the merchant names
    no place of their own; without either nobody is sent to PayPal. `pace` is by default that of
    the real one, or of a sandbox where the url is on this machine. `client` is the way there: a
    simulator's, or by default its own.
    """

    kind = "paypal"

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the protocol's own name for it
        name: str,
        client_id: str,
        secret: str,
        webhook_id: str,
        url: str = API_URL,
        return_url: str | None = None,
        pace: Pace | None = None,
        connections_max: int = CONNECTIONS_MAX,
        certificates: Certificates | None = None,
        clock: Clock | None = None,
        client: HttpClient | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self._url = checked_url(url)
        self._return_url = return_url
        here = is_here(self._url)
        self.capabilities: Capabilities = capabilities_of(
            pace or (SANDBOX_PACE if here else Pace())
        )
        self._certificates = certificates or certificates_of(self._url, here=here)
        self._signature = PayPalSignature(webhook_id, self._certificates)
        self._clock = clock or SystemClock()
        self._session = Session(
            client
            or HttpClient(
                self._url, connections_max=connections_max, answer_bytes_max=ANSWER_BYTES_MAX
            ),
            client_id=client_id,
            secret=secret,
            deadline_s=self.capabilities.deadline_s,
        )
        self._charging = Charging(self._session)
        self._following = Following(
            self._session, self._charging, deadline_s=self.capabilities.deadline_s
        )

    async def prepare(self, call: ChargeCall) -> Preparation:
        """Make the order; the same call makes one. A no is never conclusive."""
        source = self._source(call)
        if isinstance(source, Declined):
            return source
        return await self._charging.prepare(call, source, self.capabilities.deadline_s)

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge or hold: pay for the prepared order, or make one first.

        A payer who has to approve it is `ActionRequired`; made again once he has, it charges.
        """
        source = self._source(call)
        if isinstance(source, Declined):
            return source
        time_left = countdown(self.capabilities.deadline_s)
        order_id = call.prepared_id
        if order_id is None:
            prepared = await self._charging.prepare(call, source, time_left())
            if not isinstance(prepared, Prepared):
                return prepared
            order_id = prepared.provider_txn_id
        return await self._charging.confirm(
            Confirming(call=call, order_id=order_id, source=source, time_left=time_left)
        )

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Capture what is held, in whole or in part; PayPal releases the rest."""
        try:
            return await self._following.capture(call)
        except NotRepresentable:
            return NO_AMOUNT

    async def void(self, call: FollowUpCall) -> Outcome:
        """Cancel a hold, or give up an order that nobody paid for, for good.

        What was captured is `already_settled` at once.
        """
        return await self._following.void(call)

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Give back a part or the whole of what was captured."""
        try:
            return await self._following.refund(call)
        except NotRepresentable:
            return NO_AMOUNT

    async def find(self, key: str, provider_txn_id: str | None = None) -> Outcome:
        """What became of the call with this key.

        With the order's id (or a refund's own) it is read itself, with no lag. By our key alone
        PayPal finds nothing, ever: the same key sent again within its window is how to ask.
        """
        if provider_txn_id is None:
            return Unknown(reason="not_visible", detail="PayPal looks nothing up by our key")

        def read(body: bytes) -> Outcome:
            order = own_order(body, provider_txn_id)
            return found_in_order(order, key) or _NOT_HERE

        outcome = found(await self._get(path_of(provider_txn_id)), read)
        if outcome != _NOT_HERE:
            return outcome
        reply = await self._get(f"/v2/payments/refunds/{quote(provider_txn_id, safe='')}")
        return found(reply, partial(read_found_refund, key=key, refund_id=provider_txn_id))

    async def events(self, *, since_us: int, cursor: str | None = None) -> EventPage | Unknown:
        """One page of events since then; PayPal keeps them for 30 days."""
        return read_page(await self._get(page_path(since_us, cursor)))

    async def fetch_keys(self, headers: Mapping[str, str]) -> None:
        """Fetch the certificate that the headers name, once.

        Raises `SignatureInvalid` for headers that no webhook of PayPal's has, `KeysUnavailable`
        where the certificate could not be fetched.
        """
        await self._signature.fetch(headers, now_us=self._clock.now_us())

    def known_keys(self) -> tuple[str, ...]:
        """The addresses of the certificates that were trusted."""
        return self._certificates.known

    def know_keys(self, names: Iterable[str]) -> None:
        """Fetch these certificates although anybody's are not fetched any more."""
        self._certificates.know(names)

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check the signature under a certificate that is here. Raises `SignatureInvalid`."""
        self._signature.check(headers, body, now_us=now_us)

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Read a verified webhook: one event. Raises `BodyInvalid`."""
        return (read_event(body),)

    def redacted_config(self) -> dict[str, str]:
        """Where it is and how long a call may take; no part of an id or a secret."""
        return {
            "url": self._url,
            "deadlineS": str(self.capabilities.deadline_s),
            "clientID": "[redacted]",
            "secret": "[redacted]",
            "webhookID": "[redacted]",
        }

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        await self._session.close()
        await self._certificates.close()

    def _source(self, call: ChargeCall) -> Source | Declined:
        if not self.capabilities.takes(call.amount):
            return NO_AMOUNT
        return source_of(call, return_url=call.return_url or self._return_url) or NO_METHOD

    async def _get(self, path: str) -> Reply:
        return await self._session.send("GET", path, deadline_s=self.capabilities.deadline_s)
