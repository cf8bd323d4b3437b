"""The routes of the account that speaks Stripe's API: keys, idempotency, look-ups.

The order of things in a call is that of `passage`; inside of it the key is looked at, the latency
passes, the desk acts, and the answer is kept under the key before it goes out.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from aiohttp import web

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.passage import Passage, Reply, response_of
from paygate_http.sandbox.stripe_desk import StripeDesk
from paygate_http.sandbox.stripe_errors import StripeTrouble
from paygate_http.sandbox.stripe_form import Fields, FormInvalid, decode_form, text
from paygate_http.sandbox.stripe_methods import Methods
from paygate_http.sandbox.stripe_objects import Json, method_json
from paygate_http.sandbox.stripe_presence import CONFIRMING
from paygate_http.sandbox.stripe_records import Kept
from paygate_http.sandbox.teller import Request
from paygate_http.sandbox.wire import ProviderId, Verb, is_key

SECRET_KEY: Final = "sk_test_paygate_sandbox"  # noqa: S105 - public: the documents print it
"""What the sandbox takes for Stripe's secret key."""

Operation = Literal["prepare", "charge", "authorize", "capture", "void", "refund"]
_Act = Callable[[Fields, Request, Strike | None], Json]

_OK: Final = 200
_BAD: Final = 400
_UNAUTHORIZED: Final = 401
_IN_USE: Final = 409
_FULL: Final = 503


class StripeCalls:
    """Handlers of Stripe's POST routes."""

    def __init__(
        self,
        *,
        provider: ProviderId,
        books: Books,
        passage: Passage,
        notices: Notices,
        desk: StripeDesk,
        methods: Methods,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._provider: ProviderId = provider
        self._books = books
        self._passage = passage
        self._notices = notices
        self._desk = desk
        self._methods = methods
        self._clock = clock
        self._ids = ids
        self._in_progress: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes to add to the sandbox's application."""
        return [
            web.post("/v1/payment_methods", self._keep_card),
            web.post("/v1/payment_intents", self._create),
            web.post("/v1/payment_intents/{id}/confirm", self._confirm),
            web.post("/v1/payment_intents/{id}/capture", self._capture),
            web.post("/v1/payment_intents/{id}/cancel", self._cancel),
            web.post("/v1/refunds", self._refund),
        ]

    async def _keep_card(self, request: web.Request) -> web.StreamResponse:
        return await self._call(
            request,
            lambda _: "prepare",
            lambda fields, _call, _strike: method_json(self._methods.make(fields)),
        )

    async def _create(self, request: web.Request) -> web.StreamResponse:
        def act(fields: Fields, call: Request, strike: Strike | None) -> Json:
            intent = self._desk.create(fields)
            if text(fields, "confirm") == "true":
                # The method is the intent's by now; what was sent with it is not read again.
                rest = {name: fields[name] for name in CONFIRMING if name in fields}
                return self._desk.confirm(intent, rest, call, strike)
            return self._desk.render(intent)

        def verb(fields: Fields) -> Operation:
            if text(fields, "confirm") != "true":
                return "prepare"
            return "authorize" if text(fields, "capture_method") == "manual" else "charge"

        return await self._call(request, verb, act)

    async def _confirm(self, request: web.Request) -> web.StreamResponse:
        id_ = request.match_info["id"]

        def verb(_fields: Fields) -> Operation:
            intent = self._books.stripe.intents.get(id_)
            manual = intent is not None and intent.capture_method == "manual"
            return "authorize" if manual else "charge"

        return await self._call(
            request,
            verb,
            lambda fields, call, strike: self._desk.confirm(
                self._desk.intent(id_), fields, call, strike
            ),
        )

    async def _capture(self, request: web.Request) -> web.StreamResponse:
        id_ = request.match_info["id"]
        return await self._call(
            request,
            lambda _: "capture",
            lambda fields, call, strike: self._desk.capture(
                self._desk.intent(id_), fields, call, strike
            ),
        )

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        id_ = request.match_info["id"]
        return await self._call(
            request,
            lambda _: "void",
            lambda fields, call, strike: self._desk.cancel(
                self._desk.intent(id_), fields, call, strike
            ),
        )

    async def _refund(self, request: web.Request) -> web.StreamResponse:
        return await self._call(request, lambda _: "refund", self._desk.refund)

    async def _call(
        self, request: web.Request, operation_of: Callable[[Fields], Operation], act: _Act
    ) -> web.StreamResponse:
        raw = await request.read()
        key = request.headers.get("Idempotency-Key")
        try:
            authorise(request)
            fields = decode_form(raw)
            _check_key(key)
        except (StripeTrouble, FormInvalid) as error:
            return response_of(_refused(error))
        operation = operation_of(fields)
        # A call without a key is done as often as it is sent.
        call = Request(
            provider=self._provider,
            key=key or self._ids.new("req"),
            verb=_verb(operation),
            params_digest=self._books.digest(
                request.path.encode(), msgspec.json.encode(fields, order="deterministic")
            ),
        )
        known = self._kept(call.key)
        replay = known is not None or call.key in self._in_progress
        strike, entry = self._passage.begin(
            self._provider, operation, key, replay=replay, card=self._methods.last4(fields)
        )
        return await self._passage.carry(
            request,
            (strike, entry),
            lambda: self._keyed(call, lambda: act(fields, call, strike), strike),
        )

    async def _keyed(self, call: Request, act: Callable[[], Json], strike: Strike | None) -> Reply:
        known = self._kept(call.key)
        if known is not None:
            await self._passage.latency(strike)
            return _replayed(known, call)
        if call.key in self._in_progress:
            message = "There is currently another in-progress request using this idempotency key."
            trouble = StripeTrouble(_IN_USE, message, code="idempotency_key_in_use")
            return _refused(trouble)
        if self._books.stripe.is_full():
            message = "The books are full: POST /reset."
            return _refused(StripeTrouble(_FULL, message, type_="api_error"))
        self._in_progress.add(call.key)
        try:
            await self._passage.latency(strike)
            reply = self._done(call, act)
            # Written here and not only before the answer: a hang may keep the answer for long.
            await self._books.flush()
        finally:
            self._in_progress.discard(call.key)
        await self._notices.send_urgent(call.provider, call.key)
        return reply

    def _done(self, call: Request, act: Callable[[], Json]) -> Reply:
        try:
            reply = Reply(_OK, msgspec.json.encode(act()))
        except StripeTrouble as trouble:
            reply = _refused(trouble)
            if not trouble.kept:
                return reply
        self._books.stripe.keep(
            Kept(
                key=call.key,
                digest=call.params_digest,
                status=reply.status,
                body=reply.body,
                created_at_us=self._clock.now_us(),
            )
        )
        return reply

    def _kept(self, key: str) -> Kept | None:
        return self._books.stripe.answer(key, now_us=self._clock.now_us())


def authorise(request: web.Request) -> None:
    """Check the secret key, as a bearer's or as the user of basic authentication.

    Raises `StripeTrouble`, with a 401.
    """
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            given = ""
    if given != SECRET_KEY:
        raise StripeTrouble(_UNAUTHORIZED, "Invalid API key provided.")


def _check_key(key: str | None) -> None:
    if key is not None and not is_key(key):
        raise StripeTrouble(_BAD, "The idempotency key is not 1 to 255 visible characters.")


def _verb(operation: Operation) -> Verb:
    return "charge" if operation == "prepare" else operation


def _replayed(known: Kept, call: Request) -> Reply:
    if known.digest != call.params_digest:
        message = (
            "Keys for idempotent requests can only be used with the same parameters they were"
            " first used with."
        )
        return _refused(StripeTrouble(_BAD, message, type_="idempotency_error"))
    return Reply(known.status, known.body, headers=(("Idempotent-Replayed", "true"),))


def _refused(error: StripeTrouble | FormInvalid) -> Reply:
    trouble = error if isinstance(error, StripeTrouble) else StripeTrouble(_BAD, str(error))
    return Reply(trouble.status, trouble.body)
