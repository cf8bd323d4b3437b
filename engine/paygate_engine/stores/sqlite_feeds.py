"""Feeds in SQLite: numbers given in the transaction that writes the posts, pages read in order.

There is one writer, so the number that a transaction reads is the one that it continues; what is
rolled back used none.
"""

import sqlite3
from collections.abc import Sequence

from paygate_engine.stores.base import FeedEnds, Post, Posted
from paygate_engine.stores.checksums import post_crc
from paygate_engine.stores.rules import page_size
from paygate_engine.stores.sqlite_rows import Rows

_POSTS = Rows("INSERT INTO posts (feed, n, at_us, body, crc) VALUES", 5)
_ENDS = Rows(
    "INSERT INTO feeds (feed, n) VALUES", 2, " ON CONFLICT (feed) DO UPDATE SET n = excluded.n"
)
_LAST = "SELECT n FROM feeds WHERE feed = ?"


def put_posts(connection: sqlite3.Connection, posts: Sequence[Post]) -> None:
    """Number the posts of a group, in their order, and write them. Inside a transaction."""
    ends: dict[str, int] = {}
    rows: list[tuple[object, ...]] = []
    for post in posts:
        before = ends.get(post.feed)
        n = (_last(connection, post.feed) if before is None else before) + 1
        ends[post.feed] = n
        posted = Posted(feed=post.feed, n=n, at_us=post.at_us, body=post.body)
        rows.append((post.feed, n, post.at_us, post.body, post_crc(posted)))
    _POSTS.put(connection, rows)
    _ENDS.put(connection, list(ends.items()))


def feed_page(connection: sqlite3.Connection, feed: str, after_n: int, limit: int) -> list[Posted]:
    """Posts of a feed behind a number, the oldest first."""
    rows = connection.execute(
        "SELECT feed, n, at_us, body, crc FROM posts WHERE feed = ? AND n > ? ORDER BY n LIMIT ?",
        (feed, after_n, page_size(limit)),
    )
    return [to_post(row) for row in rows.fetchall()]


def feed_ends(connection: sqlite3.Connection, feed: str) -> FeedEnds:
    """Where a feed begins and ends; one statement, so that both are of one moment."""
    last, first = connection.execute(
        "SELECT coalesce((SELECT n FROM feeds WHERE feed = ?1), 0),"
        " (SELECT min(n) FROM posts WHERE feed = ?1)",
        (feed,),
    ).fetchone()
    return FeedEnds(first=last + 1 if first is None else first, last=last)


def feed_names(connection: sqlite3.Connection, after: str, limit: int) -> list[str]:
    """Names of feeds, in order."""
    rows = connection.execute(
        "SELECT feed FROM feeds WHERE feed > ? ORDER BY feed LIMIT ?", (after, page_size(limit))
    )
    return [name for (name,) in rows.fetchall()]


def forget_posts(connection: sqlite3.Connection, feed: str, before_us: int, limit: int) -> int:
    """Delete the oldest posts, up to the first one that is not old; how many went.

    Never one from the middle, however the clock went: what is left has no gap.
    """
    rows = connection.execute(
        "SELECT n, at_us FROM posts WHERE feed = ? ORDER BY n LIMIT ?", (feed, limit)
    ).fetchall()
    upto = 0
    for n, at_us in rows:
        if at_us >= before_us:
            break
        upto = n
    return connection.execute("DELETE FROM posts WHERE feed = ? AND n <= ?", (feed, upto)).rowcount


def to_post(row: tuple[object, ...]) -> Posted:
    """The post in (feed, n, at_us, body, crc)."""
    feed, n, at_us, body, crc = row
    # A damaged row may hold anything, which its checksum then says.
    found = Posted(feed=feed, n=n, at_us=at_us, body=body)  # pyright: ignore[reportArgumentType]
    if post_crc(found) == crc:
        return found
    return Posted(feed=found.feed, n=found.n, at_us=found.at_us, body=found.body, sound=False)


def _last(connection: sqlite3.Connection, feed: str) -> int:
    row = connection.execute(_LAST, (feed,)).fetchone()
    return 0 if row is None else row[0]
