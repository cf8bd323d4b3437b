"""Providers: what there is and how it does, and what an operator says about them."""

from paygate_actors.messages import Refusal
from paygate_actors.provider_messages import Tuning
from paygate_http import render
from paygate_http.bodies import SwitchesBody
from paygate_http.decode import decode
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.replies import ProviderListReply
from paygate_http.requests import read_json
from paygate_http.route import Call, json_response
from paygate_http.validation import Faults


async def listing(call: Call) -> Answer:
    """Show all providers, by priority."""
    found = await call.front.providers()
    return json_response(ProviderListReply(data=[render.provider(each) for each in found]))


async def switch(call: Call) -> Answer:
    """Turn a provider, or only new charges at it, on or off, or tune how it is used."""
    provider_id = call.path_id("providerID", "provider_not_found")
    faults = Faults()
    body = decode(await read_json(call.request), SwitchesBody, faults)
    if faults:
        raise faults.problem()
    done = await call.front.switch_provider(
        call.caller,
        provider_id,
        is_active=body.is_active,
        accepts_charges=body.accepts_charges,
        tuning=Tuning(priority=body.priority, weight=body.weight, concurrency=body.concurrency),
    )
    if isinstance(done, Refusal):
        raise Problem.of(done)
    return json_response(render.provider(done))
