"""The adapter of Stripe: PaymentIntents, refunds, disputes, over plain HTTP with forms.

A charge takes three requests, and money moves with the last alone:

1. `POST /v1/payment_intents` under `<key>-prepare` makes an unconfirmed intent (`prepare`). Our key
   is in its metadata, and its id can be written down before anything can happen to it.
2. `POST /v1/payment_methods` hands over the card, with the CVV under `<key>-card`, without it
   under `<key>-bare`: a charge that is sent again from the vault makes another payment method, so
   that the third request differs from the first one's, and Stripe says that it knows the key.
3. `POST /v1/payment_intents/{id}/confirm` under `<key>` itself charges or holds.

A provider's token (`pm_...`) spares the second. What is asked twice under one key is done once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import quote, urlencode

from paygate_actors.money import Money
from paygate_actors.outcomes import Declined, Outcome, Preparation, Prepared, Unknown
from paygate_actors.providers.base import (
    BodyInvalid,
    Capabilities,
    ChargeCall,
    EventPage,
    FollowUpCall,
    Operation,
    ProviderEvent,
)
from paygate_actors.providers.countdown import countdown
from paygate_actors.providers.http_client import CONNECTIONS_MAX, Exchange, HttpClient
from paygate_actors.providers.provider_url import checked_url, is_here
from paygate_actors.providers.stripe_amounts import TERMS, NotRepresentable
from paygate_actors.providers.stripe_credential import EXPAND, demanded, saved_method
from paygate_actors.providers.stripe_events import read_event
from paygate_actors.providers.stripe_lookup import (
    NOT_HERE,
    among_refunds,
    read_itself,
    read_page,
    read_refund,
    searched,
)
from paygate_actors.providers.stripe_reading import (
    charge_refused,
    follow_up_refused,
    found,
    outcome_of,
    read_captured,
    read_confirmed,
    read_kept,
    read_prepared,
    read_refunded,
    read_voided,
    unlooked_at,
)
from paygate_actors.providers.stripe_signature import StripeSignature
from paygate_actors.providers.stripe_terms import SANDBOX_PACE, Pace, capabilities_of
from paygate_actors.providers.stripe_wire import (
    capture_form,
    confirm_form,
    intent_form,
    method_form,
    refund_form,
    search_query,
)
from paygate_actors.providers.unsendable import NO_AMOUNT, NO_METHOD

API_URL: Final = "https://api.stripe.com"
API_VERSION: Final = "2026-10-28.endive"
"""The version whose words this adapter knows; sent with every request."""

# A page of events is some 300 KiB; a search answers with two intents at most.
ANSWER_BYTES_MAX: Final = 1024 * 1024
EVENTS_MAX: Final = 50
# The newest of one intent, in one page: whoever looks for an older one re-sends its key.
REFUNDS_MAX: Final = 100

_LIVE_KEY = re.compile(r"[a-z]{2}_live_")
_VISIBLE = re.compile(r"[!-~]+")


class StripeProvider:
    """One account at Stripe. Raises `ValueError` for an unusable url, key or webhook secret.

    `secret_key` is `sk_...` or `rk_...`; `webhook_secrets` those of the endpoint that are valid
    now. `account` acts for a connected account, whose events are then the only ones taken.
    `return_url` is where payers come back to where the merchant names no place of their own;
    without either a payment that needs the payer is declined. `pace` is by default that of the
    real one, or of a sandbox where the url is on this machine.
    """

    kind = "stripe"

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the protocol's own name for it
        name: str,
        secret_key: str,
        webhook_secrets: Sequence[str],
        url: str = API_URL,
        account: str | None = None,
        return_url: str | None = None,
        pace: Pace | None = None,
        connections_max: int = CONNECTIONS_MAX,
        client: HttpClient | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self._url = checked_url(url)
        if _VISIBLE.fullmatch(secret_key) is None:
            raise ValueError("Stripe's secret key is empty, or is none")
        self._livemode = _LIVE_KEY.match(secret_key) is not None
        self._account = account
        self._return_url = return_url
        self.capabilities: Capabilities = capabilities_of(
            pace or (SANDBOX_PACE if is_here(self._url) else Pace())
        )
        self._signature = StripeSignature(webhook_secrets)
        shared = {"Authorization": f"Bearer {secret_key}", "Stripe-Version": API_VERSION}
        if account is not None:
            shared["Stripe-Account"] = account
        # In a closure, so that no error reporter that walks attributes finds the key.
        self._headers: Callable[[], dict[str, str]] = shared.copy
        self._client = client or HttpClient(
            self._url, connections_max=connections_max, answer_bytes_max=ANSWER_BYTES_MAX
        )

    async def prepare(self, call: ChargeCall) -> Preparation:
        """Make the unconfirmed intent; the same call makes one. A no is never conclusive."""
        return await self._prepare(call, self.capabilities.deadline_s)

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge or hold: confirm the prepared intent, or make one first."""
        if not self._takes(call.amount):
            return NO_AMOUNT
        time_left = countdown(self.capabilities.deadline_s)
        intent_id = call.prepared_id
        if intent_id is None:
            prepared = await self._prepare(call, time_left())
            if not isinstance(prepared, Prepared):
                return prepared
            intent_id = prepared.provider_txn_id
        method = await self._method(call, time_left())
        if not isinstance(method, str):
            return method
        body = confirm_form(method, call, return_url=call.return_url or self._return_url)
        path = f"/v1/payment_intents/{quote(intent_id, safe='')}/confirm"
        exchange = await self._post(path, call.key, body, time_left())
        outcome = _final(
            outcome_of(
                exchange,
                partial(read_confirmed, key=call.key, intent_id=intent_id),
                partial(charge_refused, intent_id=intent_id),
            )
        )
        return demanded(outcome) if call.three_d_secure == "required" else outcome

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Capture what was held, in whole or in part; Stripe releases the rest."""
        return await self._follow_up("capture", call, capture_form, read_captured)

    async def void(self, call: FollowUpCall) -> Outcome:
        """Cancel a hold or an unconfirmed intent; a captured one is `already_settled` at once."""
        return await self._follow_up("void", call, _no_fields, read_voided)

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Give back a part or the whole of what was captured."""
        return await self._follow_up("refund", call, refund_form, read_refunded)

    async def find(self, key: str, provider_txn_id: str | None = None) -> Outcome:
        """What became of the call with this key.

        With the intent's id it is read itself, and its refunds with it, with no lag. By our key
        alone the search index is asked, which shows charges and captures, a minute late in
        ordinary times; refunds and voids are known by their key re-sent.
        """
        if provider_txn_id is not None:
            return await self._find_within(key, provider_txn_id)
        exchange = await self._get(f"/v1/payment_intents/search?{search_query(key)}")
        return found(exchange, partial(searched, key=key))

    async def events(self, *, since_us: int, cursor: str | None = None) -> EventPage | Unknown:
        """One page of events since then, the newest first; Stripe keeps them for 30 days."""
        query = {"created[gte]": str(since_us // 1_000_000), "limit": str(EVENTS_MAX)}
        if cursor is not None:
            query["starting_after"] = cursor
        exchange = await self._get(f"/v1/events?{urlencode(query)}")
        return read_page(exchange, livemode=self._livemode, account=self._account)

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check the `Stripe-Signature`. Raises `SignatureInvalid`."""
        self._signature.check(headers, body, now_us=now_us)

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Read a verified webhook, which is one event. Raises `BodyInvalid`, `AnotherAccount`."""
        event = read_event(body, livemode=self._livemode, account=self._account)
        if event.event_type.startswith(("payment.", "refund.", "dispute.")) and not (
            event.provider_txn_id
        ):
            raise BodyInvalid("the event names no object")
        return (event,)

    def redacted_config(self) -> dict[str, str]:
        """Where it is, in which mode, which version it speaks; no part of a key."""
        return {
            "url": self._url,
            "apiVersion": API_VERSION,
            "mode": "live" if self._livemode else "test",
            "deadlineS": str(self.capabilities.deadline_s),
            "secretKey": "[redacted]",
            "webhookSecrets": "[redacted]",
        }

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        await self._client.close()

    async def _prepare(self, call: ChargeCall, deadline_s: float) -> Preparation:
        if not self._takes(call.amount):
            return NO_AMOUNT
        exchange = await self._post(
            "/v1/payment_intents", f"{call.key}-prepare", intent_form(call), deadline_s
        )
        outcome = outcome_of(exchange, partial(read_prepared, key=call.key), unlooked_at)
        assert isinstance(outcome, Prepared | Declined | Unknown), "the first step moves nothing"
        return outcome

    async def _method(self, call: ChargeCall, deadline_s: float) -> str | Outcome:
        saved = saved_method(call.instrument)
        if saved is not None:
            return saved.method
        card = call.instrument.card
        if card is None:
            return NO_METHOD
        _, cvv = card.reveal()
        suffix = "bare" if cvv is None else "card"
        exchange = await self._post(
            "/v1/payment_methods",
            f"{call.key}-{suffix}",
            method_form(call.instrument),
            deadline_s,
        )
        outcome = outcome_of(exchange, read_kept, unlooked_at)
        return outcome.provider_txn_id if isinstance(outcome, Prepared) else outcome

    async def _follow_up(
        self,
        operation: Operation,
        call: FollowUpCall,
        form: Callable[[FollowUpCall], bytes],
        read: Callable[[bytes, FollowUpCall], Outcome],
    ) -> Outcome:
        try:
            body = form(call)
        except NotRepresentable:
            return NO_AMOUNT
        intent = quote(call.provider_txn_id, safe="")
        path = {
            "capture": f"/v1/payment_intents/{intent}/capture",
            "void": f"/v1/payment_intents/{intent}/cancel",
        }.get(operation, "/v1/refunds")
        exchange = await self._post(path, call.key, body, self.capabilities.deadline_s)
        refused = partial(follow_up_refused, operation=operation, intent_id=call.provider_txn_id)
        return _final(outcome_of(exchange, lambda body: read(body, call), refused))

    async def _find_within(self, key: str, named: str) -> Outcome:
        if named.startswith("re_"):
            path = f"/v1/refunds/{quote(named, safe='')}"
            return found(await self._get(path), partial(read_refund, key=key, refund_id=named))
        path = f"/v1/payment_intents/{quote(named, safe='')}?{urlencode([EXPAND])}"
        outcome = found(await self._get(path), partial(read_itself, key=key, intent_id=named))
        if outcome != NOT_HERE:
            return outcome
        query = urlencode({"payment_intent": named, "limit": str(REFUNDS_MAX)})
        return found(await self._get(f"/v1/refunds?{query}"), partial(among_refunds, key=key))

    async def _post(self, path: str, key: str, body: bytes, deadline_s: float) -> Exchange:
        headers = {
            **self._headers(),
            "Idempotency-Key": key,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return await self._client.send(
            "POST", path, deadline_s=deadline_s, headers=headers, body=body
        )

    async def _get(self, path: str) -> Exchange:
        return await self._client.send(
            "GET", path, deadline_s=self.capabilities.deadline_s, headers=self._headers()
        )

    @staticmethod
    def _takes(amount: Money) -> bool:
        terms = TERMS.get(amount.currency)
        return terms is not None and amount.minor % terms.multiple_of == 0


def _no_fields(_call: FollowUpCall) -> bytes:
    return b""


def _final(outcome: Outcome | Prepared) -> Outcome:
    assert not isinstance(outcome, Prepared), "only the first step prepares"
    return outcome
