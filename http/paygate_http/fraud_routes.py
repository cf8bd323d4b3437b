"""Fraud checks: score a payment without making it, and read the score of one that was made."""

from paygate_actors.messages import Refusal
from paygate_http import render
from paygate_http.commands import score_request
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.requests import read_json
from paygate_http.route import Call, json_response


async def check(call: Call) -> Answer:
    """Score a payment; nothing is charged, stored or counted."""
    request = score_request(
        await read_json(call.request),
        merchant=call.caller.merchant,
        now_us=call.now_us(),
        fingerprint=call.front.fingerprint,
    )
    return json_response(render.fraud_check(await call.front.check_fraud(call.caller, request)))


async def score(call: Call) -> Answer:
    """Show the check that was made for a transaction's payment."""
    transaction_id = call.path_id("transactionID", "transaction_not_found")
    found = await call.front.fraud_of(call.caller, transaction_id)
    if isinstance(found, Refusal):
        raise Problem.of(found)
    return json_response(render.fraud_check(found))
