"""The account that speaks PayPal's API, joined: its webhooks, its payers, its routes."""

from typing import Final

from aiohttp import web

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import Faults
from paygate_http.sandbox.notices import Notices
from paygate_http.sandbox.passage import Passage
from paygate_http.sandbox.paypal_calls import PayPalCalls
from paygate_http.sandbox.paypal_certificate import SigningCertificate
from paygate_http.sandbox.paypal_desk import PayPalDesk
from paygate_http.sandbox.paypal_errors import trouble
from paygate_http.sandbox.paypal_lookups import PayPalLookups
from paygate_http.sandbox.paypal_payers import PayPalPayers
from paygate_http.sandbox.paypal_tokens import Tokens
from paygate_http.sandbox.paypal_tongue import PayPalTongue
from paygate_http.sandbox.paypal_views import Views
from paygate_http.sandbox.teller import Teller, Terms
from paygate_http.sandbox.wire import ProviderId

PAYPAL_ACCOUNT: Final[ProviderId] = "sandbox_paypal"


class PayPalAccount:
    """What of the account there is before anybody takes calls."""

    def __init__(self, books: Books, *, clock: Clock, ids: Ids, terms: Terms) -> None:
        self._books = books
        self._clock = clock
        self._ids = ids
        self._certificate = SigningCertificate(clock)
        self._views = Views(provider=PAYPAL_ACCOUNT, books=books, url=terms.url)
        self.tongue = PayPalTongue(
            books=books, views=self._views, ids=ids, certificate=self._certificate
        )

    def payers(self, notices: Notices) -> PayPalPayers:
        """Give those who are asked to approve something."""
        return PayPalPayers(
            provider=PAYPAL_ACCOUNT, books=self._books, notices=notices, clock=self._clock
        )

    def routes(
        self, *, faults: Faults, notices: Notices, teller: Teller, latency_s: float
    ) -> list[web.RouteDef]:
        """Give the routes of PayPal's API, on the same books, faults and clock as the others."""
        passage = Passage(
            books=self._books,
            faults=faults,
            clock=self._clock,
            latency_s=latency_s,
            trouble=trouble,
        )
        tokens = Tokens(provider=PAYPAL_ACCOUNT, passage=passage, clock=self._clock, ids=self._ids)
        desk = PayPalDesk(
            provider=PAYPAL_ACCOUNT,
            books=self._books,
            teller=teller,
            clock=self._clock,
            ids=self._ids,
            url=self._views.url,
        )
        calls = PayPalCalls(
            provider=PAYPAL_ACCOUNT,
            books=self._books,
            passage=passage,
            notices=notices,
            desk=desk,
            views=self._views,
            tokens=tokens,
            clock=self._clock,
            ids=self._ids,
        )
        lookups = PayPalLookups(
            provider=PAYPAL_ACCOUNT,
            books=self._books,
            passage=passage,
            desk=desk,
            views=self._views,
            tokens=tokens,
            certificate=self._certificate,
        )
        return tokens.routes() + lookups.routes() + calls.routes()
