"""Which route serves a request, where its method and its path alone tell: no router is asked.

That is so for most requests: all payments, all reads of one, all webhooks. Whatever else a path may
be (escaped, empty in a place, with two ids, unknown) is the router's to judge, as it always was.
"""

import re
from collections.abc import Awaitable, Iterable
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from paygate_http.edge import AnswerAtOnceOfId, Edge, Endpoint, EndpointOfId
from paygate_http.incoming import Peer
from paygate_http.quick_reply import Answer
from paygate_http.route import Route

# A path that is always the same, and one that ends in an id and has no other.
_FIXED: Final = re.compile(r"[^{}]+")
_ENDS_IN_ID: Final = re.compile(r"([^{}]+)/\{(\w+)\}")
# What an id of ours, or a provider's name, is made of. In this spelling nothing is escaped.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


class Shortcuts:
    """The ways to the routes of a table, past the router."""

    __slots__ = ("_at_once", "_fixed", "_of_id")

    def __init__(self, edge: Edge, routes: Iterable[Route]) -> None:
        self._fixed: dict[tuple[str, str], Endpoint] = {}
        self._of_id: dict[tuple[str, str], EndpointOfId] = {}
        self._at_once: dict[str, AnswerAtOnceOfId] = {}
        for route in routes:
            if _FIXED.fullmatch(route.path):
                self._fixed[route.method, route.path] = edge.direct(route)
            elif found := _ENDS_IN_ID.fullmatch(route.path):
                self._of_id[route.method, found[1]] = edge.direct_of_id(route, found[2])
                if route.at_once is not None:
                    self._at_once[found[1]] = edge.direct_at_once(route, found[2])

    def serve(self, request: web.Request) -> Awaitable[Answer] | None:
        """Begin to answer; None: the router must be asked."""
        method, path = request.method, request.rel_url.raw_path
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed(request)
        parent, of_id = _parted(path)
        endpoint = self._of_id.get((method, parent))
        return None if endpoint is None or of_id is None else endpoint(request, of_id)

    def at_once(self, path: str, headers: MultiMapping[str], peer: Peer) -> bytes | None:
        """Answer a GET that has no body, its path and query as they came; None: `serve`."""
        parent, of_id = _parted(path)
        answer = self._at_once.get(parent)
        return None if answer is None or of_id is None else answer(of_id, headers, peer)


def _parted(path: str) -> tuple[str, str | None]:
    """A path that ends in an id, and the id where nothing in it could be spelled otherwise."""
    parent, _, of_id = path.rpartition("/")
    return parent, of_id if _PLAIN.fullmatch(of_id) else None
