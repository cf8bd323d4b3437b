"""The provider's own routes: idempotency keys and look-ups.

Inside of its `passage`, a call looks at its key, the latency passes, the teller acts, and the books
are written.
"""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from aiohttp import web

from paygate_engine.clock import Clock
from paygate_http.sandbox.answers import BAD_REQUEST, CONFLICT, NOT_FOUND, OK, finding_of
from paygate_http.sandbox.books import Books, account
from paygate_http.sandbox.faults import Strike
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.passage import Passage, Reply, response_of
from paygate_http.sandbox.records import Operation
from paygate_http.sandbox.teller import Refused, Request, Teller
from paygate_http.sandbox.wire import (
    ProviderId,
    Verb,
    decode_charge,
    decode_follow_up,
    is_key,
    trouble,
)


class Calls:
    """Handlers of `/providers/{provider}/...` and `/operations/{key}`."""

    def __init__(
        self,
        *,
        books: Books,
        passage: Passage,
        notices: Notices,
        teller: Teller,
        clock: Clock,
        url: str,
    ) -> None:
        self._books = books
        self._passage = passage
        self._notices = notices
        self._teller = teller
        self._clock = clock
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
            card=body.card.number[-4:] if body.card is not None else None,
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
        *,
        card: str | None = None,
    ) -> web.StreamResponse:
        provider = account(request.match_info["provider"])
        key = request.headers.get("Idempotency-Key", "")
        if provider is None:
            return response_of(Reply(NOT_FOUND, trouble("not_found", "There is no such account.")))
        if not is_key(key):
            message = "An Idempotency-Key of 1 to 255 visible ASCII characters is required."
            return response_of(Reply(BAD_REQUEST, trouble("idempotency_key_missing", message)))
        canonical = msgspec.json.encode(msgspec.json.decode(raw), order="deterministic")
        call = Request(
            provider=provider,
            key=key,
            verb=verb,
            params_digest=self._books.digest(verb.encode(), canonical),
        )
        known = self._remembered(provider, key)
        replay = known is not None or (provider, key) in self._in_progress
        strike, entry = self._passage.begin(provider, verb, key, replay=replay, card=card)
        return await self._passage.carry(
            request, (strike, entry), lambda: self._keyed(call, act, strike)
        )

    async def _keyed(
        self,
        call: Request,
        act: Callable[[Request, Strike | None], Operation | Refused],
        strike: Strike | None,
    ) -> Reply:
        known = self._remembered(call.provider, call.key)
        if known is not None:
            await self._passage.latency(strike)
            return _replayed(known, call)
        slot = (call.provider, call.key)
        if slot in self._in_progress:
            message = "The first request with this key is still being worked on."
            return Reply(CONFLICT, trouble("idempotency_in_progress", message))
        self._in_progress.add(slot)
        try:
            await self._passage.latency(strike)
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
        # Asked again then: it may have become visible while the latency passed.
        return await self._passage.look(
            request, provider, key, lambda: self._finding(self._operation(named, key))
        )

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

    async def _malformed(
        self, request: web.Request, operation: str, error: msgspec.DecodeError
    ) -> web.StreamResponse:
        key = request.headers.get("Idempotency-Key")
        entry = self._passage.note(request.match_info["provider"], operation, key)
        # msgspec names the field and the rule, never the value: no card number can come back.
        reply = Reply(BAD_REQUEST, trouble("invalid_request", str(error)))
        return await self._passage.send(request, reply, entry)


def _replayed(known: Operation, call: Request) -> Reply:
    if known.params_digest != call.params_digest:
        message = "The key was used before with other parameters."
        return Reply(BAD_REQUEST, trouble("idempotency_error", message))
    return Reply(known.answer_status, known.answer)
