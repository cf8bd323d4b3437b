"""All parts of a sandbox, joined to one application: its accounts, its books, its clock.

Nothing here listens: `server` does, and a simulation hands requests over.
"""

import random

from aiohttp import web
from msgspec import Struct

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.adyen_account import ADYEN_ACCOUNT, adyen_routes, adyen_tongue
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.calls import Calls
from paygate_http.sandbox.carriers import Carrier
from paygate_http.sandbox.control import Control
from paygate_http.sandbox.faults import Faults, FaultSheet
from paygate_http.sandbox.later import Later
from paygate_http.sandbox.notices import ATTEMPTS_MAX, Notices
from paygate_http.sandbox.passage import Passage
from paygate_http.sandbox.paypal_account import PAYPAL_ACCOUNT, PayPalAccount
from paygate_http.sandbox.schedule import LOOK_S, Schedule
from paygate_http.sandbox.settlement import Settlement
from paygate_http.sandbox.stripe_account import STRIPE_ACCOUNT, stripe_routes
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET as STRIPE_WEBHOOK_SECRET
from paygate_http.sandbox.stripe_tongue import StripeTongue
from paygate_http.sandbox.teller import Teller, Terms
from paygate_http.sandbox.tongues import StandardTongue, Tongue
from paygate_http.sandbox.wire import BODY_BYTES_MAX, PROVIDERS, ProviderId, trouble


class Joined(Struct, frozen=True, kw_only=True):
    """The application that answers calls, and those who work beside it."""

    app: web.Application
    books: Books
    schedule: Schedule
    notices: Notices
    later: Later


def join(
    books: Books,
    *,
    clock: Clock,
    terms: Terms,
    seed: int,
    latency_s: float,
    webhook_secret: str,
    carrier: Carrier | None = None,
    attempts_max: int = ATTEMPTS_MAX,
    fault_sheet: FaultSheet | None = None,
    look_s: float = LOOK_S,
) -> Joined:
    """Join the parts around `books`; `carrier` takes the webhooks, by default over HTTP.

    `fault_sheet` stands from the beginning. Raises `FaultsRefused` where it never could strike.
    """
    # A restart under the same seed must not make the ids of its first life again.
    root = f"{seed}/{books.settings.starts}"
    faults = _faults(root, fault_sheet)
    ids = Ids(clock, random.Random(f"{root}/ids"))  # noqa: S311 - ids of a test server
    schedule = Schedule(clock, settle=books.flush, look_s=look_s)
    paypal = PayPalAccount(books, clock=clock, ids=ids, terms=terms)
    notices = Notices(
        books=books,
        faults=faults,
        schedule=schedule,
        clock=clock,
        rng=random.Random(f"{root}/notices"),  # noqa: S311 - jitter
        tongues=_tongues(books, paypal, ids=ids, terms=terms, secret=webhook_secret),
        carrier=carrier,
        attempts_max=attempts_max,
    )
    later, teller = _desks(books, notices, schedule, clock=clock, ids=ids, terms=terms)
    payers = paypal.payers(notices)
    control = Control(
        books=books, faults=faults, later=later, notices=notices, schedule=schedule, payers=payers
    )
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.add_routes(control.routes())
    for routes in (_own_routes, stripe_routes, adyen_routes):
        app.add_routes(
            routes(
                books=books,
                faults=faults,
                notices=notices,
                teller=teller,
                clock=clock,
                ids=ids,
                terms=terms,
                latency_s=latency_s,
            )
        )
    app.add_routes(
        paypal.routes(faults=faults, notices=notices, teller=teller, latency_s=latency_s)
    )
    later.resume()
    return Joined(app=app, books=books, schedule=schedule, notices=notices, later=later)


def _faults(root: str, sheet: FaultSheet | None) -> Faults:
    faults = Faults(random.Random(f"{root}/faults"))  # noqa: S311 - chance, not secrecy
    if sheet is not None:
        faults.plan_all(sheet)
    return faults


def _desks(
    books: Books,
    notices: Notices,
    schedule: Schedule,
    *,
    clock: Clock,
    ids: Ids,
    terms: Terms,
) -> tuple[Later, Teller]:
    settlement = Settlement(books=books, notices=notices, schedule=schedule, clock=clock)
    later = Later(
        books=books, settlement=settlement, notices=notices, schedule=schedule, clock=clock, ids=ids
    )
    teller = Teller(
        books=books, settlement=settlement, later=later, clock=clock, ids=ids, terms=terms
    )
    return later, teller


def _own_routes(
    *,
    books: Books,
    faults: Faults,
    notices: Notices,
    teller: Teller,
    clock: Clock,
    ids: Ids,  # noqa: ARG001 - as every account's routes are made; these name nothing themselves
    terms: Terms,
    latency_s: float,
) -> list[web.RouteDef]:
    passage = Passage(books=books, faults=faults, clock=clock, latency_s=latency_s, trouble=trouble)
    return Calls(
        books=books,
        passage=passage,
        notices=notices,
        teller=teller,
        clock=clock,
        url=terms.url,
    ).routes()


def _tongues(
    books: Books, paypal: PayPalAccount, *, ids: Ids, terms: Terms, secret: str
) -> dict[ProviderId, Tongue]:
    tongues: dict[ProviderId, Tongue] = {
        each: StandardTongue(provider=each, ids=ids, secret=secret) for each in PROVIDERS
    }
    tongues[STRIPE_ACCOUNT] = StripeTongue(
        provider=STRIPE_ACCOUNT, books=books, ids=ids, url=terms.url, secret=STRIPE_WEBHOOK_SECRET
    )
    tongues[ADYEN_ACCOUNT] = adyen_tongue(books, ids=ids)
    tongues[PAYPAL_ACCOUNT] = paypal.tongue
    return tongues
