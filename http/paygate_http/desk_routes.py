"""The desk: what is in doubt or asks for a person, why, and what can be done about it."""

from typing import Final

from paygate_actors.desk_messages import AskAgain, DeskEntry, GiveBack, MarkNotCharged, MarkSeen
from paygate_actors.messages import Refusal
from paygate_http.bodies import GiveBackBody, NotChargedBody, SeenBody
from paygate_http.decode import decode
from paygate_http.desk_replies import (
    DeskEntryReply,
    DeskListReply,
    ExplanationReply,
    entry_reply,
    explanation_reply,
)
from paygate_http.filters import DESK_FILTERS, read_filters
from paygate_http.payment_checks import check_text
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.requests import read_json
from paygate_http.route import Call, Route, json_response
from paygate_http.validation import Faults


async def explain(call: Call) -> Answer:
    """Say why a payment is where it is, what comes next and when, and who must act."""
    payment_id = call.path_id("paymentID", "payment_not_found")
    found = await call.front.explain(call.caller, payment_id)
    if isinstance(found, Refusal):
        raise Problem.of(found)
    return json_response(explanation_reply(found))


async def listing(call: Call) -> Answer:
    """Show a page of the desk, the newest payment first."""
    page = await call.front.in_doubt(call.caller, read_filters(call.request, DESK_FILTERS))
    if isinstance(page, Refusal):
        raise Problem.of(page)
    return json_response(
        DeskListReply(
            data=[entry_reply(entry) for entry in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )
    )


async def ask_again(call: Call) -> Answer:
    """Ask the provider now about everything of the payment that it has not settled.

    A call that was asked about a moment ago is not asked about again.
    """
    payment_id = call.path_id("paymentID", "payment_not_found")
    return _shown(await call.front.ask_again(AskAgain(caller=call.caller, payment_id=payment_id)))


async def not_charged(call: Call) -> Answer:
    """Set a charge in doubt as not made.

    The provider is asked first, and what it says counts. Where it says nothing, the charge is set
    only once it cannot succeed any more, and goes on being asked about.
    """
    payment_id = call.path_id("paymentID", "payment_not_found")
    reason = await _reason(call, NotChargedBody)
    command = MarkNotCharged(caller=call.caller, payment_id=payment_id, reason=reason)
    return _shown(await call.front.mark_not_charged(command))


async def give_back(call: Call) -> Answer:
    """Give back again what could not be: the newest reverse that failed is repeated.

    It is for money that nobody is to keep. While it is under way, and once it is done, a
    repetition changes nothing.
    """
    payment_id = call.path_id("paymentID", "payment_not_found")
    reason = await _reason(call, GiveBackBody)
    command = GiveBack(caller=call.caller, payment_id=payment_id, reason=reason)
    return _shown(await call.front.give_back(command))


async def seen(call: Call) -> Answer:
    """Note that a person has looked at what asked for one; what came meanwhile stays."""
    payment_id = call.path_id("paymentID", "payment_not_found")
    faults = Faults()
    body = decode(await read_json(call.request), SeenBody, faults)
    note = _required(body.note, "/note", faults)
    if faults:
        raise faults.problem()
    command = MarkSeen(
        caller=call.caller, payment_id=payment_id, note=note, up_to_seq=body.up_to_seq
    )
    return _shown(await call.front.mark_seen(command))


async def _reason(call: Call, body_type: type[NotChargedBody | GiveBackBody]) -> str:
    faults = Faults()
    body = decode(await read_json(call.request), body_type, faults)
    reason = _required(body.reason, "/reason", faults)
    if faults:
        raise faults.problem()
    return reason


def _shown(done: DeskEntry | Refusal) -> Answer:
    if isinstance(done, Refusal):
        raise Problem.of(done)
    return json_response(entry_reply(done))


def _required(text: str | None, pointer: str, faults: Faults) -> str:
    # The audit log asks why: a blank is no answer.
    if text is None or not text.strip():
        faults.missing(pointer)
        return ""
    check_text(text, pointer, faults)
    return text


ROUTES: Final = (
    Route(
        method="GET",
        path="/api/payments/{paymentID}/explain",
        handler=explain,
        name="explainPayment",
        summary="Say why a payment is where it is, and what comes next",
        access="either",
        reply=ExplanationReply,
        problems=("payment_not_found", "outcome_unknown"),
    ),
    Route(
        method="GET",
        path="/api/in-doubt",
        handler=listing,
        name="listInDoubt",
        summary="List what is in doubt or asks for a person, newest payment first",
        access="operator",
        reply=DeskListReply,
        parameters=tuple(each.parameter for each in DESK_FILTERS),
    ),
    Route(
        method="POST",
        path="/api/in-doubt/{paymentID}/ask",
        handler=ask_again,
        name="askAgain",
        summary="Ask the provider now",
        access="operator",
        reply=DeskEntryReply,
        problems=("payment_not_found", "not_in_doubt", "outcome_unknown"),
    ),
    Route(
        method="POST",
        path="/api/in-doubt/{paymentID}/not-charged",
        handler=not_charged,
        name="markNotCharged",
        summary="Set a charge in doubt as not made, where it cannot succeed any more",
        access="operator",
        body=NotChargedBody,
        reply=DeskEntryReply,
        problems=(
            "payment_not_found",
            "not_in_doubt",
            "provider_disagrees",
            "still_may_succeed",
            "provider_silent",
            "operation_in_progress",
            "outcome_unknown",
        ),
    ),
    Route(
        method="POST",
        path="/api/in-doubt/{paymentID}/give-back",
        handler=give_back,
        name="giveBackAgain",
        summary="Give back again what could not be given back",
        access="operator",
        body=GiveBackBody,
        reply=DeskEntryReply,
        problems=(
            "payment_not_found",
            "payment_not_reversible",
            "operation_in_progress",
            "outcome_unknown",
        ),
    ),
    Route(
        method="POST",
        path="/api/in-doubt/{paymentID}/seen",
        handler=seen,
        name="markSeen",
        summary="Note that a person has looked",
        access="operator",
        body=SeenBody,
        reply=DeskEntryReply,
        problems=(
            "payment_not_found",
            "still_in_doubt",
            "operation_in_progress",
            "outcome_unknown",
        ),
    ),
)
