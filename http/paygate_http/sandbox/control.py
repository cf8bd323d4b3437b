"""The control routes: what tests and people do to the sandbox. They answer 200 where they did it.

None of them is a provider's call: none appears in `/calls`, none suffers a fault.
"""

import re
from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from paygate_http.sandbox.answers import BAD_REQUEST, CONFLICT, NOT_FOUND
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.fault_plan import read_plan
from paygate_http.sandbox.faults import DELAY_MS_MAX, Faults, FaultsRefused
from paygate_http.sandbox.later import Later, NotNow
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.page import page
from paygate_http.sandbox.paypal_payers import PayPalPayers
from paygate_http.sandbox.records import Charge
from paygate_http.sandbox.schedule import Schedule
from paygate_http.sandbox.streaming import stream
from paygate_http.sandbox.wire import Wire, trouble

_SEE_OTHER = 303
_WEB_URL = re.compile(r"https?://[!-~]+")


class _GatewayBody(Wire, frozen=True, kw_only=True):
    url: Annotated[str, Meta(max_length=2_000)]


class _DisputeBody(Wire, frozen=True, kw_only=True):
    outcome: Literal["won", "lost"]


class _ReturnBody(Wire, frozen=True, kw_only=True):
    provider_txn_id: str
    amount_minor: Annotated[int, Meta(gt=0)] | None = None


class _HastenBody(Wire, frozen=True, kw_only=True):
    after_ms: Annotated[int, Meta(ge=0, le=DELAY_MS_MAX)] = 0
    within_ms: Annotated[int, Meta(ge=0, le=DELAY_MS_MAX)] = 0


class _Data(Struct):
    data: object


class Control:
    """Handlers of everything that is no provider's call."""

    def __init__(
        self,
        *,
        books: Books,
        faults: Faults,
        later: Later,
        notices: Notices,
        schedule: Schedule,
        payers: PayPalPayers,
    ) -> None:
        self._books = books
        self._faults = faults
        self._later = later
        self._notices = notices
        self._schedule = schedule
        self._payers = payers

    def routes(self) -> list[web.RouteDef]:
        """Give the routes to add to the sandbox's application."""
        return [
            web.get("/healthz", self._health),
            web.get("/ledger", self._ledger),
            web.get("/calls", self._calls),
            web.get("/faults", self._standing_faults),
            web.post("/faults", self._plan_fault),
            web.delete("/faults", self._clear_faults),
            web.post("/reset", self._reset),
            web.get("/gateway", self._registered),
            web.post("/gateway", self._register),
            web.get("/webhooks/stream", self._stream),
            web.post("/disputes/{id}/close", self._close_dispute),
            web.post("/returns", self._give_back),
            web.post("/pending/end", self._end_pending),
            web.get("/actions/{id}", self._page),
            web.post("/actions/{id}/complete", self._complete),
            web.post("/actions/{id}/fail", self._fail),
            web.post("/actions/{id}/expire", self._expire),
        ]

    async def _health(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _ledger(self, _request: web.Request) -> web.Response:
        await self._books.flush()
        return _json(_Data(self._books.ledger))

    async def _calls(self, _request: web.Request) -> web.Response:
        return _json(_Data([line for _, line in self._books.calls]))

    async def _standing_faults(self, _request: web.Request) -> web.Response:
        return _json(_Data(self._faults.standing()))

    async def _plan_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.plan_all(read_plan(await request.read()))
        except FaultsRefused as error:
            return _json(trouble("invalid_fault", str(error)), BAD_REQUEST)
        return _json(_Data(self._faults.standing()))

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return _json(_Data([]))

    async def _reset(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        self._schedule.clear()
        self._notices.clear()
        await self._books.clear()
        return _json({"status": "ok"})

    async def _register(self, request: web.Request) -> web.Response:
        try:
            url = msgspec.json.decode(await request.read(), type=_GatewayBody).url
            parts = urlsplit(url)
        except ValueError as error:
            return _json(trouble("invalid_request", str(error)), BAD_REQUEST)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            message = "The url must be http://HOST:PORT or https://HOST:PORT."
            return _json(trouble("invalid_request", message), BAD_REQUEST)
        self._books.settings.gateway_url = url.rstrip("/")
        self._books.keep_settings()
        await self._books.flush()
        return _json({"url": self._books.settings.gateway_url})

    async def _registered(self, _request: web.Request) -> web.Response:
        return _json({"url": self._books.settings.gateway_url})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        return await stream(request, self._notices.listeners)

    async def _close_dispute(self, request: web.Request) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read(), type=_DisputeBody)
        except msgspec.DecodeError as error:
            return _json(trouble("invalid_request", str(error)), BAD_REQUEST)
        charge = self._books.charges.get(request.match_info["id"])
        if charge is None:
            return _unknown()
        try:
            self._later.close_dispute(charge, body.outcome)
        except NotNow as error:
            return _json(trouble("not_now", str(error)), CONFLICT)
        await self._books.flush()
        return _json(_state(charge))

    async def _give_back(self, request: web.Request) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read(), type=_ReturnBody)
        except msgspec.DecodeError as error:
            return _json(trouble("invalid_request", str(error)), BAD_REQUEST)
        charge = self._books.charges.get(body.provider_txn_id)
        if charge is None:
            return _unknown()
        try:
            amount_minor = body.amount_minor or charge.captured_minor - charge.refunded_minor
            refund_id = self._later.give_back(charge, amount_minor)
        except NotNow as error:
            return _json(trouble("not_now", str(error)), CONFLICT)
        await self._books.flush()
        return _json({"id": refund_id, "amountMinor": amount_minor, "currency": charge.currency})

    async def _end_pending(self, request: web.Request) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read() or b"{}", type=_HastenBody)
        except msgspec.DecodeError as error:
            return _json(trouble("invalid_request", str(error)), BAD_REQUEST)
        count = self._later.hasten(after_us=body.after_ms * 1_000, within_us=body.within_ms * 1_000)
        await self._books.flush()
        return _json({"ending": count})

    async def _page(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        charge = self._books.charges.get(id_) or self._payers.shown(id_)
        if charge is None:
            return _unknown()
        return web.Response(text=page(charge), content_type="text/html")

    async def _complete(self, request: web.Request) -> web.Response:
        return await self._act(request, self._later.complete, self._payers.approve)

    async def _fail(self, request: web.Request) -> web.Response:
        return await self._act(request, self._later.fail, self._payers.refuse)

    async def _expire(self, request: web.Request) -> web.Response:
        return await self._act(request, self._later.expire, self._payers.expire)

    async def _act(
        self,
        request: web.Request,
        act: Callable[[Charge], None],
        answer: Callable[[Charge], None],
    ) -> web.Response:
        id_ = request.match_info["id"]
        charge = self._books.charges.get(id_)
        if charge is None:
            # An order that nobody has paid for is no charge yet, and may have a payer.
            charge, act = self._payers.shown(id_), answer
        if charge is None:
            return _unknown()
        try:
            act(charge)
        except NotNow as error:
            return _json(trouble("not_now", str(error)), CONFLICT)
        await self._books.flush()
        if request.content_type == "application/x-www-form-urlencoded":
            # A person pressed a button on our page: back to the shop.
            return web.Response(status=_SEE_OTHER, headers={"Location": _way_back(charge)})
        return _json(_state(charge))


def _way_back(charge: Charge) -> str:
    # The caller's text goes into a header and a browser: only what is plainly a URL does.
    url = charge.return_url
    if url is not None and _WEB_URL.fullmatch(url):
        # Adyen's payers bring something back, which the shop hands on.
        brings = charge.provider == "sandbox_adyen"
        return f"{url}{'&' if '?' in url else '?'}redirectResult={charge.id}" if brings else url
    return f"/actions/{charge.id}"


def _state(charge: Charge) -> dict[str, object]:
    return {"id": charge.id, "status": charge.status, "dispute": charge.dispute}


def _json(content: object, status: int = 200) -> web.Response:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return web.Response(status=status, body=body, content_type="application/json")


def _unknown() -> web.Response:
    return _json(trouble("not_found", "There is no such charge."), NOT_FOUND)
