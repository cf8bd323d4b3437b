"""How a charge is made at PayPal: an order, and what pays for it."""

from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from paygate_actors.outcomes import (
    ActionRequired,
    Declined,
    Outcome,
    Preparation,
    Prepared,
    Unknown,
)
from paygate_actors.providers.base import ChargeCall
from paygate_actors.providers.intelligible import Unintelligible
from paygate_actors.providers.paypal_answers import (
    charge_refused,
    outcome_of,
    unlooked_at,
)
from paygate_actors.providers.paypal_bodies import APPROVED, Source, confirm_body, order_body
from paygate_actors.providers.paypal_codes import NEEDS_PAYER, SETTLED_BEFORE
from paygate_actors.providers.paypal_reading import (
    PAYER_LINKS,
    action_required,
    found_in_order,
    is_given_up,
    order_of,
    order_outcome,
    read_confirmed,
    read_prepared,
)
from paygate_actors.providers.paypal_session import Session
from paygate_actors.providers.paypal_wire import Order, Trouble

ORDERS: Final = "/v2/checkout/orders"
# Orders whose payers are at PayPal, as far as is remembered: forgetting one costs a request.
WITH_PAYERS_MAX: Final = 10_000


class Confirming(Struct, frozen=True, kw_only=True):
    """The second step of one call. `time_left`: seconds until its deadline."""

    call: ChargeCall
    order_id: str
    source: Source
    time_left: Callable[[], float]


class Charging:
    """Makes orders and pays for them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._with_payers: dict[str, None] = {}

    async def prepare(self, call: ChargeCall, source: Source, deadline_s: float) -> Preparation:
        """Make the order; the same call makes one."""
        reply = await self._session.send(
            "POST",
            ORDERS,
            deadline_s=deadline_s,
            key=f"{call.key}-prepare",
            body=order_body(call, source),
        )
        outcome = outcome_of(reply, partial(read_prepared, key=call.key), unlooked_at)
        assert isinstance(outcome, Prepared | Declined | Unknown), "the first step moves nothing"
        return outcome

    async def confirm(self, this: Confirming) -> Outcome:
        """Pay for the order, or say where the payer goes to approve it."""
        if this.source.kind == "approval" or this.order_id in self._with_payers:
            return await self._with_payer(this)
        outcome, issues = await self._pay(this, this.source, this.call.key)
        if issues & NEEDS_PAYER:
            return await self._with_payer(this)
        return outcome

    async def read(self, order_id: str, deadline_s: float) -> Order | Unknown:
        """Read an order."""
        reply = await self._session.send("GET", path_of(order_id), deadline_s=deadline_s)
        return order_of(reply, order_id)

    async def _pay(
        self, this: Confirming, source: Source, key: str
    ) -> tuple[Outcome, frozenset[str]]:
        verb = "capture" if this.call.capture else "authorize"
        reply = await self._session.send(
            "POST",
            f"{path_of(this.order_id)}/{verb}",
            deadline_s=this.time_left(),
            key=key,
            body=confirm_body(source),
        )
        issues: frozenset[str] = frozenset()

        def refused(trouble: Trouble) -> Outcome:
            nonlocal issues
            issues = frozenset(trouble.issues)
            return charge_refused(trouble, order_id=this.order_id)

        read = partial(read_confirmed, key=this.call.key, order_id=this.order_id)
        outcome = outcome_of(reply, read, refused)
        assert not isinstance(outcome, Prepared), "only the first step prepares"
        if issues & SETTLED_BEFORE:
            outcome = await self._as_it_is(this)
        return outcome, issues

    async def _with_payer(self, this: Confirming) -> Outcome:
        """Send the payer to PayPal, or take what he approved there."""
        order = await self.read(this.order_id, this.time_left())
        if isinstance(order, Unknown):
            return order
        try:
            if is_given_up(order) or order.status not in ("APPROVED", "CREATED"):
                outcome = order_outcome(order)
                if isinstance(outcome, ActionRequired):
                    self._note(this.order_id)
                return outcome
            if order.status == "CREATED" and order.link(*PAYER_LINKS):
                # So it may be called until its payer comes.
                return action_required(order)
        except (ValueError, Unintelligible) as error:
            return Unknown(reason="garbage", detail=type(error).__name__)
        # He approved it. Where he did not pass, PayPal says so to whoever tries the card.
        source = APPROVED if order.status == "APPROVED" else this.source
        outcome, issues = await self._pay(this, source, this.call.key)
        if issues & NEEDS_PAYER and source is APPROVED:
            # The key may stand for the no of before he came.
            outcome, _ = await self._pay(this, source, f"{this.call.key}-approved")
        return outcome

    def _note(self, order_id: str) -> None:
        # A card that is named again might be asked about again: these are read first.
        self._with_payers[order_id] = None
        if len(self._with_payers) > WITH_PAYERS_MAX:
            del self._with_payers[next(iter(self._with_payers))]

    async def _as_it_is(self, this: Confirming) -> Outcome:
        """What became of an order that an earlier request settled."""
        order = await self.read(this.order_id, this.time_left())
        if isinstance(order, Unknown):
            return order
        try:
            outcome = found_in_order(order, this.call.key)
        except (ValueError, Unintelligible) as error:
            return Unknown(reason="garbage", detail=type(error).__name__)
        if outcome is None or isinstance(outcome, Unknown):
            # It cannot be paid for, and does not show why: somebody should ask again.
            return Unknown(reason="garbage", detail="refused as settled, and not seen settled")
        return outcome


def path_of(order_id: str) -> str:
    """Where an order is."""
    return f"{ORDERS}/{quote(order_id, safe='')}"
