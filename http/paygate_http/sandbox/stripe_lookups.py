"""Stripe's GET routes: objects by their id at once, a search that lags, and the list of events."""

import re
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final

import msgspec
from aiohttp import web

from paygate_engine.clock import Clock
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.passage import Passage, Reply, response_of
from paygate_http.sandbox.stripe_calls import authorise
from paygate_http.sandbox.stripe_desk import StripeDesk
from paygate_http.sandbox.stripe_errors import StripeTrouble
from paygate_http.sandbox.stripe_objects import (
    Json,
    intent_json,
    list_json,
    method_json,
    refund_json,
)
from paygate_http.sandbox.stripe_params import missing
from paygate_http.sandbox.stripe_records import Intent, RefundNote
from paygate_http.sandbox.wire import ProviderId

_OK: Final = 200
_BAD: Final = 400
_PAGE: Final = 10
_PAGE_MAX: Final = 100
_US_PER_S: Final = 1_000_000
_DIGITS_MAX: Final = 12

_Read = Callable[[web.Request], Json | bytes]

# The one kind of query that is answered: metadata fields that equal something, any of them.
_CLAUSE = re.compile(r"metadata\['([^']{1,40})'\]:'((?:[^'\\]|\\.){0,500})'")
_OR: Final = " OR "
_ESCAPED = re.compile(r"\\(.)")


class StripeLookups:
    """Handlers of what only reads."""

    def __init__(
        self,
        *,
        provider: ProviderId,
        books: Books,
        passage: Passage,
        desk: StripeDesk,
        clock: Clock,
        find_lag_us: int,
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._passage = passage
        self._desk = desk
        self._clock = clock
        self._find_lag_us = find_lag_us

    def routes(self) -> list[web.RouteDef]:
        """Give the routes to add to the sandbox's application."""
        # The search stands before the route that would take `search` for an id.
        return [
            web.get("/v1/payment_intents", self._look(self._intents)),
            web.get("/v1/payment_intents/search", self._look(self._search)),
            web.get("/v1/payment_intents/{id}", self._look(self._intent)),
            web.get("/v1/payment_methods/{id}", self._look(self._method)),
            web.get("/v1/charges/{id}", self._look(self._charge)),
            web.get("/v1/refunds", self._look(self._refunds)),
            web.get("/v1/refunds/{id}", self._look(self._refund)),
            web.get("/v1/events", self._look(self._events)),
            web.get("/v1/events/{id}", self._look(self._event)),
        ]

    def _look(self, read: _Read) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                authorise(request)
            except StripeTrouble as trouble:
                return response_of(Reply(trouble.status, trouble.body))
            key = request.match_info.get("id") or request.query.get("query")
            return await self._passage.look(
                request, self._provider, key, lambda: _reply(read, request)
            )

        return handle

    def _intents(self, request: web.Request) -> Json:
        limit = _limit(request)
        # A list has no lag, unlike the search.
        newest = islice(reversed(self._books.stripe.intents.values()), limit + 1)
        data = [self._desk.render(intent) for intent in newest]
        return list_json("/v1/payment_intents", data[:limit], has_more=len(data) > limit)

    def _intent(self, request: web.Request) -> Json:
        intent = self._desk.intent(request.match_info["id"])
        return self._desk.render(intent, expand=_expands(request, "latest_charge"))

    def _method(self, request: web.Request) -> Json:
        method = self._books.stripe.methods.get(request.match_info["id"])
        if method is None:
            raise missing("payment_method", request.match_info["id"])
        return method_json(method)

    def _charge(self, request: web.Request) -> Json:
        id_ = request.match_info["id"]
        intent = self._books.stripe.intents.get("pi_" + id_.partition("_")[2])
        charge = self._desk.charge(intent) if intent is not None else None
        if intent is None or charge is None:
            raise missing("charge", id_)
        return self._desk.render_charge(intent, charge)

    def _refund(self, request: web.Request) -> Json:
        note = self._books.stripe.refunds.get(request.match_info["id"])
        if note is None:
            raise missing("refund", request.match_info["id"])
        return self._render_refund(note)

    def _refunds(self, request: web.Request) -> Json:
        intent = self._desk.intent(request.query.get("payment_intent", ""))
        notes = self._books.stripe.refunds_of(intent.id)
        limit = _limit(request)
        data = [self._render_refund(note) for note in notes[:limit]]
        return list_json("/v1/refunds", data, has_more=len(notes) > limit)

    def _search(self, request: web.Request) -> Json:
        wanted = _clauses(request.query.get("query", ""))
        limit = _limit(request)
        now_us = self._clock.now_us()
        found = [
            intent
            for intent in self._books.stripe.intents_with(wanted)
            if intent.created_at_us + self._find_lag_us <= now_us
        ]
        expand = _expands(request, "data.latest_charge")
        data = [self._indexed(intent, expand=expand) for intent in found[:limit]]
        url = "/v1/payment_intents/search"
        return list_json(url, data, has_more=len(found) > limit, kind="search_result") | {
            "next_page": None
        }

    def _indexed(self, intent: Intent, *, expand: bool) -> Json:
        # The index learns of changes with the same lag: it shows what was before them.
        charge = self._desk.charge(intent)
        if charge is not None:
            confirmed = self._books.operation_of(charge)
            if confirmed.visible_at_us > self._clock.now_us():
                return intent_json(intent, None, None, url="")
        return self._desk.render(intent, expand=expand)

    def _events(self, request: web.Request) -> bytes:
        since_us = _seconds(request.query.get("created[gte]")) * _US_PER_S
        after = request.query.get("starting_after")
        type_ = request.query.get("type")
        limit = _limit(request)
        events = self._books.stripe.events
        if after is not None and after not in events:
            raise missing("event", after)
        newest_first = list(reversed(events.values()))
        if after is not None:
            newest_first = newest_first[newest_first.index(events[after]) + 1 :]
        found = [
            event
            for event in newest_first
            if event.created_at_us // _US_PER_S * _US_PER_S >= since_us
            and (type_ is None or event.type == type_)
        ]
        # The events are kept as they were told, byte for byte.
        return msgspec.json.encode(
            {
                "object": "list",
                "data": [msgspec.Raw(event.body) for event in found[:limit]],
                "has_more": len(found) > limit,
                "url": "/v1/events",
            }
        )

    def _event(self, request: web.Request) -> bytes:
        event = self._books.stripe.events.get(request.match_info["id"])
        if event is None:
            raise missing("event", request.match_info["id"])
        return event.body

    def _render_refund(self, note: RefundNote) -> Json:
        operation = self._books.find(self._provider, note.key) if note.key is not None else None
        return refund_json(note, operation)


def _reply(read: _Read, request: web.Request) -> Reply:
    try:
        found = read(request)
    except StripeTrouble as trouble:
        return Reply(trouble.status, trouble.body)
    return Reply(_OK, found if isinstance(found, bytes) else msgspec.json.encode(found))


def _clauses(query: str) -> list[tuple[str, str]]:
    clauses: list[tuple[str, str]] = []
    at = 0
    while match := _CLAUSE.match(query, at):
        clauses.append((match[1], _ESCAPED.sub(r"\1", match[2])))
        at = match.end()
        if at == len(query):
            return clauses
        # A value may hold the word itself: it is looked for behind the quotes.
        if not query.startswith(_OR, at):
            break
        at += len(_OR)
    raise StripeTrouble(_BAD, "The search query cannot be read.", param="query")


def _expands(request: web.Request, name: str) -> bool:
    return name in request.query.getall("expand[]", [])


def _limit(request: web.Request) -> int:
    limit = _seconds(request.query.get("limit", str(_PAGE)))
    if not 1 <= limit <= _PAGE_MAX:
        raise StripeTrouble(_BAD, "limit must be 1 to 100.", param="limit")
    return limit


def _seconds(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS_MAX:
        raise StripeTrouble(_BAD, "Invalid integer.", code="parameter_invalid_integer")
    return int(text)
