"""The audit chains of many nodes, walked together, and the ends that each published."""

from pathlib import Path

from paygate_actors.audit import heads_file, published_by_chain
from paygate_actors.chains import ONLY, chains_of, own_chain, rows_count, walk_chains
from paygate_actors.vault import KEY_BYTES, Vault
from paygate_engine import chain
from paygate_engine.clock import ManualClock
from paygate_engine.heads import append_head, sign_head
from paygate_engine.stores.base import AuditEntry, Event, Store, Unit
from paygate_engine.stores.memory import MemoryStore
from paygate_engine.stores.shared_memory import MemoryCluster, SharedMemoryStore

HASH = bytes(range(32))


async def write(store: Store, stream: str, *, audited: bool = True) -> chain.Head:
    """Commit an event and its audit row; the head of the chain then."""
    n, newest = await store.audit_head()
    links = chain.Chain(chain.Head(n=n, hash=newest))
    unit = Unit(
        events=(Event(stream=stream, seq=1, at_us=1, kind="made", body=b"{}"),),
        audit=(AuditEntry(at_us=1, who="test", what="make", stream=stream),) if audited else (),
    )
    assert await store.commit([unit], links.link([unit])) == [None]
    return links.head


async def node(cluster: MemoryCluster) -> SharedMemoryStore:
    store = cluster.node()
    await store.open()
    await store.join("a node")
    return store


async def two_nodes() -> tuple[SharedMemoryStore, SharedMemoryStore]:
    cluster = MemoryCluster(clock=ManualClock())
    return await node(cluster), await node(cluster)


async def test_every_nodes_chain_is_walked_and_its_rows_are_counted_together():
    ann, bob = await two_nodes()
    await write(ann, "pay_1")
    heads = {"1": await write(ann, "pay_2"), "2": await write(bob, "pay_3")}

    walked = await walk_chains(ann, {})

    assert (walked.fault, walked.heads, walked.rows) == (None, heads, 3)
    assert (await rows_count(bob), await chains_of(bob)) == (3, ["1", "2"])
    assert (own_chain(ann), own_chain(bob)) == ("1", "2")


async def test_a_published_end_is_held_against_its_own_chain():
    ann, bob = await two_nodes()
    await write(ann, "pay_1")
    await write(bob, "pay_2")

    walked = await walk_chains(ann, {"2": {1: HASH}})

    assert (walked.chain, walked.fault and walked.fault.n) == ("2", 1)


async def test_a_chain_of_which_an_end_was_published_and_nothing_is_there_is_a_fault():
    ann, _ = await two_nodes()
    await write(ann, "pay_1")

    walked = await walk_chains(ann, {"7": {3: HASH}})

    assert walked.chain == "7"
    assert walked.fault is not None
    assert "cut short" in walked.fault.text


async def test_events_that_no_chain_covers_are_a_fault():
    ann, bob = await two_nodes()
    await write(ann, "pay_1")
    await write(bob, "pay_2", audited=False)

    walked = await walk_chains(ann, {})

    assert walked.fault is not None
    assert walked.fault.text.startswith("2 events are stored, and the rows cover 1")


async def test_a_store_of_ones_own_has_one_chain_without_a_name():
    store = MemoryStore()
    await store.open()
    head = await write(store, "pay_1")

    walked = await walk_chains(store, {ONLY: {1: head.hash}})

    assert (walked.fault, walked.heads) == (None, {ONLY: head})
    assert (await rows_count(store), own_chain(store)) == (1, ONLY)


def test_the_ends_of_each_chain_lie_in_a_file_of_its_own(tmp_path: Path):
    vault = Vault((("k", bytes(KEY_BYTES)),), b"f" * KEY_BYTES, random=bytes)
    key = vault.mac("audit-heads", b"signing key")
    for name, n in ((ONLY, 1), ("1", 2), ("12", 3)):
        head = sign_head(key, chain.Head(n=n, hash=HASH), 5)
        append_head(tmp_path / heads_file(name), head)

    found = published_by_chain(tmp_path, vault)

    assert found == {ONLY: {1: HASH}, "1": {2: HASH}, "12": {3: HASH}}
    assert heads_file(ONLY) == "audit.heads"
