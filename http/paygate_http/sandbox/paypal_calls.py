"""The routes of the account that speaks PayPal's API: tokens, request ids, look-ups.

The order of things in a call is that of `passage`; inside of it the request id is looked at, the
latency passes, the desk acts, and what the id stands for is kept before the answer goes out. A
request id that comes again is answered with the object as it is by then, as PayPal does; a call
that was refused leaves none behind.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeVar

import msgspec
from aiohttp import web

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.passage import Passage, Reply, response_of
from paygate_http.sandbox.paypal_cards import last4_in, read_source
from paygate_http.sandbox.paypal_desk import (
    FollowBody,
    OrderBody,
    PatchBody,
    PaymentBody,
    PayPalDesk,
)
from paygate_http.sandbox.paypal_errors import BAD, BROKEN, PayPalTrouble
from paygate_http.sandbox.paypal_objects import Json
from paygate_http.sandbox.paypal_records import Intent, Kept, Order, RefundNote
from paygate_http.sandbox.paypal_tokens import Tokens
from paygate_http.sandbox.paypal_views import Views
from paygate_http.sandbox.teller import Request
from paygate_http.sandbox.wire import ProviderId, Verb

Operation = Literal["prepare", "charge", "authorize", "capture", "void", "refund"]
_Act = Callable[[bytes, Request, Strike | None], Order | RefundNote]
_Show = Callable[[Order], Json]

_OK: Final = 200
_CREATED: Final = 201
_NO_CONTENT: Final = 204
_CONFLICT: Final = 409
_FULL: Final = 503
_KEY_CHARS_MAX: Final = 108

_decode_order = msgspec.json.Decoder(OrderBody).decode
_decode_payment = msgspec.json.Decoder(PaymentBody).decode
_decode_changes = msgspec.json.Decoder(tuple[PatchBody, ...]).decode
_decode_follow = msgspec.json.Decoder(FollowBody).decode
_Body = TypeVar("_Body")


class PayPalCalls:
    """Handlers of what changes something."""

    def __init__(
        self,
        *,
        provider: ProviderId,
        books: Books,
        passage: Passage,
        notices: Notices,
        desk: PayPalDesk,
        views: Views,
        tokens: Tokens,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._passage = passage
        self._notices = notices
        self._desk = desk
        self._views = views
        self._tokens = tokens
        self._clock = clock
        self._ids = ids
        self._in_progress: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes to add to the sandbox's application."""
        orders, payments = "/v2/checkout/orders", "/v2/payments"
        return [
            web.post(orders, self._create),
            web.patch(orders + "/{id}", self._change),
            web.post(orders + "/{id}/capture", self._pay("CAPTURE")),
            web.post(orders + "/{id}/authorize", self._pay("AUTHORIZE")),
            web.post(payments + "/authorizations/{id}/capture", self._capture),
            web.post(payments + "/authorizations/{id}/void", self._void),
            web.post(payments + "/captures/{id}/refund", self._refund),
        ]

    async def _create(self, request: web.Request) -> web.StreamResponse:
        return await self._call(
            request,
            "prepare",
            lambda raw, _call, _strike: self._desk.create(_read(_decode_order, raw)),
            lambda order: self._views.of(order).order_json(),
        )

    async def _change(self, request: web.Request) -> web.StreamResponse:
        def act(raw: bytes, _call: Request, _strike: Strike | None) -> Order:
            order = self._desk.order(request.match_info["id"])
            self._desk.change(order, _read(_decode_changes, raw))
            return order

        return await self._call(request, "prepare", act, None)

    def _pay(self, intent: Intent) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            def act(raw: bytes, call: Request, strike: Strike | None) -> Order:
                order = self._desk.order(request.match_info["id"])
                source = read_source(_read(_decode_payment, raw or b"{}").payment_source)
                self._desk.pay(order, intent, source, call, strike)
                return order

            return await self._call(
                request,
                "charge" if intent == "CAPTURE" else "authorize",
                act,
                lambda order: self._views.of(order).order_json(),
            )

        return handle

    async def _capture(self, request: web.Request) -> web.StreamResponse:
        def act(raw: bytes, call: Request, strike: Strike | None) -> Order:
            order = self._desk.order_of(request.match_info["id"], "hold")
            self._desk.capture(order, _read(_decode_follow, raw or b"{}"), call, strike)
            return order

        return await self._call(
            request, "capture", act, lambda order: self._views.of(order).capture_alone()
        )

    async def _void(self, request: web.Request) -> web.StreamResponse:
        def act(_raw: bytes, call: Request, strike: Strike | None) -> Order:
            order = self._desk.order_of(request.match_info["id"], "hold")
            self._desk.void(order, call, strike)
            return order

        wanted = "representation" in request.headers.get("Prefer", "")
        show: _Show = lambda order: self._views.of(order).hold_alone()  # noqa: E731 - one of two
        return await self._call(request, "void", act, show if wanted else None)

    async def _refund(self, request: web.Request) -> web.StreamResponse:
        def act(raw: bytes, call: Request, strike: Strike | None) -> RefundNote:
            order = self._desk.order_of(request.match_info["id"], "capture")
            return self._desk.refund(order, _read(_decode_follow, raw or b"{}"), call, strike)

        return await self._call(request, "refund", act, None)

    async def _call(
        self, request: web.Request, operation: Operation, act: _Act, show: _Show | None
    ) -> web.StreamResponse:
        raw = await request.read()
        key = request.headers.get("PayPal-Request-Id")
        try:
            self._tokens.check(request)
            _check(request, key)
        except PayPalTrouble as error:
            return response_of(Reply(error.status, error.body))
        # A call without a request id is done as often as it is sent.
        call = Request(
            provider=self._provider,
            key=key or self._ids.new("req"),
            verb=_verb(operation),
            params_digest=b"",
        )
        replay = self._kept(call.key) is not None or call.key in self._in_progress
        strike, entry = self._passage.begin(
            self._provider, operation, key, replay=replay, card=last4_in(raw)
        )
        return await self._passage.carry(
            request,
            (strike, entry),
            lambda: self._keyed(request.path, call, lambda: act(raw, call, strike), show, strike),
        )

    async def _keyed(
        self,
        path: str,
        call: Request,
        act: Callable[[], Order | RefundNote],
        show: _Show | None,
        strike: Strike | None,
    ) -> Reply:
        if call.key in self._in_progress:
            return _refused(PayPalTrouble(_CONFLICT, "PREVIOUS_REQUEST_IN_PROGRESS"))
        if self._books.paypal.is_full():
            return _refused(PayPalTrouble(_FULL))
        self._in_progress.add(call.key)
        try:
            await self._passage.latency(strike)
            known = self._kept(call.key)
            if known is not None and known.path == path:
                return self._again(known, show)
            reply = self._done(path, call, act, show)
            # Written here and not only before the answer: a hang may keep the answer for long.
            await self._books.flush()
        finally:
            self._in_progress.discard(call.key)
        await self._notices.send_urgent(call.provider, call.key)
        return reply

    def _done(
        self,
        path: str,
        call: Request,
        act: Callable[[], Order | RefundNote],
        show: _Show | None,
    ) -> Reply:
        kept = Kept(key=call.key, path=path, created_at_us=self._clock.now_us())
        try:
            done = act()
        except PayPalTrouble as trouble:
            if trouble.status == BROKEN:
                kept.broken = True
                self._books.paypal.keep(kept)
            return _refused(trouble)
        kept.order_id = done.id if isinstance(done, Order) else done.order_id
        kept.refund_id = done.id if isinstance(done, RefundNote) else ""
        self._books.paypal.keep(kept)
        # A void makes nothing that was not there.
        return self._shown(kept, show, status=_OK if path.endswith("/void") else _CREATED)

    def _again(self, known: Kept, show: _Show | None) -> Reply:
        if known.broken:
            return _refused(PayPalTrouble(BROKEN))
        return self._shown(known, show, status=_OK)

    def _shown(self, kept: Kept, show: _Show | None, *, status: int) -> Reply:
        order = self._desk.order(kept.order_id)
        if kept.refund_id:
            note = self._books.paypal.refunds[kept.refund_id]
            operation = self._views.operation(note.key)
            content = self._views.of(order).refund_json(note, operation)
        elif show is None:
            return Reply(_NO_CONTENT, b"")
        else:
            content = show(order)
        return Reply(status, msgspec.json.encode(content))

    def _kept(self, key: str) -> Kept | None:
        return self._books.paypal.kept(key, now_us=self._clock.now_us())


def _check(request: web.Request, key: str | None) -> None:
    if key is not None and not 1 <= len(key) <= _KEY_CHARS_MAX:
        raise PayPalTrouble(BAD, "INVALID_STRING_LENGTH", field="PayPal-Request-Id")
    if request.can_read_body and request.content_type != "application/json":
        raise PayPalTrouble(BAD, "MALFORMED_REQUEST_JSON")


def _read(decode: Callable[[bytes], _Body], raw: bytes) -> _Body:
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        # The name of the field stands in it, and never its value.
        raise PayPalTrouble(BAD, "INVALID_PARAMETER_SYNTAX", description=str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayPalTrouble(BAD, "MALFORMED_REQUEST_JSON") from error


def _verb(operation: Operation) -> Verb:
    return "charge" if operation == "prepare" else operation


def _refused(trouble: PayPalTrouble) -> Reply:
    return Reply(trouble.status, trouble.body)
