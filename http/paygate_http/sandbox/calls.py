"""The provider's own routes: idempotency keys, latency, faults around the effect, look-ups.

The order of things in a call: it is written down, its fault is drawn, the key is looked at, the
latency passes, the teller acts, the books are written, the answer goes out (or does not).
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from paygate_engine.clock import Clock
from paygate_http.sandbox.answers import (
    BAD_REQUEST,
    BROKEN,
    CONFLICT,
    NOT_FOUND,
    OK,
    TOO_MANY,
    finding_of,
)
from paygate_http.sandbox.books import Books, account
from paygate_http.sandbox.faults import Faults, Strike
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.records import CallLine, Operation
from paygate_http.sandbox.teller import Refused, Request, Teller
from paygate_http.sandbox.wire import (
    ProviderId,
    Verb,
    decode_charge,
    decode_follow_up,
    is_key,
    trouble,
)

_GARBAGE = b'\x00\xff{"status": "succ<html>'
_RETRY_AFTER_S = 1


class Reply(Struct, frozen=True):
    """An answer to be sent."""

    status: int
    body: bytes
    retry_after_s: int | None = None


class Cut(Struct, frozen=True):
    """No answer: the connection is reset."""


Outgoing = Reply | Cut


class Calls:
    """Handlers of `/providers/{provider}/...` and `/operations/{key}`."""

    def __init__(
        self,
        *,
        books: Books,
        faults: Faults,
        notices: Notices,
        teller: Teller,
        clock: Clock,
        latency_s: float,
        url: str,
    ) -> None:
        self._books = books
        self._faults = faults
        self._notices = notices
        self._teller = teller
        self._clock = clock
        self._latency_s = latency_s
        self._url = url
        self._in_progress: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes to add to the sandbox's application."""
        return [
            web.post("/providers/{provider}/charges", self._charge),
            web.post("/providers/{provider}/captures", self._follow_up("capture")),
            web.post("/providers/{provider}/voids", self._follow_up("void")),
            web.post("/providers/{provider}/refunds", self._follow_up("refund")),
            web.get("/providers/{provider}/operations/{key}", self._find),
            web.get("/operations/{key}", self._find),
        ]

    async def _charge(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = decode_charge(raw)
        except msgspec.DecodeError as error:
            return await self._malformed(request, "charge", error)
        return await self._call(
            request,
            "charge" if body.capture else "authorize",
            raw,
            lambda call, strike: self._teller.charge(call, body, strike),
        )

    def _follow_up(
        self, verb: Literal["capture", "void", "refund"]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            try:
                body = decode_follow_up(raw)
            except msgspec.DecodeError as error:
                return await self._malformed(request, verb, error)
            return await self._call(
                request, verb, raw, lambda call, strike: self._teller.follow_up(call, body, strike)
            )

        return handle

    async def _call(
        self,
        request: web.Request,
        verb: Verb,
        raw: bytes,
        act: Callable[[Request, Strike | None], Operation | Refused],
    ) -> web.StreamResponse:
        provider = account(request.match_info["provider"])
        key = request.headers.get("Idempotency-Key", "")
        if provider is None:
            return _response(Reply(NOT_FOUND, trouble("not_found", "There is no such account.")))
        if not is_key(key):
            message = "An Idempotency-Key of 1 to 255 visible ASCII characters is required."
            return _response(Reply(BAD_REQUEST, trouble("idempotency_key_missing", message)))
        canonical = msgspec.json.encode(msgspec.json.decode(raw), order="deterministic")
        call = Request(
            provider=provider,
            key=key,
            verb=verb,
            params_digest=self._books.digest(verb.encode(), canonical),
        )
        known = self._remembered(provider, key)
        replay = known is not None or (provider, key) in self._in_progress
        strike = self._faults.on_call(provider, verb, replay=replay)
        entry = self._begin(provider, verb, key, strike)
        outgoing = await self._before(strike)
        if outgoing is None:
            outgoing = await self._keyed(call, act, strike)
            outgoing = await self._after(strike, outgoing)
        return await self._send(request, outgoing, entry)

    async def _keyed(
        self,
        call: Request,
        act: Callable[[Request, Strike | None], Operation | Refused],
        strike: Strike | None,
    ) -> Reply:
        known = self._remembered(call.provider, call.key)
        if known is not None:
            await self._latency(strike)
            return _replayed(known, call)
        slot = (call.provider, call.key)
        if slot in self._in_progress:
            message = "The first request with this key is still being worked on."
            return Reply(CONFLICT, trouble("idempotency_in_progress", message))
        self._in_progress.add(slot)
        try:
            await self._latency(strike)
            done = act(call, strike)
            # Written here and not only before the answer: a hang may keep the answer for long.
            await self._books.flush()
        finally:
            self._in_progress.discard(slot)
        if isinstance(done, Refused):
            return Reply(done.status, done.body)
        await self._notices.send_urgent(call.provider, call.key)
        return Reply(done.answer_status, done.answer)

    async def _find(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"]
        named = request.match_info.get("provider") or request.query.get("provider")
        operation = self._operation(named, key)
        provider = named or (operation.provider if operation is not None else "sandbox")
        strike = self._faults.on_call(provider, "find", replay=True)
        entry = self._begin(provider, "find", key, strike)
        outgoing = await self._before(strike)
        if outgoing is None:
            await self._latency(strike)
            # Asked again: it may have become visible while the latency passed.
            outgoing = await self._after(strike, self._finding(self._operation(named, key)))
        return await self._send(request, outgoing, entry)

    def _operation(self, named: str | None, key: str) -> Operation | None:
        if named is not None:
            return self._books.find(named, key)
        return self._books.find("sandbox", key) or self._books.find("sandbox_backup", key)

    def _finding(self, operation: Operation | None) -> Reply:
        if operation is None or operation.visible_at_us > self._clock.now_us():
            return Reply(NOT_FOUND, trouble("not_found", "Nothing is visible under this key."))
        charge = self._books.charges.get(operation.charge_id)
        return Reply(OK, finding_of(operation, charge, url=self._url))

    def _remembered(self, provider: ProviderId, key: str) -> Operation | None:
        return self._books.remembered(provider, key, now_us=self._clock.now_us())

    async def _before(self, strike: Strike | None) -> Outgoing | None:
        match strike.fault if strike is not None else None:
            case "reset_before_effect":
                return Cut()
            case "hang_before_effect":
                # Held up on its way to the provider's books: the key stays fresh meanwhile.
                await _sleep(strike)
                return Cut()
            case "error_500":
                await self._latency(None)
                return Reply(BROKEN, trouble("api_error", "Something went wrong."))
            case "too_many_requests":
                body = trouble("too_many_requests", "Too many requests: try again later.")
                return Reply(TOO_MANY, body, _RETRY_AFTER_S)
            case _:
                return None

    async def _after(self, strike: Strike | None, reply: Reply) -> Outgoing:
        match strike.fault if strike is not None else None:
            case "reset_after_effect":
                return Cut()
            case "hang_after_effect":
                await _sleep(strike)
                return Cut()
            case "garbage":
                return Reply(OK, _GARBAGE)
            case _:
                return reply

    async def _latency(self, strike: Strike | None) -> None:
        if strike is not None and strike.fault == "hang_after_effect":
            return
        slow_s = strike.delay_ms / 1_000 if strike is not None and strike.fault == "slow" else 0.0
        if self._latency_s + slow_s > 0:
            await asyncio.sleep(self._latency_s + slow_s)

    def _begin(
        self, provider: str, operation: str, key: str | None, strike: Strike | None
    ) -> tuple[int, CallLine]:
        entry = self._books.begin_call(
            provider=provider, operation=operation, key=key, at_us=self._clock.now_us()
        )
        entry[1].fault = strike.fault if strike is not None else None
        return entry

    async def _malformed(
        self, request: web.Request, operation: str, error: msgspec.DecodeError
    ) -> web.StreamResponse:
        key = request.headers.get("Idempotency-Key")
        entry = self._begin(request.match_info["provider"], operation, key, None)
        # msgspec names the field and the rule, never the value: no card number can come back.
        reply = Reply(BAD_REQUEST, trouble("invalid_request", str(error)))
        return await self._send(request, reply, entry)

    async def _send(
        self, request: web.Request, outgoing: Outgoing, entry: tuple[int, CallLine]
    ) -> web.StreamResponse:
        if isinstance(outgoing, Reply):
            entry[1].answer = outgoing.status
        self._books.end_call(entry)
        await self._books.flush()
        if isinstance(outgoing, Cut):
            _reset(request)
            return web.Response(status=BROKEN)
        return _response(outgoing)


def _replayed(known: Operation, call: Request) -> Reply:
    if known.params_digest != call.params_digest:
        message = "The key was used before with other parameters."
        return Reply(BAD_REQUEST, trouble("idempotency_error", message))
    return Reply(known.answer_status, known.answer)


def _response(reply: Reply) -> web.Response:
    response = web.Response(status=reply.status, body=reply.body, content_type="application/json")
    if reply.retry_after_s is not None:
        response.headers["Retry-After"] = str(reply.retry_after_s)
    return response


def _reset(request: web.Request) -> None:
    """Break the connection as a crashed server does: the peer's next read fails with a reset."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # Linger of zero seconds: closing sends RST instead of an orderly end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _sleep(strike: Strike | None) -> None:
    if strike is not None:
        await asyncio.sleep(strike.delay_ms / 1_000)
