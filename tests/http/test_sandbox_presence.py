"""Who is there at the sandbox's own protocol: tokens, merchant-initiated charges, step-up."""

from typing import Any

import pytest
from sandbox_rig import APPROVED, CONFIRM, Rig, sandbox_rig

from paygate_http.sandbox.cards import Approve, Confirm, Decline, Verdict
from paygate_http.sandbox.presence import Presence, asked_of, network_id_of, present

AWAY = {"initiator": "merchant", "reason": "recurring"}


@pytest.mark.parametrize(
    ("verdict", "asked", "presence", "becomes"),
    [
        (Approve(), "challenge", Presence(), Approve()),
        (Confirm(), "challenge", Presence(), Confirm()),
        (Approve(), "challenge", Presence(step_up=True), Confirm()),
        (
            Approve(disputed=True),
            "frictionless",
            Presence(step_up=True),
            Approve(disputed=True, authentication="frictionless"),
        ),
        (Decline("lost_card"), "challenge", Presence(step_up=True), Decline("lost_card")),
        (
            Confirm(),
            "challenge",
            Presence(initiator="merchant"),
            Decline("authentication_required"),
        ),
        (
            Confirm(),
            "challenge",
            Presence(initiator="merchant", network_txn_id="N1"),
            Approve(),
        ),
        (Approve(), "challenge", Presence(initiator="merchant"), Approve()),
    ],
)
def test_a_card_does_what_it_does_by_who_is_there(
    verdict: Verdict, asked: Any, presence: Presence, becomes: Verdict
):
    assert present(verdict, asked, presence) == becomes


def test_most_cards_are_sent_to_confirm_and_a_network_s_id_is_no_card_number():
    assert asked_of("4111111111111111") == "challenge"
    assert asked_of(APPROVED) == "attempted"
    assert network_id_of("ch_1") == network_id_of("ch_1") != network_id_of("ch_2")
    assert network_id_of("ch_1").startswith("NW")


async def charge(rig: Rig, key: str, **more: Any) -> tuple[int, dict[str, Any]]:
    return await rig.charge(key, **more)


@pytest.mark.parametrize(
    ("token", "status"), [("token_ok", 200), ("token_declined", 402), ("anything", 200)]
)
async def test_a_token_does_what_its_name_says(token: str, status: int):
    async with sandbox_rig() as rig:
        answered, _ = await charge(rig, "k", card=None, token={"id": token})

        assert answered == status
        assert len(await rig.effects()) == (1 if status == 200 else 0)


async def test_a_charge_that_is_kept_tells_its_network_s_id_now_and_when_asked():
    async with sandbox_rig() as rig:
        _, plain = await charge(rig, "k1")
        _, kept = await charge(rig, "k2", store=True)
        _, later = await charge(rig, "k3", **AWAY)

        assert "networkTransactionID" not in plain
        assert kept["networkTransactionID"] != later["networkTransactionID"]
        assert (await rig.found("k2"))["networkTransactionID"] == kept["networkTransactionID"]


async def test_a_payer_who_is_away_is_never_sent_to_confirm():
    async with sandbox_rig() as rig:
        refused, answer = await charge(rig, "k1", number=CONFIRM, **AWAY)
        taken, _ = await charge(
            rig, "k2", number=CONFIRM, networkTransactionID="MCC0123450101", **AWAY
        )

        assert (refused, answer["error"]["code"]) == (402, "authentication_required")
        assert taken == 200


async def test_a_challenge_that_was_passed_is_told_of_what_succeeded_alone():
    async with sandbox_rig() as rig:
        _, asked = await charge(rig, "k", number="4111111111111111", threeDSecure="required")
        before = await rig.found("k")
        await rig.post(f"/actions/{asked['id']}/complete")

        assert asked["status"] == "requires_action"
        assert "authentication" not in before
        assert (await rig.found("k"))["authentication"] == "challenge"


@pytest.mark.parametrize("more", [{"store": True}, {"threeDSecure": "required"}])
async def test_what_needs_a_payer_is_malformed_without_one(more: dict[str, Any]):
    async with sandbox_rig() as rig:
        status, answer = await charge(rig, "k", **AWAY, **more)

        assert (status, answer["error"]["code"]) == (400, "invalid_request")
        assert await rig.effects() == []


async def test_a_charge_has_one_instrument():
    async with sandbox_rig() as rig:
        status, _ = await charge(rig, "k", token={"id": "token_ok"})

        assert status == 400
