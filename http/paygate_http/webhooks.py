"""The door for providers' events. They carry no key of ours: the gateway checks the signature."""

from aiohttp import web

from paygate_actors.messages import Refusal
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.replies import ReceivedReply
from paygate_http.route import Call, json_response


async def receive(call: Call) -> Answer:
    """Take an event in; 200 only once it is on disk.

    While too many are on their way to their payments, the next is refused before it is read.

    The body goes on as it came: a signature is over bytes. Of a header that was sent twice the
    first counts, so that what is appended on the way cannot replace what was signed.
    """
    provider_id = call.path_id("providerID", "provider_not_found")
    full = call.front.admits_webhook(provider_id)
    if full is not None:
        raise Problem.of(full)
    body = await call.request.body()
    headers: dict[str, str] = {}
    for name, value in call.request.headers.items():
        headers.setdefault(name.lower(), value)
    refusal = await call.front.webhook(provider_id, headers, body)
    if isinstance(refusal, Refusal):
        raise Problem.of(refusal)
    wanted = call.front.webhook_reply(provider_id)
    if wanted:
        return web.Response(text=wanted, content_type="text/plain")
    return json_response(ReceivedReply())
