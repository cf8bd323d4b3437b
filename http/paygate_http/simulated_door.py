"""The door of a simulated world that is the real edge: wishes become requests, answers are heard.

Requests are written as a merchant's client would write them, in all the ways that the API takes
(`simulated_requests`). What comes back is held against the API's promises: the status of a code,
a time to come back, the request's id.
"""

import base64
from collections.abc import Iterable
from typing import Final, TypeVar, cast

import msgspec
from aiohttp import web
from msgspec import Struct

from paygate_actors.config import Config
from paygate_actors.desk_messages import AskAgain, GiveBack, MarkNotCharged, MarkSeen
from paygate_actors.front_protocol import Front
from paygate_actors.messages import (
    ApiKey,
    Caller,
    CapturePayment,
    ProcessPayment,
    RefundPayment,
    ReversePayment,
    ReviewPayment,
    SetTransactionStatus,
)
from paygate_actors.money import Money
from paygate_actors.simulation.doors import (
    CheckFraud,
    Door,
    EntryHeard,
    Heard,
    ListPayments,
    Notice,
    PageHeard,
    PaymentHeard,
    ReadPayment,
    Received,
    Refused,
    ScoreHeard,
    SpoiltRequest,
    TransactionHeard,
    Wish,
)
from paygate_actors.simulation.tracing import Violation
from paygate_engine.clock import Clock
from paygate_engine.simulation import EPOCH_US
from paygate_http.app import make_edge
from paygate_http.auth import key_digest
from paygate_http.desk_replies import DeskEntryReply
from paygate_http.inside import InsideEdge
from paygate_http.problems import KINDS, ProblemCode, ProblemReply
from paygate_http.replies import (
    FraudCheckReply,
    PaymentListReply,
    PaymentReply,
    ReceivedReply,
    TransactionReply,
)
from paygate_http.simulated_requests import STATUS_OF_SPOIL, bearer, request_of

_PEPPER: Final = base64.b64encode(bytes(range(64, 96))).decode()
_OK: Final = 200
_MADE: Final = 201
_LATER: Final = (429, 503)

ReplyT = TypeVar("ReplyT", bound=Struct)


class EdgeDoors:
    """Opens the edge before each life of a world's gateway."""

    parses = True

    def config(self, config: Config) -> Config:
        """Add the pepper under which the callers' keys are stored."""
        return msgspec.structs.replace(config, api_key_pepper=_PEPPER)

    def keys(self, callers: Iterable[Caller]) -> tuple[ApiKey, ...]:
        """One stored key for each caller."""
        pepper = base64.b64decode(_PEPPER)
        return tuple(
            ApiKey(
                id=caller.key_id,
                role=caller.role,
                merchant=caller.merchant,
                digest=key_digest(pepper, bearer(caller)),
                created_at_us=EPOCH_US,
            )
            for caller in callers
        )

    def open(self, front: Front, config: Config, clock: Clock) -> Door:
        """Build the edge, as `paygate serve` does."""
        edge = make_edge(
            front,
            config,
            clock=clock,
            sandbox_keys=False,
            livemode=False,
            request_ids=lambda: "req_simulated",
        )
        return EdgeDoor(InsideEdge(edge))


class EdgeDoor:
    """Asks the edge as a client on the network does."""

    def __init__(self, edge: InsideEdge) -> None:
        self._edge = edge
        self._asked = 0

    async def ask(self, wish: Wish) -> Heard:
        """Make the request, and read the answer. Raises `Violation` where that breaks the API."""
        self._asked += 1
        request = request_of(wish, self._asked)
        request_id = f"sim-{self._asked}"
        response = await self._edge.ask(
            request.method,
            request.path,
            headers={**request.headers, "X-Request-ID": request_id},
            body=request.body,
        )
        if response.headers["X-Request-ID"] != request_id:
            raise Violation("an answer carries its request's id", request.path)
        if response.status not in (_OK, _MADE):
            return _refused(wish, response)
        if isinstance(wish, SpoiltRequest):
            raise Violation("what is wrong with a request is said", f"{wish.spoil} was taken")
        return _heard(wish, response)


def _heard(wish: Wish, response: web.Response) -> Heard:
    match wish:
        case ProcessPayment() | ReadPayment() | ReviewPayment():
            payment = _read(response, PaymentReply)
            if isinstance(wish, ProcessPayment):
                _check_location(response, f"/api/payments/{payment.id}")
            return PaymentHeard(
                id=payment.payment_id,
                status=payment.status,
                amount_minor=Money.parse(str(payment.amount), payment.currency).minor,
                over=payment.processed_at is not None and not payment.in_doubt,
                token=payment.payment_method.token,
            )
        case CapturePayment() | RefundPayment() | ReversePayment() | SetTransactionStatus():
            txn = _read(response, TransactionReply)
            if not isinstance(wish, SetTransactionStatus):
                _check_location(response, f"/api/transactions/{txn.id}")
            return TransactionHeard(
                id=txn.id,
                payment_id=txn.payment_id,
                amount_minor=Money.parse(str(txn.amount), txn.currency).minor,
            )
        case AskAgain() | MarkNotCharged() | GiveBack() | MarkSeen():
            return EntryHeard(payment_id=_read(response, DeskEntryReply).payment_id)
        case ListPayments():
            page = _read(response, PaymentListReply)
            ids = tuple(each.id for each in page.data)
            return PageHeard(ids=ids, next_cursor=page.next_cursor)
        case CheckFraud():
            score = _read(response, FraudCheckReply).score
            return ScoreHeard(score_milli=round(score * 1_000))
        case Notice():
            if response.content_type == "application/json":
                _read(response, ReceivedReply)  # what a provider's own protocol wants is its own
            return Received()
        case SpoiltRequest():
            raise TypeError("it has been refused")


def _read(response: web.Response, kind: type[ReplyT]) -> ReplyT:
    body = response.body
    assert isinstance(body, bytes)
    return msgspec.json.decode(body, type=kind)


def _check_location(response: web.Response, location: str) -> None:
    if response.status != _MADE or response.headers["Location"] != location:
        raise Violation("what was made is named by its location", location)


def _refused(wish: Wish, response: web.Response) -> Refused:
    problem = _read(response, ProblemReply)
    if (
        KINDS[cast("ProblemCode", problem.code)].status != response.status
        or problem.status != response.status
    ):
        raise Violation("a code has one status", f"{problem.code} with {response.status}")
    if problem.code == "internal_error":
        raise Violation("no handler fails", type(wish).__name__)
    if response.status in _LATER:
        if int(response.headers["Retry-After"]) < 1:
            raise Violation("who is to come back is told when", problem.code)
    elif isinstance(wish, SpoiltRequest) and response.status != STATUS_OF_SPOIL[wish.spoil]:
        expected = STATUS_OF_SPOIL[wish.spoil]
        detail = f"{wish.spoil}: {response.status} instead of {expected}"
        raise Violation("what is wrong with a request is said", detail)
    return Refused(code=problem.code)
