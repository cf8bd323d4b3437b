"""Builds the application: the edge around every route of the table, with sockets or without."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from aiohttp import web

from paygate_actors.config import Config
from paygate_actors.front_protocol import Front
from paygate_actors.remembering import Remembered
from paygate_engine.clock import Clock
from paygate_http.auth import Keys
from paygate_http.edge import Edge
from paygate_http.metrics import Metrics
from paygate_http.openapi import build_document
from paygate_http.payments import shown
from paygate_http.route import Context
from paygate_http.routes import ROUTES
from paygate_http.shortcuts import Shortcuts

CONTEXT: Final = web.AppKey("context", Context)
SHORTCUTS: Final = web.AppKey("shortcuts", Shortcuts)
"""Past the router, for most requests."""


def make_edge(
    front: Front,
    config: Config,
    *,
    clock: Clock,
    sandbox_keys: bool,
    livemode: bool,
    request_ids: Callable[[], str],
) -> Edge:
    """Make what stands around the handlers; `request_ids` names requests whose callers did not.

    Raises `ValueError` where a live gateway would take the sandbox's public keys.
    """
    if livemode and sandbox_keys:
        raise ValueError("a live gateway must not take the sandbox's keys")
    context = Context(
        front=front,
        config=config,
        clock=clock,
        metrics=Metrics(front.gauges),
        document=_document(),
        request_ids=request_ids,
        shown=Remembered(shown),
    )
    keys = Keys(front.find_key, clock, pepper=config.api_key_pepper, sandbox_keys=sandbox_keys)
    return Edge(context, keys)


def make_app(
    front: Front,
    config: Config,
    *,
    clock: Clock,
    sandbox_keys: bool,
    livemode: bool,
    request_ids: Callable[[], str],
) -> web.Application:
    """Make the application of a gateway; serve it with `runner.EdgeRunner`. Raises `ValueError`."""
    edge = make_edge(
        front,
        config,
        clock=clock,
        sandbox_keys=sandbox_keys,
        livemode=livemode,
        request_ids=request_ids,
    )

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> Any:
        return await edge.guard(request, handler)

    app = web.Application(middlewares=[guard])
    app[CONTEXT] = edge.context
    app[SHORTCUTS] = Shortcuts(edge, ROUTES)
    for route in ROUTES:
        # Its types name aiohttp's own answers; what it asks of an answer, ours can do.
        endpoint: Any = edge.endpoint(route)
        app.router.add_route(route.method, route.path, endpoint, expect_handler=_expect)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, endpoint, expect_handler=_expect)
    return app


@cache
def _document() -> bytes:
    """The API's document: of one version there is one."""
    return build_document(ROUTES)


async def _expect(_: web.Request) -> None:
    """Say nothing yet: `incoming` asks for the body once the request is let in."""
