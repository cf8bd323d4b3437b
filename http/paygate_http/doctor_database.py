"""The doctor's look at a database of several nodes: who lives, and what nobody took over."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from paygate_actors.config import Config
from paygate_actors.nodes import as_shared
from paygate_engine.stores.base import Store
from paygate_engine.stores.shared import NodeRow, SharedStore
from paygate_http.database_url import shown_url

US_PER_S: Final = 1_000_000
# Others take over within seconds of a lease's end; after this long nobody does.
ADOPTED_S: Final = 60
# Seats are taken again, so there are about as many as nodes ever ran at a time.
NODES_SHOWN_MAX: Final = 100


async def look_at_database(
    store: Store,
    config: Config,
    ends: dict[str, dict[int, bytes]],
    *,
    rows: list[tuple[str, str]],
    found: list[str],
) -> None:
    """Add what is to be seen to `rows`, and what needs a person to `found`.

    `ends` are the published ends of audit chains, by chain.
    """
    shared = as_shared(store)
    assert shared is not None, "a database is configured"
    rows.append(("database", shown_url(config.database.url or "")))
    nodes = await shared.nodes()
    rows += node_rows(nodes)
    found += node_troubles(nodes)
    found += [text async for text in _end_troubles(shared, ends)]


def node_rows(nodes: Sequence[NodeRow]) -> Iterator[tuple[str, str]]:
    """How many live, and a line for each that lives or has something open."""
    live = sum(node.state == "live" for node in nodes)
    yield "nodes", f"{live} live of {len(nodes)} seats"
    shown = [node for node in nodes if node.state != "left" or node.open_streams]
    for node in shown[:NODES_SHOWN_MAX]:
        yield f"  seat {node.seat}", f"{node.name}: {node.state}, {node.open_streams:,} open"


def node_troubles(nodes: Sequence[NodeRow]) -> Iterator[str]:
    """Who is gone, and left something open that those who live did not take over.

    By the beats of the living: the database's time, and no clock of this machine's.
    """
    beats_us = [node.beat_us for node in nodes if node.state == "live"]
    for node in nodes:
        if node.state == "live" or not node.open_streams or not beats_us:
            continue
        gone_s = (max(beats_us) - node.lease_until_us) // US_PER_S
        if gone_s > ADOPTED_S:
            yield (
                f"Seat {node.seat} ({node.name}) has been gone for {gone_s} s, and"
                f" {node.open_streams:,} of its payments were taken over by nobody: see the logs of"
                " the nodes that live."
            )


async def _end_troubles(
    store: SharedStore, ends: dict[str, dict[int, bytes]]
) -> AsyncIterator[str]:
    for name, heads in ends.items():
        last, _ = await store.audit_head(chain=name)
        newest = max(heads)
        if newest > last:
            yield (
                f"Audit chain {name} ends at row {last}, and row {newest} was published: run"
                " `paygate audit verify`, and find out who restored or cut it."
            )
