"""The routes of the account that speaks Adyen's API: keys and idempotency.

The order of things in a call is that of `passage`; inside of it the key is looked at, the latency
passes, the desk acts, and the answer is kept under the key before it goes out. The same key is
answered as it was the first time, whatever else is sent with it: Adyen compares nothing.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.adyen_books import AdyenBooks
from paygate_http.sandbox.adyen_cards import number_of
from paygate_http.sandbox.adyen_desk import AdyenDesk
from paygate_http.sandbox.adyen_errors import (
    AdyenTrouble,
    broken,
    in_progress,
    unauthorised,
)
from paygate_http.sandbox.adyen_objects import Json
from paygate_http.sandbox.adyen_records import Kept, Kind
from paygate_http.sandbox.adyen_wire import (
    Method,
    ModificationBody,
    decode_details,
    decode_modification,
    decode_payment,
)
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.passage import Passage, Reply, response_of
from paygate_http.sandbox.records import Charge
from paygate_http.sandbox.teller import Request
from paygate_http.sandbox.wire import ProviderId, Verb, is_key

API_KEY: Final = "AQEpaygatesandbox"
"""What the sandbox takes for Adyen's API key; everybody knows it."""

_PREFIX: Final = "/v72"
_KEY_LENGTH_MAX: Final = 64
_OK: Final = 200
_CREATED: Final = 201

_VERBS: Final[dict[Kind, Verb]] = {
    "capture": "capture",
    "cancel": "void",
    "technical_cancel": "void",
    "refund": "refund",
    "reversal": "void",
}
_Act = Callable[[Request, Strike | None], Json]
_Body = TypeVar("_Body")


class AdyenCalls:
    """Handlers of Adyen's Checkout routes."""

    def __init__(
        self,
        *,
        provider: ProviderId,
        books: Books,
        records: AdyenBooks,
        passage: Passage,
        notices: Notices,
        desk: AdyenDesk,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._records = records
        self._passage = passage
        self._notices = notices
        self._desk = desk
        self._clock = clock
        self._ids = ids
        self._in_progress: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes to add to the sandbox's application."""
        one = f"{_PREFIX}/payments/{{id}}"
        return [
            web.post(f"{_PREFIX}/payments", self._pay),
            web.post(f"{_PREFIX}/payments/details", self._details),
            web.post(f"{_PREFIX}/cancels", self._cancel_by_reference),
            web.post(f"{one}/captures", self._modification("capture")),
            web.post(f"{one}/cancels", self._modification("cancel")),
            web.post(f"{one}/refunds", self._modification("refund")),
            web.post(f"{one}/reversals", self._modification("reversal")),
        ]

    async def _pay(self, request: web.Request) -> web.StreamResponse:
        try:
            body = _read(request, decode_payment, await request.read())
        except AdyenTrouble as trouble:
            return response_of(_refused(trouble))
        return await self._call(
            request,
            "authorize" if body.manual else "charge",
            lambda call, strike: self._desk.pay(body, call, strike),
            status=_OK,
            card=_last4(body.payment_method),
        )

    async def _details(self, request: web.Request) -> web.StreamResponse:
        """Say how a payment stands: its payer's bank has told the sandbox already."""
        try:
            body = _read(request, decode_details, await request.read())
        except AdyenTrouble as trouble:
            return response_of(_refused(trouble))
        key = request.headers.get("Idempotency-Key")
        return await self._passage.look(
            request, self._provider, key, lambda: self._standing(body.details.redirect_result)
        )

    def _standing(self, sale_id: str) -> Reply:
        try:
            return Reply(_OK, msgspec.json.encode(self._desk.render(sale_id)))
        except AdyenTrouble as trouble:
            return _refused(trouble)

    async def _cancel_by_reference(self, request: web.Request) -> web.StreamResponse:
        return await self._modify(
            request,
            "technical_cancel",
            lambda body: self._desk.charge_of_reference(body.payment_reference),
        )

    def _modification(self, kind: Kind) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            id_ = request.match_info["id"]
            return await self._modify(request, kind, lambda _: self._desk.charge(id_))

        return handle

    async def _modify(
        self, request: web.Request, kind: Kind, find: Callable[[ModificationBody], Charge]
    ) -> web.StreamResponse:
        try:
            body = _read(request, decode_modification, await request.read())
            charge = find(body)
        except AdyenTrouble as trouble:
            return response_of(_refused(trouble))
        return await self._call(
            request,
            _VERBS[kind],
            lambda call, strike: self._desk.modify(kind, charge, body, call, strike),
            status=_CREATED,
        )

    async def _call(
        self, request: web.Request, verb: Verb, act: _Act, *, status: int, card: str | None = None
    ) -> web.StreamResponse:
        key = request.headers.get("Idempotency-Key")
        # A call without a key is done as often as it is sent.
        call = Request(
            provider=self._provider,
            key=key or self._ids.new("req"),
            verb=verb,
            params_digest=b"",
        )
        known = self._kept(call.key)
        replay = known is not None or call.key in self._in_progress
        strike, entry = self._passage.begin(self._provider, verb, key, replay=replay, card=card)
        return await self._passage.carry(
            request, (strike, entry), lambda: self._keyed(call, act, strike, status)
        )

    async def _keyed(self, call: Request, act: _Act, strike: Strike | None, status: int) -> Reply:
        known = self._kept(call.key)
        if known is not None:
            await self._passage.latency(strike)
            return Reply(known.status, known.body, headers=(("Idempotency-Key", call.key),))
        if call.key in self._in_progress:
            return _refused(in_progress())
        if self._records.is_full():
            return _refused(broken())
        self._in_progress.add(call.key)
        try:
            await self._passage.latency(strike)
            reply = self._done(call, act, strike, status)
            # Written here and not only before the answer: a hang may keep the answer for long.
            await self._books.flush()
        finally:
            self._in_progress.discard(call.key)
        await self._notices.send_urgent(call.provider, call.key)
        return reply

    def _done(self, call: Request, act: _Act, strike: Strike | None, status: int) -> Reply:
        try:
            reply = Reply(
                status,
                msgspec.json.encode(act(call, strike)),
                headers=(("Idempotency-Key", call.key),),
            )
        except AdyenTrouble as trouble:
            reply = _refused(trouble)
            if not trouble.kept:
                return reply
        self._records.keep(
            Kept(
                key=call.key,
                status=reply.status,
                body=reply.body,
                created_at_us=self._clock.now_us(),
            )
        )
        return reply

    def _kept(self, key: str) -> Kept | None:
        return self._records.answer(key, now_us=self._clock.now_us())


def _read(request: web.Request, decode: Callable[[bytes], _Body], raw: bytes) -> _Body:
    given = request.headers.get("X-API-Key", "").encode()
    if not hmac.compare_digest(given, API_KEY.encode()):
        raise unauthorised()
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (is_key(key) and len(key) <= _KEY_LENGTH_MAX):
        raise AdyenTrouble(422, "702", "The idempotency key has more than 64 characters")
    try:
        return decode(raw)
    except msgspec.DecodeError as error:
        # msgspec names the field and the rule, never the value: no card number can come back.
        raise AdyenTrouble(400, "702", str(error)) from error


def _last4(method: Method) -> str | None:
    try:
        return number_of(method)[-4:]
    except AdyenTrouble:
        return None


def _refused(trouble: AdyenTrouble) -> Reply:
    return Reply(trouble.status, trouble.body)
