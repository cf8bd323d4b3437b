"""The adapter of Adyen: Checkout payments, captures, cancellations, refunds, over plain HTTP.

A payment is one request, and it is final or sends its payer away. Captures, cancellations and
refunds are only ever taken in (`received`): what became of them is told by webhook, and by nothing
else. There is no look-up either. So a charge whose answer was lost is asked about by sending the
same key again, which Adyen answers as it did the first time; and for the rest one waits.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import quote, urlsplit

from paygate_actors.outcomes import Outcome, Unknown
from paygate_actors.providers.adyen_amounts import NotRepresentable
from paygate_actors.providers.adyen_events import events_of_payment, read_events
from paygate_actors.providers.adyen_reading import (
    charge_refused,
    modification_refused,
    outcome_of,
    read_charge,
    read_details,
    read_modification,
)
from paygate_actors.providers.adyen_reference import Purpose, write_reference
from paygate_actors.providers.adyen_return import ReturnDoor
from paygate_actors.providers.adyen_signature import AdyenSignature
from paygate_actors.providers.adyen_terms import SANDBOX_PACE, Pace, capabilities_of
from paygate_actors.providers.adyen_visits import Visits
from paygate_actors.providers.adyen_wire import (
    cancellation_body,
    details_body,
    modification_body,
    payment_body,
    token_of,
)
from paygate_actors.providers.base import (
    Capabilities,
    ChargeCall,
    FollowUpCall,
    ProviderEvent,
    Returned,
)
from paygate_actors.providers.http_client import CONNECTIONS_MAX, Exchange, HttpClient, NotSent
from paygate_actors.providers.provider_url import checked_url, is_here
from paygate_actors.providers.unsendable import NO_AMOUNT, NO_METHOD
from paygate_engine.clock import Clock, SystemClock

API_URL: Final = "https://checkout-test.adyen.com/v72"
"""Adyen's test platform; the live one has an address for each company."""

# What Adyen puts into an address is some hundred characters; a browser's line ends at 8 KB.
RESULT_LENGTH_MAX: Final = 8_000
# Connections of payers who come back, beside those of charges: anybody can make them wait.
RETURNS_MAX: Final = 8

_VISIBLE = re.compile(r"[!-~]+")
_VERSION = re.compile(r"/v\d{2,3}$")
# A payment that waits for its payer may have no id so far, and is known by its reference.
_PSP_REFERENCE = re.compile(r"[A-Z0-9]{16}")


class AdyenProvider:
    """One merchant account at Adyen. Raises `ValueError` for what cannot be used.

    `url` ends with the version: `https://PREFIX-checkout-live.adyenpayments.com/checkout/v72`.
    `merchant_account` is the only one whose webhooks are taken. `hmac_keys` are those of the
    webhook that are valid now, in hex; `webhook_login` is `USER:PASSWORD`, where it has one.
    `return_url` is the gateway's own door, `https://GATEWAY/api/providers/ID/return`: payers come
    back to it, and go on to the merchant's page from there.
    """

    kind = "adyen"

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the protocol's own name for it
        name: str,
        api_key: str,
        merchant_account: str,
        hmac_keys: Sequence[str],
        return_url: str,
        url: str = API_URL,
        webhook_login: str | None = None,
        pace: Pace | None = None,
        clock: Clock | None = None,
        connections_max: int = CONNECTIONS_MAX,
        client: HttpClient | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self._url = _checked(url)
        if _VISIBLE.fullmatch(api_key) is None:
            raise ValueError("Adyen's API key is empty, or is none")
        if not merchant_account or ":" in merchant_account:
            raise ValueError("Adyen's merchant account is empty, or is none")
        if urlsplit(return_url).scheme not in ("http", "https"):
            raise ValueError("Adyen demands a return_url with every payment, https://...")
        self._account = merchant_account
        self._door = ReturnDoor(return_url, secret=api_key)
        self._live = (urlsplit(self._url).hostname or "").endswith("-live.adyenpayments.com")
        self._signature = AdyenSignature(hmac_keys, login=webhook_login)
        self._clock = clock or SystemClock()
        self.capabilities: Capabilities = capabilities_of(
            pace or (SANDBOX_PACE if is_here(self._url) else Pace())
        )
        shared = {"X-API-Key": api_key, "Content-Type": "application/json"}
        # In a closure, so that no error reporter that walks attributes finds the key.
        self._headers: Callable[[], dict[str, str]] = shared.copy
        self._client = client or HttpClient(self._url, connections_max=connections_max)
        self._returns = client or HttpClient(self._url, connections_max=RETURNS_MAX)
        self._visits = Visits()

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge or hold. The same key again is the same payment, and the same answer."""
        if call.instrument.card is None and token_of(call.instrument) is None:
            return NO_METHOD
        reference = write_reference(call.key, "charge" if call.capture else "hold")
        back = self._door.address(reference, call.return_url)
        try:
            body = payment_body(call, account=self._account, return_url=back)
        except NotRepresentable:
            return NO_AMOUNT
        exchange = await self._post("/payments", call.key, body)
        read = partial(read_charge, call=call, now_us=self._clock.now_us())
        return outcome_of(exchange, read, charge_refused)

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Ask for what was held, in whole or in part; a webhook tells whether it came."""
        return await self._modify(call, "capture", "captures")

    async def void(self, call: FollowUpCall) -> Outcome:
        """Cancel what was not captured so far; a webhook tells, and else it is to be refunded.

        Adyen's reversal is not used: it would refund what a merchant asked to be cancelled.
        """
        named = _PSP_REFERENCE.fullmatch(call.provider_txn_id) is not None
        body = cancellation_body(
            call,
            account=self._account,
            payment_reference=None if named else call.provider_txn_id,
        )
        path = f"/payments/{call.provider_txn_id}/cancels" if named else "/cancels"
        return self._taken_in(await self._post(path, call.key, body), call, "void")

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Ask to give a part or the whole back; a webhook tells whether it went."""
        return await self._modify(call, "refund", "refunds")

    async def find(self, key: str) -> Outcome:
        """Nothing can be seen (`Capabilities.find_sees`), and that proves nothing."""
        return Unknown(reason="not_visible", detail="Adyen has no look-up")

    async def returned(self, query: Mapping[str, str]) -> Returned:
        """Tell Adyen what a payer brought back. Raises `SignatureInvalid`.

        Where its answer is not understood or is lost, the webhook tells; so it does for a payer
        who was told of often enough, or is being told of now.
        """
        back = self._door.read(query)
        result = query.get("redirectResult", "")
        if not 0 < len(result) <= RESULT_LENGTH_MAX:
            return Returned(url=back.url)
        with self._visits.visit(back.reference) as may_tell:
            if not may_tell:
                return Returned(url=back.url)
            # Whoever opens the page twice brings the same thing back.
            key = hashlib.sha256(result.encode()).hexdigest()
            exchange = await self._post(
                "/payments/details", key, details_body(result), self._returns
            )
            if isinstance(exchange, NotSent):
                self._visits.unsaid(back.reference)
        payment = read_details(exchange, back.reference)
        if payment is None:
            return Returned(url=back.url)
        events = events_of_payment(payment, at_us=self._clock.now_us())
        return Returned(events=events, url=back.url)

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check every item's signature, and the login. Raises `SignatureInvalid`.

        No time is signed: a webhook that comes again, however late, is known by its events' ids.
        """
        self._signature.check(headers, body)

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Read a verified webhook: an event for each item. Raises `BodyInvalid`."""
        return read_events(body, live=self._live, account=self._account)

    def redacted_config(self) -> dict[str, str]:
        """Where it is, in which mode, for which merchant account; no part of a key."""
        return {
            "url": self._url,
            "mode": "live" if self._live else "test",
            "merchantAccount": self._account,
            "deadlineS": str(self.capabilities.deadline_s),
            "apiKey": "[redacted]",
            "hmacKeys": "[redacted]",
        }

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        await self._client.close()
        await self._returns.close()

    async def _modify(self, call: FollowUpCall, purpose: Purpose, noun: str) -> Outcome:
        try:
            body = modification_body(call, purpose, account=self._account)
        except NotRepresentable:
            return NO_AMOUNT
        path = f"/payments/{quote(call.provider_txn_id, safe='')}/{noun}"
        return self._taken_in(await self._post(path, call.key, body), call, purpose)

    def _taken_in(self, exchange: Exchange, call: FollowUpCall, purpose: Purpose) -> Outcome:
        read = partial(read_modification, call=call, purpose=purpose, account=self._account)
        return outcome_of(exchange, read, modification_refused)

    async def _post(
        self, path: str, key: str, body: bytes, client: HttpClient | None = None
    ) -> Exchange:
        return await (client or self._client).send(
            "POST",
            path,
            deadline_s=self.capabilities.deadline_s,
            headers={**self._headers(), "Idempotency-Key": key},
            body=body,
        )


def _checked(url: str) -> str:
    base = checked_url(url)
    parts = urlsplit(base)
    if parts.query or parts.fragment or _VERSION.search(parts.path) is None:
        raise ValueError("Adyen's url ends with the version of the API, /v72")
    return base
