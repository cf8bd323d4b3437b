"""PayPal's GET routes: objects by their id at once, the list of events, the certificates."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from aiohttp import web

from paygate_http.sandbox.books import Books
from paygate_http.sandbox.passage import Passage, Reply, response_of
from paygate_http.sandbox.paypal_certificate import SigningCertificate
from paygate_http.sandbox.paypal_desk import PayPalDesk
from paygate_http.sandbox.paypal_errors import BAD, PayPalTrouble
from paygate_http.sandbox.paypal_objects import Json
from paygate_http.sandbox.paypal_tokens import Tokens
from paygate_http.sandbox.paypal_views import Views
from paygate_http.sandbox.wire import ProviderId

EVENTS_PATH: Final = "/v1/notifications/webhooks-events"

_OK: Final = 200
_NOT_FOUND: Final = 404
_PAGE: Final = 10
_PAGE_MAX: Final = 300
_DIGITS_MAX: Final = 12
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PEM: Final = "application/x-pem-file"

_Read = Callable[[web.Request], Json | bytes]


class PayPalLookups:
    """Handlers of what only reads. The certificates are anybody's, as at PayPal."""

    def __init__(
        self,
        *,
        provider: ProviderId,
        books: Books,
        passage: Passage,
        desk: PayPalDesk,
        views: Views,
        tokens: Tokens,
        certificate: SigningCertificate,
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._passage = passage
        self._desk = desk
        self._views = views
        self._tokens = tokens
        self._certificate = certificate
        self._url = views.url

    def routes(self) -> list[web.RouteDef]:
        """Give the routes to add to the sandbox's application."""
        return [
            web.get("/v2/checkout/orders/{id}", self._look(self._order)),
            web.get("/v2/payments/authorizations/{id}", self._look(self._hold)),
            web.get("/v2/payments/captures/{id}", self._look(self._capture)),
            web.get("/v2/payments/refunds/{id}", self._look(self._refund)),
            web.get(EVENTS_PATH, self._look(self._events)),
            web.get(EVENTS_PATH + "/{id}", self._look(self._event)),
            web.get("/v1/notifications/certs/{name}", self._chain),
            web.get("/v1/notifications/roots", self._roots),
        ]

    def _look(self, read: _Read) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                self._tokens.check(request)
            except PayPalTrouble as trouble:
                return response_of(Reply(trouble.status, trouble.body))
            key = request.match_info.get("id")
            return await self._passage.look(
                request, self._provider, key, lambda: _reply(read, request)
            )

        return handle

    def _order(self, request: web.Request) -> Json:
        return self._views.of(self._desk.order(request.match_info["id"])).order_json()

    def _hold(self, request: web.Request) -> Json:
        return self._views.of(self._desk.order_of(request.match_info["id"], "hold")).hold_alone()

    def _capture(self, request: web.Request) -> Json:
        order = self._desk.order_of(request.match_info["id"], "capture")
        return self._views.of(order).capture_alone()

    def _refund(self, request: web.Request) -> Json:
        note = self._books.paypal.refunds.get(request.match_info["id"])
        if note is None:
            raise PayPalTrouble(_NOT_FOUND, "INVALID_RESOURCE_ID")
        operation = self._views.operation(note.key)
        return self._views.of(self._desk.order(note.order_id)).refund_json(note, operation)

    def _events(self, request: web.Request) -> bytes:
        since = request.query.get("start_time", "")
        since_us = _at_us(since)
        size = _number(request.query.get("page_size", str(_PAGE)))
        before = _number(request.query.get("before", "0"))
        if not 1 <= size <= _PAGE_MAX:
            raise PayPalTrouble(BAD, "INVALID_PARAMETER_VALUE", field="page_size")
        found = [
            event
            for event in reversed(self._books.paypal.events.values())
            if (not before or event.number < before) and event.created_at_us >= since_us
        ]
        links: list[Json] = []
        if len(found) > size:
            query = f"page_size={size}&start_time={since}&before={found[size - 1].number}"
            href = f"{self._url}{EVENTS_PATH}?{query}"
            links.append({"href": href, "rel": "next", "method": "GET"})
        # The events are kept as they were told, byte for byte.
        events = [msgspec.Raw(event.body) for event in found[:size]]
        return msgspec.json.encode({"events": events, "count": len(events), "links": links})

    def _event(self, request: web.Request) -> bytes:
        event = self._books.paypal.events.get(request.match_info["id"])
        if event is None:
            raise PayPalTrouble(_NOT_FOUND, "INVALID_RESOURCE_ID")
        return event.body

    async def _chain(self, request: web.Request) -> web.Response:
        if request.match_info["name"] != self._certificate.name:
            return response_of(Reply(_NOT_FOUND, PayPalTrouble(_NOT_FOUND).body))
        return web.Response(body=self._certificate.chain, content_type=_PEM)

    async def _roots(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._certificate.root, content_type=_PEM)


def _reply(read: _Read, request: web.Request) -> Reply:
    try:
        found = read(request)
    except PayPalTrouble as trouble:
        return Reply(trouble.status, trouble.body)
    return Reply(_OK, found if isinstance(found, bytes) else msgspec.json.encode(found))


def _at_us(text: str) -> int:
    if not text:
        return 0
    try:
        at = datetime.fromisoformat(text)
        return (at - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError) as error:
        raise PayPalTrouble(BAD, "INVALID_PARAMETER_SYNTAX", field="start_time") from error


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS_MAX:
        raise PayPalTrouble(BAD, "INVALID_PARAMETER_SYNTAX")
    return int(text)
