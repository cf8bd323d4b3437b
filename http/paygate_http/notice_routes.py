"""Webhooks to merchants: their endpoints, what was sent there, and the feed that misses nothing."""

from typing import Final, TypeVar, cast

from msgspec import UNSET

from paygate_actors.messages import Refusal
from paygate_actors.notice_messages import EndpointChange, NewEndpoint
from paygate_actors.outbox import DeliveryStatus
from paygate_http.bodies import WebhookChangeBody, WebhookEndpointBody
from paygate_http.decode import decode
from paygate_http.filters import DELIVERY_FILTERS, FEED_FILTERS, read_filters
from paygate_http.notice_replies import (
    DeletedReply,
    DeliveryListReply,
    DeliveryReply,
    FeedReply,
    WebhookEndpointListReply,
    WebhookEndpointReply,
    WebhookSecretReply,
    delivery_reply,
    endpoint_reply,
    notice,
)
from paygate_http.payment_checks import check_text
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.requests import read_json
from paygate_http.route import Call, Route, json_response
from paygate_http.validation import Faults

T = TypeVar("T")

_ENDPOINTS: Final = "/api/webhook-endpoints"
_ENDPOINT: Final = f"{_ENDPOINTS}/{{endpointID}}"


async def feed(call: Call) -> Answer:
    """Show the merchant's events in the order in which they were committed.

    Keep `nextCursor` and ask again with it: nothing is ever missing between two pages, so that
    who reads this needs no webhook to be right. Events are kept for 30 days by default; a cursor
    from before is 410.
    """
    filters = read_filters(call.request, FEED_FILTERS)
    found = await call.front.notices.feed(call.caller, after=filters.cursor, limit=filters.limit)
    page = _done(found)
    return json_response(
        FeedReply(
            data=[notice(each) for each in page.items],
            has_more=page.has_more,
            next_cursor=page.next_cursor,
        )
    )


async def create(call: Call) -> Answer:
    """Have events sent to a URL; its secret is shown in this answer and never again."""
    faults = Faults()
    body = decode(await read_json(call.request), WebhookEndpointBody, faults)
    if body.url is None:
        faults.missing("/url")
    _check(body.url, "/url", faults)
    _check(body.description, "/description", faults)
    if faults:
        raise faults.problem()
    wanted = NewEndpoint(
        url=body.url or "",
        events=tuple(body.events or ()),
        description=body.description or "",
    )
    made = _done(await call.front.notices.create(call.caller, wanted))
    return json_response(
        WebhookSecretReply(secret=made.secret, endpoint=endpoint_reply(made.endpoint)),
        status=201,
        headers={"Location": f"{_ENDPOINTS}/{made.endpoint.id}"},
    )


async def listing(call: Call) -> Answer:
    """Show all endpoints of the merchant: there are sixteen at the most."""
    found = call.front.notices.endpoints(call.caller)
    return json_response(WebhookEndpointListReply(data=[endpoint_reply(each) for each in found]))


async def read(call: Call) -> Answer:
    """Show an endpoint, without its secrets."""
    found = _done(call.front.notices.endpoint(call.caller, _endpoint_id(call)))
    return json_response(endpoint_reply(found))


async def change(call: Call) -> Answer:
    """Change an endpoint; a disabled one that is enabled again is sent what had to wait."""
    endpoint_id = _endpoint_id(call)
    faults = Faults()
    body = decode(await read_json(call.request), WebhookChangeBody, faults)
    _check(body.url, "/url", faults)
    _check(body.description, "/description", faults)
    if faults:
        raise faults.problem()
    wanted = EndpointChange(
        url=UNSET if body.url is None else body.url,
        events=UNSET if body.events is None else tuple(body.events),
        description=UNSET if body.description is None else body.description,
        enabled=UNSET if body.enabled is None else body.enabled,
    )
    done = _done(await call.front.notices.change(call.caller, endpoint_id, wanted))
    return json_response(endpoint_reply(done))


async def delete(call: Call) -> Answer:
    """Send nothing there any more, and forget what waited; the feed still has it."""
    done = _done(await call.front.notices.delete(call.caller, _endpoint_id(call)))
    return json_response(DeletedReply(id=done.id))


async def rotate(call: Call) -> Answer:
    """Make a new secret, shown this once; the one before signs too for a while."""
    made = _done(await call.front.notices.rotate(call.caller, _endpoint_id(call)))
    return json_response(
        WebhookSecretReply(secret=made.secret, endpoint=endpoint_reply(made.endpoint)), status=201
    )


async def test(call: Call) -> Answer:
    """Send a test event to this endpoint, whatever it subscribes to."""
    sent = _done(await call.front.notices.test(call.caller, _endpoint_id(call)))
    return json_response(delivery_reply(sent), status=201)


async def deliveries(call: Call) -> Answer:
    """Show what was sent there, is to be sent, or was given up (`dead`), newest first."""
    endpoint_id = _endpoint_id(call)
    filters = read_filters(call.request, DELIVERY_FILTERS)
    page = _done(
        await call.front.notices.deliveries(
            call.caller,
            endpoint_id,
            status=cast("DeliveryStatus | None", filters.status),
            cursor=filters.cursor,
            limit=filters.limit,
        )
    )
    return json_response(
        DeliveryListReply(
            data=[delivery_reply(each) for each in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )
    )


async def replay(call: Call) -> Answer:
    """Send a delivery again that is delivered or dead: now, and by the whole schedule."""
    endpoint_id = _endpoint_id(call)
    delivery_id = call.path_id("deliveryID", "delivery_not_found")
    sent = _done(await call.front.notices.replay(call.caller, endpoint_id, delivery_id))
    return json_response(delivery_reply(sent), status=201)


def _endpoint_id(call: Call) -> str:
    return call.path_id("endpointID", "endpoint_not_found")


def _check(text: str | None, pointer: str, faults: Faults) -> None:
    if text is not None:
        check_text(text, pointer, faults)


def _done(found: T | Refusal) -> T:
    if isinstance(found, Refusal):
        raise Problem.of(found)
    return found


ROUTES: Final = (
    Route(
        method="GET",
        path="/api/events",
        handler=feed,
        name="readEvents",
        summary="Read the merchant's events, oldest first, without a gap",
        access="merchant",
        reply=FeedReply,
        parameters=tuple(each.parameter for each in FEED_FILTERS),
        problems=("cursor_expired",),
    ),
    Route(
        method="POST",
        path=_ENDPOINTS,
        handler=create,
        name="createWebhookEndpoint",
        summary="Have events sent to a URL",
        access="merchant",
        success=201,
        body=WebhookEndpointBody,
        reply=WebhookSecretReply,
        headers={"Location": "Where the endpoint is from now on."},
        problems=("endpoint_limit_reached", "outcome_unknown"),
    ),
    Route(
        method="GET",
        path=_ENDPOINTS,
        handler=listing,
        name="listWebhookEndpoints",
        summary="List webhook endpoints",
        access="merchant",
        reply=WebhookEndpointListReply,
    ),
    Route(
        method="GET",
        path=_ENDPOINT,
        handler=read,
        name="readWebhookEndpoint",
        summary="Read a webhook endpoint",
        access="either",
        reply=WebhookEndpointReply,
        problems=("endpoint_not_found",),
    ),
    Route(
        method="PATCH",
        path=_ENDPOINT,
        handler=change,
        name="changeWebhookEndpoint",
        summary="Change a webhook endpoint, or switch it on or off",
        access="either",
        body=WebhookChangeBody,
        reply=WebhookEndpointReply,
        problems=("endpoint_not_found", "outcome_unknown"),
    ),
    Route(
        method="DELETE",
        path=_ENDPOINT,
        handler=delete,
        name="deleteWebhookEndpoint",
        summary="Delete a webhook endpoint",
        access="merchant",
        reply=DeletedReply,
        problems=("endpoint_not_found", "outcome_unknown"),
    ),
    Route(
        method="POST",
        path=f"{_ENDPOINT}/rotate-secret",
        handler=rotate,
        name="rotateWebhookSecret",
        summary="Make a new signing secret",
        access="merchant",
        success=201,
        reply=WebhookSecretReply,
        problems=("endpoint_not_found", "outcome_unknown"),
    ),
    Route(
        method="POST",
        path=f"{_ENDPOINT}/test",
        handler=test,
        name="testWebhookEndpoint",
        summary="Send a test event",
        access="merchant",
        success=201,
        reply=DeliveryReply,
        problems=("endpoint_not_found", "endpoint_disabled", "outcome_unknown"),
    ),
    Route(
        method="GET",
        path=f"{_ENDPOINT}/deliveries",
        handler=deliveries,
        name="listDeliveries",
        summary="List what was sent to an endpoint, newest first",
        access="either",
        reply=DeliveryListReply,
        parameters=tuple(each.parameter for each in DELIVERY_FILTERS),
        problems=("endpoint_not_found",),
    ),
    Route(
        method="POST",
        path=f"{_ENDPOINT}/deliveries/{{deliveryID}}/replay",
        handler=replay,
        name="replayDelivery",
        summary="Send a delivery again",
        access="either",
        success=201,
        reply=DeliveryReply,
        problems=(
            "endpoint_not_found",
            "delivery_not_found",
            "endpoint_disabled",
            "delivery_pending",
            "outcome_unknown",
        ),
    ),
)
