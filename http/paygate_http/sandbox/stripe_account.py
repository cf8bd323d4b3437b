"""The account that speaks Stripe's API, joined: its routes on the sandbox's server."""

from typing import Final

from aiohttp import web

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import Faults
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.passage import Passage
from paygate_http.sandbox.stripe_calls import StripeCalls
from paygate_http.sandbox.stripe_desk import StripeDesk
from paygate_http.sandbox.stripe_errors import trouble
from paygate_http.sandbox.stripe_lookups import StripeLookups
from paygate_http.sandbox.stripe_methods import Methods
from paygate_http.sandbox.teller import Teller, Terms
from paygate_http.sandbox.wire import ProviderId

STRIPE_ACCOUNT: Final[ProviderId] = "sandbox_stripe"


def stripe_routes(
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
    """Give the routes of Stripe's API, on the same books, faults and clock as the others."""
    passage = Passage(books=books, faults=faults, clock=clock, latency_s=latency_s, trouble=trouble)
    methods = Methods(provider=STRIPE_ACCOUNT, records=books.stripe, clock=clock, ids=ids)
    desk = StripeDesk(
        provider=STRIPE_ACCOUNT,
        books=books,
        teller=teller,
        notices=notices,
        methods=methods,
        clock=clock,
        ids=ids,
        url=terms.url,
    )
    calls = StripeCalls(
        provider=STRIPE_ACCOUNT,
        books=books,
        passage=passage,
        notices=notices,
        desk=desk,
        methods=methods,
        clock=clock,
        ids=ids,
    )
    lookups = StripeLookups(
        provider=STRIPE_ACCOUNT,
        books=books,
        passage=passage,
        desk=desk,
        clock=clock,
        find_lag_us=terms.find_lag_us,
    )
    return lookups.routes() + calls.routes()
