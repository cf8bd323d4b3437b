"""The edge: what happens to every request, whatever it asks for.

In this order: readiness, key, role, rate, admission; then the handler, which reads the body. All
of it under one middleware, so that a request that no route matches is answered, counted and given
its id as all others are.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from aiohttp import web
from multidict import MultiMapping

from paygate_actors.guarding import QUARANTINED
from paygate_actors.messages import Caller
from paygate_engine.errors import (
    AskTimeout,
    Corrupt,
    EngineError,
    Overloaded,
    StoreFailed,
    StoreFull,
)
from paygate_http.auth import Keys, check_role
from paygate_http.incoming import ArrivedRequest, Incoming, ParsedRequest, Peer
from paygate_http.problems import Problem, render
from paygate_http.quick_reply import Answer, QuickReply, stamp
from paygate_http.rate import TokenBuckets
from paygate_http.requests import sane_request_id
from paygate_http.route import Call, Context, Route

Endpoint = Callable[[web.Request], Awaitable[Answer]]
# The same for a path that ends in an id, which comes second.
EndpointOfId = Callable[[web.Request, str], Awaitable[Answer]]
# For the id in a path, the headers, and whom the connection is to: the whole answer, or None.
AnswerAtOnceOfId = Callable[[str, MultiMapping[str], Peer], bytes | None]

# A key may use up this many seconds of its rate at once: shops send in bursts.
BURST_S: Final = 2.0

# Who calls a route that needs no key. The metrics role may do nothing that a handler does.
NOBODY: Final = Caller(role="metrics", merchant="", key_id="")

# What is counted for a client that went away: no status of HTTP's, but the usual one in logs.
_GONE: Final = 499

_log = structlog.stdlib.get_logger("paygate.http")
# Asked first, so that a line that nobody wants is not even made.
_traced = logging.getLogger("paygate.http")


class Edge:
    """The rules around all handlers of one application."""

    def __init__(self, context: Context, keys: Keys) -> None:
        self._context = context
        self._keys = keys
        self._routes: dict[Any, Route] = {}
        per_s = context.config.server.requests_per_key_per_s
        self._rates = (
            TokenBuckets(context.clock, per_s=per_s, burst=max(1.0, per_s * BURST_S))
            if per_s
            else None
        )

    @property
    def context(self) -> Context:
        """What all handlers share."""
        return self._context

    def endpoint(self, route: Route) -> Endpoint:
        """Make the route's handler what the server calls, behind the route's conditions."""

        async def serve(request: web.Request) -> Answer:
            return await self._serve(ArrivedRequest(request), route)

        self._routes[serve] = route
        return serve

    def direct(self, route: Route) -> Endpoint:
        """Make what the server calls where the path alone names the route: no router is asked."""

        def serve(request: web.Request) -> Awaitable[Answer]:
            return self.ask(ArrivedRequest(request), route)

        return serve

    def direct_of_id(self, route: Route, place: str) -> EndpointOfId:
        """Make the same for a path that ends in an id; `place` is the id's name in the route."""

        def serve(request: web.Request, of_id: str) -> Awaitable[Answer]:
            return self.ask(ArrivedRequest(request, path_ids={place: of_id}), route)

        return serve

    def direct_at_once(self, route: Route, place: str) -> AnswerAtOnceOfId:
        """Make the same for a GET without query and body that can be answered at once."""

        def answer(of_id: str, headers: MultiMapping[str], peer: Peer) -> bytes | None:
            return self.at_once(
                ParsedRequest(path_ids={place: of_id}, headers=headers, peer=peer), route
            )

        return answer

    async def guard(self, request: web.Request, handler: Endpoint) -> Answer:
        """Answer whatever happens, count it, and name it by its request id."""
        route = self._routes.get(request.match_info.handler)
        return await self._answered(ArrivedRequest(request), route, handler(request))

    def ask(self, request: Incoming, route: Route) -> Awaitable[Answer]:
        """Answer a request for this route, from a socket or handed over within the process."""
        return self._answered(request, route, self._serve(request, route))

    def at_once(self, request: Incoming, route: Route) -> bytes | None:
        """Answer such a request whole, head and all, where nothing need be waited for.

        None: `ask`. Nothing was counted, no token was taken, no id was given out: whatever is
        unusual or goes wrong comes up again there, and is answered and counted there, once.
        """
        started_s = self._context.clock.monotonic_s()
        try:
            answer = self._serve_at_once(request, route)
        except (Problem, EngineError):
            return None
        # No request is lost by what is wrong here alone; but nobody would hear of it.
        except Exception:  # noqa: BLE001 - see above
            _log.exception("not_at_once", route=route.path)
            return None
        if answer is None:
            return None
        request_id = sane_request_id(request) or self._context.request_ids()
        stamp(answer, request_id)
        # Nobody could see it in flight: nothing else ran meanwhile.
        self._count(request, route, answer.status, request_id=request_id, started_s=started_s)
        return answer.whole()

    def _serve_at_once(self, request: Incoming, route: Route) -> QuickReply | None:
        caller = self._known(request, route)
        if caller is None or route.at_once is None:
            return None
        self._let_in(caller, route)
        answer: QuickReply | None = None
        try:
            self._admit(route)
            found = route.at_once(Call(self._context, request, caller))
            answer = found if found is not None and found.is_usual() else None
        finally:
            if answer is None:
                self._give_back(caller, route)
        return answer

    async def _serve(self, request: Incoming, route: Route) -> Answer:
        caller = self._known(request, route) or await self._keys.caller(request)
        self._let_in(caller, route)
        self._admit(route)
        return await route.handler(Call(self._context, request, caller))

    def _known(self, request: Incoming, route: Route) -> Caller | None:
        """Name the caller where nobody need be asked. Raises `Problem`."""
        unready = None if route.always else self._context.front.readiness()
        if unready is not None:
            raise Problem("not_ready", unready)
        return NOBODY if route.access == "public" else self._keys.known(request)

    async def _answered(
        self, request: Incoming, route: Route | None, answering: Awaitable[Answer]
    ) -> Answer:
        metrics = self._context.metrics
        started_s = self._context.clock.monotonic_s()
        request_id = sane_request_id(request) or self._context.request_ids()
        status = _GONE
        metrics.in_flight += 1
        try:
            try:
                answer = await answering
            # The border: whatever a handler does wrong ends here, with an id to find it by.
            except Exception as error:  # noqa: BLE001 - see above
                answer = render(_problem_of(error, request_id, request.method), request_id)
            stamp(answer, request_id)
            status = answer.status
            return answer
        finally:
            metrics.in_flight -= 1
            self._count(request, route, status, request_id=request_id, started_s=started_s)

    def _count(
        self,
        request: Incoming,
        route: Route | None,
        status: int,
        *,
        request_id: str,
        started_s: float,
    ) -> None:
        template = "unmatched" if route is None else route.path
        seconds = self._context.clock.monotonic_s() - started_s
        self._context.metrics.observe(template, request.method, status, seconds)
        if _traced.isEnabledFor(logging.DEBUG):
            _log.debug(
                "answered",
                request_id=request_id,
                method=request.method,
                route=template,
                status=status,
                ms=round(seconds * 1_000, 3),
            )

    def _let_in(self, caller: Caller, route: Route) -> None:
        """Hold the caller against the route's conditions. Raises `Problem`, with nothing taken."""
        if route.access == "public":
            return
        check_role(caller, route.access)
        wait_s = 0.0 if self._rates is None else self._rates.take(caller.key_id)
        if wait_s:
            detail = "This API key has used up its rate."
            raise Problem("rate_limited", detail, retry_after_s=math.ceil(wait_s))

    def _give_back(self, caller: Caller, route: Route) -> None:
        """Undo `_let_in`."""
        if self._rates is not None and route.access != "public":
            self._rates.give_back(caller.key_id)

    def _admit(self, route: Route) -> None:
        refusal = self._context.front.admits() if route.admission else None
        if refusal is not None:
            raise Problem.of(refusal)


def _problem_of(error: Exception, request_id: str, method: str) -> Problem:
    match error:
        case Problem():
            return error
        case web.HTTPException():
            return _of_router(error)
        case Overloaded() | StoreFull():
            return Problem("overloaded", "Nothing was done. Try again later.")
        case Corrupt():
            return Problem.of(QUARANTINED)
        case StoreFailed() | AskTimeout():
            detail = "It may have been done. Ask again with the same key."
            return Problem("outcome_unknown", detail)
        case _:
            _log.exception("handler_failed", request_id=request_id, method=method)
            return Problem("internal_error", "It has been logged under the request's id.")


def _of_router(error: web.HTTPException) -> Problem:
    """Say what the router found: no such path, or not with this method."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"This route takes {allowed}."
        return Problem("method_not_allowed", detail, headers={"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return Problem("route_not_found", "See /openapi.json for the routes; none ends in a slash.")
    raise error
