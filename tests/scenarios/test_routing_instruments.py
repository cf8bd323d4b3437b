"""A rule about cards holds for every card: by another word for it, and by its token of ours."""

from pathlib import Path
from typing import cast

import pytest
from bank_rig import AMOUNT, MERCHANT, OPERATOR, BankRig, bank_rig

from paygate_actors.card import SealedCard
from paygate_actors.messages import PaymentReply, ProcessPayment
from paygate_actors.payment_methods import CARD_KINDS, CardMethod, Method, TokenMethod
from paygate_actors.routing_config import Routing, Rule, When

VISA_CARDS = Rule(name="visa cards", when=When(method=("card",), brand=("visa",)))


async def pay(rig: BankRig, method: Method) -> tuple[str, str | None]:
    """Pay, and give the token that the card was kept under and the rule that decided."""
    reply = await rig.gateway.front.process(
        ProcessPayment(caller=MERCHANT, amount=AMOUNT, method=method)
    )
    assert isinstance(reply, PaymentReply), reply
    history = await rig.gateway.front.events(OPERATOR, reply.payment.id)
    assert isinstance(history, tuple)
    (route,) = [event.data["route"] for event in history if event.data.get("route")]
    assert isinstance(route, dict)
    rule = cast("dict[str, str]", route).get("rule")
    return reply.payment.method.token or "", rule


def card(kind: str, number: str) -> CardMethod:
    return CardMethod(kind=kind, card=SealedCard(number, "123"), expiry_month=12, expiry_year=2099)


@pytest.mark.parametrize("kind", CARD_KINDS)
async def test_a_rule_about_cards_of_a_brand_holds_for_their_tokens(tmp_path: Path, kind: str):
    async with bank_rig(tmp_path) as rig:
        rig.gateway.desk.router.adopt(Routing(rules=(VISA_CARDS,)))

        visa, by_visa = await pay(rig, card(kind, "4242424242424242"))
        other, by_other = await pay(rig, card(kind, "5555555555554444"))
        _, by_visa_token = await pay(rig, TokenMethod(token=visa))
        _, by_other_token = await pay(rig, TokenMethod(token=other))

        assert (by_visa, by_visa_token) == ("visa cards", "visa cards")
        assert (by_other, by_other_token) == (None, None)
