"""The edge without sockets: a request as a value in, the answer as a value out.

Everything that the edge does to a request from the network happens to these too: route, key, role,
rate, decoding, validation, rendering. Only HTTP's own bytes are left out.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from aiohttp import web

from paygate_http.edge import Edge
from paygate_http.incoming import HandedRequest
from paygate_http.quick_reply import QuickReply
from paygate_http.route import Route
from paygate_http.routes import ROUTES

_PLACE = re.compile(r"\{(\w+)\}")


class InsideEdge:
    """One application's edge, for callers in the same process."""

    def __init__(self, edge: Edge, routes: Iterable[Route] = ROUTES) -> None:
        self._edge = edge
        self._routes = [(route.method, _pattern(route.path), route) for route in routes]

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> web.Response:
        """Answer one request; `path` may have a query. Raises `LookupError` without a route."""
        bare, _, query = path.partition("?")
        for known, pattern, route in self._routes:
            found = pattern.fullmatch(bare) if known == method else None
            if found is not None:
                ids = {name: unquote(text) for name, text in found.groupdict().items()}
                request = HandedRequest(
                    method, path_ids=ids, query=query, headers=headers, body=body
                )
                response = await self._edge.ask(request, route)
                if isinstance(response, QuickReply):
                    return response.ordinary()
                assert isinstance(response, web.Response), "no route of ours streams"
                return response
        raise LookupError(f"no route for {method} {bare}")


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(_PLACE.sub(r"(?P<\1>[^/]+)", template))
