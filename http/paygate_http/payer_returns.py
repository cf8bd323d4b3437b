"""Where payers come back to from a provider's page: on to the merchant's own, or a kind word."""

from typing import Final
from urllib.parse import quote

from aiohttp import web

from paygate_actors.messages import Refusal
from paygate_http.problems import Problem
from paygate_http.route import Call, Route

_SEE_OTHER: Final = 303
_IN_URLS: Final = "%/:?#[]@!$&'()*+,;=~"
_PAGE: Final = "Thank you. You can close this page and go back to the shop.\n"
# The address has what the payer brought back: no other site is told of it, and nobody keeps it.
_PRIVATE: Final = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


async def come_back(call: Call) -> web.Response:
    """Tell the provider what the payer brought back, and send the payer on."""
    provider_id = call.path_id("providerID", "provider_not_found")
    query: dict[str, str] = {}
    for name, value in call.request.query.items():
        query.setdefault(name, value)
    onward = await call.front.payer_returned(provider_id, query)
    if isinstance(onward, Refusal):
        raise Problem.of(onward)
    if onward:
        # A merchant may have written it in any script; a header has ASCII alone.
        location = quote(onward, safe=_IN_URLS)
        return web.Response(status=_SEE_OTHER, headers={"Location": location, **_PRIVATE})
    return web.Response(text=_PAGE, content_type="text/plain", headers=_PRIVATE)


ROUTES: Final = (
    Route(
        method="GET",
        path="/api/providers/{providerID}/return",
        handler=come_back,
        name="returnPayer",
        summary="Where a payer comes back to; 303 to the merchant's page where there is one",
        access="public",
        reply_type="text/plain",
        leads_on="On to the page that the merchant gave as its return URL.",
        problems=("provider_not_found", "signature_invalid", "provider_silent"),
    ),
)
