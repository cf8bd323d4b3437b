"""CRC-32 over whole rows, so that a flipped bit is seen when a row is read.

A database engine checks its pages' structure, not what is in them, and a disk may give back other
bytes than it took. The names that a row is found by are covered too: a row that is found under
another name than it was written under is not sound. What proves that nobody *changed* rows is the
audit chain; a checksum is for accidents.

A damaged row may hold values of any type, so nothing here relies on the types of a sound one.
"""

from zlib import crc32

from paygate_engine.stores.base import Claim, Document, Event, Item, Posted, Wake


def event_crc(event: Event) -> int | None:
    """Over all fields of an event; None for what no event can be."""
    # An event of the only node has none, and its checksum is that of before there were others.
    by = f"{event.epoch}\n" if event.epoch else ""
    return _crc(f"{event.stream}\n{event.seq}\n{event.at_us}\n{event.kind}\n{by}", event.body)


def document_crc(document: Document) -> int | None:
    """Over all fields of a document but its links; None for what no document can be."""
    facets = "\x1f".join(map(str, document.facets))
    return _crc(f"{document.kind}\n{document.id}\n{document.scope}\n{facets}\n", document.body)


def claim_crc(claim: Claim) -> int | None:
    """Over name, holder and body of a claim; None for what no claim can be."""
    return _crc(f"{claim.name}\n{claim.stream}\n", claim.body)


def item_crc(item: Item) -> int | None:
    """Over all fields of an item; None for what no item can be. When it was done is not covered."""
    return _crc(f"{item.queue}\n{item.id}\n{item.key}\n{item.at_us}\n", item.body)


def post_crc(post: Posted) -> int | None:
    """Over feed, number, time and body of a post; None for what no post can be."""
    return _crc(f"{post.feed}\n{post.n}\n{post.at_us}\n", post.body)


def told_crc(feed: str, at_us: int, body: bytes) -> int | None:
    """Like `post_crc`, where the number is not known: whoever gives it covers it with XOR."""
    return _crc(f"{feed}\n{at_us}\n", body)


def wake_crc(wake: Wake) -> int | None:
    """Over the stream and the time."""
    return _crc(f"{wake.stream}\n{wake.at_us}\n", b"")


def _crc(head: str, body: object) -> int | None:
    return crc32(body, crc32(head.encode())) if isinstance(body, bytes) else None
