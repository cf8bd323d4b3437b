"""The account that speaks Adyen's API, joined: its routes on the sandbox's server."""

from typing import Final

from aiohttp import web

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.adyen_calls import AdyenCalls
from paygate_http.sandbox.adyen_desk import AdyenDesk
from paygate_http.sandbox.adyen_errors import trouble
from paygate_http.sandbox.adyen_tongue import HMAC_KEY, AdyenTongue
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import Faults
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.passage import Passage
from paygate_http.sandbox.teller import Teller, Terms
from paygate_http.sandbox.wire import ProviderId

ADYEN_ACCOUNT: Final[ProviderId] = "sandbox_adyen"


def adyen_tongue(books: Books, *, ids: Ids) -> AdyenTongue:
    """Give the way in which the account words and signs its webhooks."""
    return AdyenTongue(records=books.adyen, ids=ids, hmac_key=HMAC_KEY)


def adyen_routes(
    *,
    books: Books,
    faults: Faults,
    notices: Notices,
    teller: Teller,
    clock: Clock,
    ids: Ids,
    terms: Terms,
    latency_s: float,
) -> list[web.RouteDef]:
    """Give the routes of Adyen's API, on the same books, faults and clock as the others."""
    passage = Passage(books=books, faults=faults, clock=clock, latency_s=latency_s, trouble=trouble)
    desk = AdyenDesk(
        provider=ADYEN_ACCOUNT,
        books=books,
        records=books.adyen,
        teller=teller,
        notices=notices,
        ids=ids,
        url=terms.url,
    )
    return AdyenCalls(
        provider=ADYEN_ACCOUNT,
        books=books,
        records=books.adyen,
        passage=passage,
        notices=notices,
        desk=desk,
        clock=clock,
        ids=ids,
    ).routes()
