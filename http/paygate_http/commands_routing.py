"""`paygate routing replay`: new rules over our own history, read only."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from paygate_actors.config import Config, ProviderConfig
from paygate_actors.damage import fold
from paygate_actors.furnish import adapters_of
from paygate_actors.money import Money
from paygate_actors.projection import PAYMENT, PROVIDER
from paygate_actors.provider_desk import read_switches
from paygate_actors.proving import pages
from paygate_actors.routing import Candidate
from paygate_actors.routing_replay import Report, RoutingReplay
from paygate_engine.errors import Corrupt
from paygate_engine.ids import Ids
from paygate_engine.stores.base import PAGE_MAX, Query, Store
from paygate_http.configure import ConfigInvalid, load, sandbox_providers
from paygate_http.flags import RoutingReplayFlags
from paygate_http.process import Exit
from paygate_http.stores import opened_to_read
from paygate_http.wire import parse_time

# Their ids are held to be read oldest first: some 200 MB.
PAYMENTS_MAX: Final = 2_000_000
_MILLION: Final = 1_000_000
_MILLI: Final = 1_000
# Adapters are made for what they can do; nothing is sent.
_NOWHERE: Final = "http://127.0.0.1:1"


def replay(flags: RoutingReplayFlags) -> Exit:
    """Print what the rules would have done. Raises `ConfigInvalid` and `StoreRefused`."""
    config = load(
        file=flags.rules, environment=os.environ, flags=flags.settings(), serves=False
    ).config
    report = asyncio.run(
        _replay(
            config,
            flags.data,
            from_us=_time("--from", flags.from_),
            to_us=_time("--to", flags.to),
        )
    )
    if flags.json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        for line in told(report):
            sys.stdout.write(line + "\n")
    return Exit.DRAINED


async def _replay(config: Config, data: Path, *, from_us: int | None, to_us: int | None) -> Report:
    async with opened_to_read(config, data) as store:
        candidates = await _candidates(config, store)
        query = Query(
            kind=PAYMENT,
            id_from=None if from_us is None else Ids.floor("pay", from_us),
            id_before=None if to_us is None else Ids.floor("pay", to_us),
            limit=PAGE_MAX,
        )
        ids = list[str]()
        async for document in pages(store, query):
            ids.append(document.id)
            if len(ids) > PAYMENTS_MAX:
                raise ConfigInvalid(f"over {PAYMENTS_MAX:,} payments: replay a shorter time")
        replaying = RoutingReplay(config.routing, candidates)
        for payment_id in reversed(ids):
            try:
                payment = fold(payment_id, await store.read_stream(payment_id))
            except Corrupt:
                continue  # `paygate prove` names it; a replay is no place to judge records
            if payment is not None:
                replaying.add(payment)
        return replaying.report()


async def _candidates(config: Config, store: Store) -> list[Candidate]:
    """The providers of the configuration, as operators have switched and tuned them."""
    configured = config.providers
    if config.sandbox.enabled:
        named = {each.id for each in configured}
        configured += tuple(each for each in sandbox_providers(_NOWHERE) if each.id not in named)
    adapters = adapters_of(msgspec.structs.replace(config, providers=configured))
    try:
        return [
            await _candidate(each, Candidate(id=each.id, can=adapters[each.id].capabilities), store)
            for each in configured
        ]
    finally:
        for adapter in adapters.values():
            await adapter.close()


async def _candidate(config: ProviderConfig, candidate: Candidate, store: Store) -> Candidate:
    stored = await store.read_document(PROVIDER, config.id)
    switches = None if stored is None or not stored.sound else read_switches(stored)
    if switches is None:
        return msgspec.structs.replace(
            candidate, active=config.active, priority=config.priority, weight=config.weight
        )
    return msgspec.structs.replace(
        candidate,
        active=config.active if switches.is_active is None else switches.is_active,
        accepts_charges=switches.accepts_charges,
        priority=config.priority if switches.priority is None else switches.priority,
        weight=config.weight if switches.weight is None else switches.weight,
    )


def told(report: Report) -> list[str]:
    """The report in words, a line each."""
    first = (
        f"{report.payments:,} payments were routed; {report.changed:,} would go elsewhere first,"
        f" {report.refused:,} nowhere, {report.undecided:,} cannot be told"
        " (the rules ask for digits of cards that were not kept)"
    )
    lines = [first]
    lines += [f"  rule {name}: {count:,}" for name, count in report.by_rule.items()]
    lines += [f"  {change.was} -> {change.now}: {change.payments:,}" for change in report.changes]
    if report.approval_milli is None:
        lines.append("approval: no first attempt ended with a yes or a no")
    else:
        lines.append(
            f"approval of first attempts: {_percent(report.approval_milli)} of {report.judged:,}"
        )
        lines.append(f"coverage: {_percent(report.coverage_milli)} of what the rules would do")
        lines.append(_expected(report))
    lines += _costs(report)
    return lines


def _expected(report: Report) -> str:
    if report.expected_approval_milli is None:
        return "expected approval: not known: no payment ever went where the rules send it"
    expected = _percent(report.expected_approval_milli)
    return (
        f"expected approval: {expected} within that coverage, as from {report.samples:,} even"
        " answers; nothing is known of the rest"
    )


def _costs(report: Report) -> list[str]:
    if not report.costs:
        return ["cost: not known: no cost of these providers stands in routing.costs"]
    lines = [
        f"cost of {each.payments:,} approved payments: {_money(each.was_micro, each.currency)} was,"
        f" {_money(each.now_micro, each.currency)} would be, were they approved there too"
        for each in report.costs
    ]
    covered = _percent(report.cost_coverage_milli)
    return [*lines, f"cost coverage: {covered} of approved payments"]


def _money(micro: int, currency: str) -> str:
    # A report, and no payment: fees are told to the nearest minor unit.
    return str(Money((micro + _MILLION // 2) // _MILLION, currency))


def _percent(milli: int | None) -> str:
    return "none" if milli is None else f"{milli * 100 / _MILLI:g} %"


def _time(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    # A day alone is its first moment.
    at_us = parse_time(text) or parse_time(f"{text}T00:00:00Z")
    if at_us is None:
        raise ConfigInvalid(f"{flag}: must be a day or a time, 2026-01-31 or 2026-01-31T12:00:00Z")
    return at_us
