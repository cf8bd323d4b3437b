"""What a route is, and what its handler is given."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from paygate_actors.config import Config
from paygate_actors.front_protocol import Front
from paygate_actors.messages import Caller, PaymentView
from paygate_actors.remembering import Remembered
from paygate_engine.clock import Clock
from paygate_http.auth import Access
from paygate_http.incoming import Incoming
from paygate_http.metrics import Metrics
from paygate_http.problems import Problem, ProblemCode
from paygate_http.quick_reply import JSON, Answer, QuickReply
from paygate_http.wire import encode

# Our ids have 30 characters; a provider's name may be a little longer.
ID_LENGTH_MAX: Final = 64


class Context(Struct, frozen=True, kw_only=True):
    """Everything that handlers share; one for each application.

    `shown` are the bodies of payments that were read lately.
    """

    front: Front
    config: Config
    clock: Clock
    metrics: Metrics
    document: bytes
    request_ids: Callable[[], str]
    shown: Remembered[PaymentView, bytes]


class Call:
    """One request on its way through a handler, and who sent it."""

    __slots__ = ("_context", "caller", "request")

    def __init__(self, context: Context, request: Incoming, caller: Caller) -> None:
        self._context = context
        self.caller = caller
        self.request = request

    @property
    def front(self) -> Front:
        """The gateway."""
        return self._context.front

    @property
    def config(self) -> Config:
        """The configuration that the gateway was started with."""
        return self._context.config

    @property
    def context(self) -> Context:
        """What all handlers share."""
        return self._context

    def now_us(self) -> int:
        """UTC microseconds since the epoch."""
        return self._context.clock.now_us()

    def path_id(self, name: str, absent: ProblemCode) -> str:
        """Give an id of the path. Raises `Problem` (`absent`) for what can be no id."""
        given = self.request.path_ids[name]
        if len(given) > ID_LENGTH_MAX or not (given.isascii() and given.isprintable()):
            raise Problem(absent, "Nothing is known under this id.")
        return given


Handler = Callable[[Call], Awaitable[Answer]]
# The same where nothing need be waited for; None: the other must be asked.
HandlerAtOnce = Callable[[Call], QuickReply | None]


class Parameter(Struct, frozen=True, kw_only=True):
    """A parameter of the query or a header, as the API's document describes it."""

    name: str
    text: str
    schema: Mapping[str, Any]
    place: Literal["query", "header"] = "query"


class Route(Struct, frozen=True, kw_only=True):
    """One route: what serves it, who may use it, and what its document says.

    `admission`: it is refused early while the gateway is full. `always`: it is served even while
    the gateway is not ready. `plain_reply`: whose success may be plain text instead. `leads_on`:
    what a 303 means, where it answers one; empty: it never does. `problems`: the codes beyond those
    that its other fields imply. `at_once`: what answers a GET that has neither query nor body where
    nothing need be waited for; it changes nothing, since `handler` is asked where it says None.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Handler
    name: str
    summary: str
    access: Access
    success: int = 200
    body: type[Struct] | None = None
    body_may_be_empty: bool = False
    raw_body: bool = False
    reply: type[Struct] | None = None
    reply_type: str = JSON
    plain_reply: bool = False
    leads_on: str = ""
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[ProblemCode, ...] = ()
    headers: Mapping[str, str] = {}
    admission: bool = False
    always: bool = False
    at_once: HandlerAtOnce | None = None


def json_response(
    value: Struct, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> QuickReply:
    """Answer with a Struct as JSON and a line end, so that answers in a terminal stay apart."""
    return QuickReply(json_body(value), status=status, headers=headers)


def json_body(value: Struct) -> bytes:
    """The body of such an answer."""
    return encode(value) + b"\n"
