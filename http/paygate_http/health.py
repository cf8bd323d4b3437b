"""For operators' machines: is it up, is it ready, how does it do, and what does it offer."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.replies import HealthReply
from paygate_http.route import JSON, Call, json_response


async def healthz(_: Call) -> Answer:
    """Say that the process is up: that it answers is all that there is to it."""
    return json_response(HealthReply(status="ok"))


async def readyz(call: Call) -> Answer:
    """Say whether requests are taken; 503 while starting, and while draining."""
    unready = call.front.readiness()
    if unready is not None:
        raise Problem("not_ready", unready)
    return json_response(HealthReply(status="ready"))


async def metrics(call: Call) -> Answer:
    """Give the page that Prometheus reads."""
    page = call.context.metrics.page()
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def openapi(call: Call) -> Answer:
    """Give the document of this API."""
    return web.Response(body=call.context.document, headers={"Content-Type": JSON})
