"""Statements that forget: what is done, or old. Each comes to the same twice."""

from paygate_engine.stores.postgres_read import Run

_ITEMS = (
    "WITH old AS (SELECT queue, id FROM paygate.items WHERE queue = $1 AND done_us < $2"
    " ORDER BY done_us, id LIMIT $3),"
    " gone AS (DELETE FROM paygate.items AS kept USING old"
    " WHERE kept.queue = old.queue AND kept.id = old.id RETURNING 1)"
    " SELECT count(*) FROM gone"
)
_DOCUMENTS = (
    "WITH old AS (SELECT kind, id FROM paygate.documents WHERE kind = $1 AND id < $2{facet}"
    " ORDER BY id LIMIT $3),"
    " gone AS (DELETE FROM paygate.documents AS kept USING old"
    " WHERE kept.kind = old.kind AND kept.id = old.id RETURNING 1)"
    " SELECT count(*) FROM gone"
)
# The oldest posts, up to the first one that is not old; never one from the middle.
_POSTS = (
    "WITH oldest AS (SELECT n, at_us FROM paygate.posts WHERE feed = $1 ORDER BY n LIMIT $3),"
    " kept AS (SELECT min(n) AS n FROM oldest WHERE at_us >= $2),"
    " upto AS (SELECT max(oldest.n) AS n FROM oldest, kept"
    " WHERE kept.n IS NULL OR oldest.n < kept.n),"
    " gone AS (DELETE FROM paygate.posts WHERE feed = $1 AND n <= (SELECT n FROM upto) RETURNING 1)"
    " SELECT count(*) FROM gone"
)


async def forget_items(run: Run, queue: str, done_before_us: int, limit: int) -> int:
    """Delete items done before a time, the oldest first; how many went."""
    return (await run(_ITEMS, queue, done_before_us, limit))[0][0]


async def forget_documents(
    run: Run, kind: str, id_before: str, facet: str | None, limit: int
) -> int:
    """Delete documents with smaller ids, the oldest first; how many went."""
    if facet is None:
        return (await run(_DOCUMENTS.format(facet=""), kind, id_before, limit))[0][0]
    statement = _DOCUMENTS.format(facet=" AND f1 = $4")
    return (await run(statement, kind, id_before, limit, facet))[0][0]


async def forget_posts(run: Run, feed: str, before_us: int, limit: int) -> int:
    """Delete a feed's oldest posts, as far as all are older than a time; how many went."""
    return (await run(_POSTS, feed, before_us, limit))[0][0]
