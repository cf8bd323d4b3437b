"""Every story of `paygate trigger` comes true at every account, and its webhook tells of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from msgspec.structs import replace

from paygate_actors.money import Money
from paygate_actors.providers.registry import build
from paygate_http.kit.desk import Desk
from paygate_http.sandbox.server import start_sandbox
from paygate_http.sandbox_accounts import accounts
from paygate_http.trigger_hands import StraightHand
from paygate_http.triggers import STORIES, Made, NotTriggered, Story

ACCOUNTS = ("sandbox", "sandbox_stripe", "sandbox_paypal", "sandbox_adyen")
AMOUNT = Money(1_000, "USD")
TOLD_S = 5.0


@asynccontextmanager
async def hand_at(account: str) -> AsyncGenerator[StraightHand]:
    trial = accounts()[account]
    sandbox = await start_sandbox(seed=1, latency_ms=0, find_lag_ms=0)
    try:
        async with aiohttp.ClientSession() as session:
            desk = Desk(sandbox.url, account, session)
            provider = build(replace(trial.config, url=sandbox.url + trial.path))
            async with desk.listening():
                yield StraightHand(trial, provider=provider, desk=desk, amount=AMOUNT)
            await provider.close()
    finally:
        await sandbox.stop()


async def is_told(hand: StraightHand, story: Story, made: Made) -> bool:
    sent = await hand.desk.hear(
        lambda sent: (
            sent.event_type == story.webhook and any(mark in sent.body for mark in made.marks)
        ),
        within_s=TOLD_S,
    )
    return sent is not None


@pytest.mark.slow
@pytest.mark.parametrize("account", ACCOUNTS)
async def test_every_story_comes_true(account: str):
    untold: list[str] = []
    async with hand_at(account) as hand:
        for name, story in STORIES.items():
            if name.startswith("dispute."):
                continue
            made = await story.tell(hand)
            if story.webhook is None or name in hand.trial.silent:
                continue
            if not await is_told(hand, story, made):
                untold.append(name)

        # Each of them waits a second for its dispute: side by side that is one.
        disputes = {name: each for name, each in STORIES.items() if name.startswith("dispute.")}
        made_of = await asyncio.gather(*(story.tell(hand) for story in disputes.values()))
        for (name, story), made in zip(disputes.items(), made_of, strict=True):
            if not await is_told(hand, story, made):
                untold.append(name)

    assert untold == []


async def test_the_books_give_their_own_id_of_a_charge_and_none_of_another():
    async with hand_at("sandbox") as hand:
        made = await STORIES["payment.succeeded"].tell(hand)
        key = made.marks[0]

        found = [await hand.desk.charge_id(each) for each in (key, "txn_nobody-1")]

    assert found == [made.charge_id, None]


async def test_a_payer_who_must_confirm_is_shown_where():
    async with hand_at("sandbox") as hand:
        made = await STORIES["payment.requires_action"].tell(hand)

    assert made.url is not None
    assert made.charge_id in made.url


async def test_an_account_without_the_card_says_so():
    async with hand_at("sandbox") as hand:
        hand.trial = replace(hand.trial, disputed=None)

        with pytest.raises(NotTriggered, match="no test card"):
            await STORIES["dispute.opened"].tell(hand)


async def test_what_did_not_come_as_it_was_asked_for_is_told():
    async with hand_at("sandbox") as hand:
        await hand.desk.plan("decline")

        with pytest.raises(NotTriggered, match="should be success and is failed"):
            await STORIES["payment.succeeded"].tell(hand)
