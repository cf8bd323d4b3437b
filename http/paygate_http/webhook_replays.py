"""Webhooks read again: an operator asks for a page, and hears what is read otherwise now."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from paygate_actors.messages import Refusal
from paygate_actors.replay_messages import ReadingChange, ReplayPage, ReplayWebhooks
from paygate_actors.rfc3339 import time_text
from paygate_http.decode import decode
from paygate_http.filters import CURSOR_MAX, TEXT_MAX
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.replies import Time
from paygate_http.requests import read_json
from paygate_http.route import Call, Route, json_response
from paygate_http.validation import Faults
from paygate_http.wire import parse_time, wire_name

_Text = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
_Moment = Annotated[str, Meta(max_length=64, extra_json_schema={"format": "date-time"})]


class WebhookReplayBody(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Which webhooks are read again; nothing said: all that are kept. `from` in, `to` out."""

    provider: _Text | None = None
    event_id: _Text | None = None
    from_: _Moment | None = None
    to: _Moment | None = None
    dry_run: bool | None = None
    cursor: Annotated[str, Meta(min_length=1, max_length=CURSOR_MAX)] | None = None


class ReadingChangeReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An event that is read otherwise now. `was` null: it was not read as an event at all.

    `applied` false: a dry run, or the same reading was brought to its payment before.
    """

    provider: str
    event_id: str
    received_at: Time
    was: str | None
    now: str
    payment_id: str | None
    applied: bool


class WebhookReplayReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A page: how many webhooks fit the question, how many of them are unreadable, what changed."""

    webhooks: int
    failed: int
    data: list[ReadingChangeReply]
    has_more: bool
    next_cursor: str | None


async def replay(call: Call) -> Answer:
    """Read webhooks that are kept with the adapters of today.

    What is read otherwise than it was is brought to its payment, each reading once.
    """
    faults = Faults()
    body = decode(await read_json(call.request, may_be_empty=True), WebhookReplayBody, faults)
    from_us = _moment(body.from_, "/from", faults)
    to_us = _moment(body.to, "/to", faults)
    if faults:
        raise faults.problem()
    page = await call.front.replay_webhooks(
        ReplayWebhooks(
            caller=call.caller,
            provider=body.provider,
            event_id=body.event_id,
            from_us=from_us,
            to_us=to_us,
            dry_run=bool(body.dry_run),
            cursor=body.cursor,
        )
    )
    if isinstance(page, Refusal):
        raise Problem.of(page)
    return json_response(page_reply(page))


def page_reply(page: ReplayPage) -> WebhookReplayReply:
    """A page as the doors give it out."""
    return WebhookReplayReply(
        webhooks=page.webhooks,
        failed=page.failed,
        data=[_change(each) for each in page.changes],
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )


def _change(change: ReadingChange) -> ReadingChangeReply:
    return ReadingChangeReply(
        provider=change.provider,
        event_id=change.event_id,
        received_at=time_text(change.received_us),
        was=change.was,
        now=change.now,
        payment_id=change.payment_id,
        applied=change.applied,
    )


def _moment(text: str | None, pointer: str, faults: Faults) -> int | None:
    if text is None:
        return None
    at_us = parse_time(text)
    if at_us is None:
        faults.add(pointer, "invalid_value", "must be an RFC 3339 time")
    return at_us


ROUTES: Final = (
    Route(
        method="POST",
        path="/api/webhook-replays",
        handler=replay,
        name="replayWebhooks",
        summary="Read webhooks again that are kept, and bring what is read otherwise now",
        access="operator",
        body=WebhookReplayBody,
        body_may_be_empty=True,
        reply=WebhookReplayReply,
        problems=("outcome_unknown",),
    ),
)
