"""`paygate trigger`: make something happen in a running sandbox, and print what was made."""

import asyncio
import sys
from typing import Final

import aiohttp
import msgspec

from paygate_actors.money import AmountInvalid, Money, UnknownCurrency
from paygate_actors.providers.registry import ProviderRefused, build
from paygate_actors.providers.trial import TrialAccount
from paygate_http.configure import ConfigInvalid
from paygate_http.flags import TriggerFlags
from paygate_http.kit.desk import Desk, DeskRefused, desk_at
from paygate_http.process import Exit, Refused
from paygate_http.sandbox_accounts import accounts, checked_url, nobody_there, session
from paygate_http.trigger_hands import GatewayHand, StraightHand, money
from paygate_http.triggers import STORIES, Made, NotTriggered, Story

# Most webhooks go out at once; a dispute comes after a second.
TOLD_S: Final = 10.0


def trigger(event: str | None, flags: TriggerFlags) -> Exit:
    """Make it happen.

    Raises `Refused` where nobody runs or it did not come so, `ConfigInvalid` for a bad command.
    """
    if flags.list:
        for name, story in STORIES.items():
            _write(f"{name:<24} {story.sentence}")
        return Exit.DRAINED
    if event is None or event not in STORIES:
        raise ConfigInvalid(
            f"nothing is called {event}" if event else "say what is to happen",
            "see paygate trigger --list",
        )
    trial = accounts().get(flags.provider)
    if trial is None:
        raise ConfigInvalid(f"--provider: the sandbox's accounts are {', '.join(accounts())}")
    try:
        return asyncio.run(_run(event, trial, _amount(flags), flags))
    except (NotTriggered, DeskRefused, ProviderRefused) as error:
        raise Refused(str(error)) from error


async def _run(event: str, trial: TrialAccount, amount: Money, flags: TriggerFlags) -> Exit:
    story = STORIES[event]
    url = checked_url("--url", flags.url)
    async with session() as connections:
        desk = await desk_at(url, trial.account, connections)
        if desk is None:
            raise nobody_there(url)
        async with desk.listening():
            if flags.gateway is not None:
                made = await _through(story, trial, amount, desk, connections, flags.gateway)
            else:
                made = await _straight(story, trial, amount, desk, url)
            _write(f"made {made.id} at {trial.account}: {_said(amount)}")
            if made.url is not None:
                _write(f"the payer confirms at {made.url}")
            if story.webhook is None or event in trial.silent:
                _write("no webhook tells of it")
                return Exit.DRAINED
            return await _heard(story.webhook, desk, made)


async def _straight(story: Story, trial: TrialAccount, amount: Money, desk: Desk, url: str) -> Made:
    provider = build(msgspec.structs.replace(trial.config, url=url + trial.path))
    try:
        return await story.tell(StraightHand(trial, provider=provider, desk=desk, amount=amount))
    finally:
        await provider.close()


async def _through(
    story: Story,
    trial: TrialAccount,
    amount: Money,
    desk: Desk,
    connections: aiohttp.ClientSession,
    gateway: str,
) -> Made:
    url = checked_url("--gateway", gateway)
    hand = GatewayHand(trial, url=url, desk=desk, amount=amount, connections=connections)
    try:
        return await story.tell(hand)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Refused(f"no gateway answers at {url} ({type(error).__name__})") from error


async def _heard(webhook: str, desk: Desk, made: Made) -> Exit:
    sent = await desk.hear(
        lambda sent: sent.event_type == webhook and any(mark in sent.body for mark in made.marks),
        within_s=TOLD_S,
    )
    if sent is None:
        raise NotTriggered(f"no webhook {webhook} was sent within {TOLD_S:g} s")
    _write(f"webhook {sent.event_type} [{sent.id}]")
    return Exit.DRAINED


def _amount(flags: TriggerFlags) -> Money:
    try:
        return money(flags.amount, flags.currency)
    except (AmountInvalid, UnknownCurrency, ValueError, ArithmeticError) as error:
        raise ConfigInvalid(
            f"--amount: {flags.amount} {flags.currency} is no amount that can be paid"
        ) from error


def _said(amount: Money) -> str:
    return f"{amount.to_decimal()} {amount.currency}"


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
