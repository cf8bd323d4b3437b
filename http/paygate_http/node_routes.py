"""The nodes that serve: who there is, who is late, and how much each has open."""

from typing import Final, Literal

from msgspec import Struct

from paygate_actors.messages import Refusal
from paygate_actors.nodes import NodeView
from paygate_actors.rfc3339 import time_text
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.replies import Time
from paygate_http.route import Call, Route, json_response
from paygate_http.wire import wire_name


class NodeReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A node. `id` is its seat, which is taken again; `epoch` is given once and never again.

    `leaseUntil` null: it is the only node that there can be. `self`: it gave this answer.
    """

    id: int
    epoch: int
    name: str
    state: Literal["live", "late", "buried", "left"]
    joined_at: Time
    last_beat_at: Time
    lease_until: Time | None
    open_payments: int
    self_: bool


class NodeListReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """All seats, by number."""

    data: list[NodeReply]


async def listing(call: Call) -> Answer:
    """Show every node, those that are gone too."""
    found = await call.front.nodes(call.caller)
    if isinstance(found, Refusal):
        raise Problem.of(found)
    return json_response(NodeListReply(data=[_node(each) for each in found]))


def _node(view: NodeView) -> NodeReply:
    return NodeReply(
        id=view.seat,
        epoch=view.epoch,
        name=view.name,
        state=view.state,
        joined_at=time_text(view.joined_us),
        last_beat_at=time_text(view.beat_us),
        lease_until=None if view.lease_until_us is None else time_text(view.lease_until_us),
        open_payments=view.open_payments,
        self_=view.is_self,
    )


ROUTES: Final = (
    Route(
        method="GET",
        path="/api/nodes",
        handler=listing,
        name="listNodes",
        summary="List the nodes that serve, and those that are gone",
        access="operator",
        reply=NodeListReply,
    ),
)
