"""Seats, leases and duties in PostgreSQL. All times are the database's.

Each call is one statement that comes to the same a second time, so that it is simply sent again
where an answer got lost. A seat that was taken without an answer is nobody's: it runs out, and is
buried like a dead node's.
"""

from paygate_engine.errors import Fenced
from paygate_engine.stores.postgres_durability import DURABLY
from paygate_engine.stores.postgres_pool import Pool
from paygate_engine.stores.row_reading import Row
from paygate_engine.stores.shared import Beat, NodeRow, Seat

# An epoch that was given to a node and then lost in a failover would be given again.
_JOIN = f"SELECT own_seat, own_epoch, at_us, {DURABLY} FROM paygate.join_1($1, $2)"  # noqa: S608 - of ours
# `now` is read once, before the row is waited for: a lease is rather too short than too long.
_BEAT = """
WITH now AS MATERIALIZED (SELECT paygate.now_us_1() AS us)
UPDATE paygate.nodes SET beat_us = now.us, lease_until_us = now.us + $3,
    steady_since_us = CASE WHEN lease_until_us < now.us THEN now.us ELSE steady_since_us END
FROM now
WHERE seat = $1 AND epoch = $2 AND over IS NULL
RETURNING beat_us,
    (SELECT array_agg(epoch) FROM paygate.nodes WHERE over IS NULL),
    (SELECT max(epoch) FROM paygate.nodes),
    (SELECT n FROM paygate.bulletin)
"""
# A row that is locked is in use: by its node's commit, or by another who buries it.
_BURY = """
WITH now AS MATERIALIZED (SELECT paygate.now_us_1() AS us),
judge AS (
    SELECT now.us FROM paygate.nodes, now
    WHERE seat = $1 AND epoch = $2 AND over IS NULL
        AND lease_until_us >= now.us AND steady_since_us <= now.us - $3
),
late AS (
    SELECT seat FROM paygate.nodes
    WHERE over IS NULL AND epoch <> $2 AND lease_until_us < (SELECT us FROM judge)
    ORDER BY seat FOR UPDATE SKIP LOCKED
),
ended AS (
    UPDATE paygate.nodes AS kept SET over = 'buried'
    FROM late WHERE kept.seat = late.seat
    RETURNING kept.epoch
),
freed AS (DELETE FROM paygate.duties WHERE epoch IN (SELECT epoch FROM ended))
SELECT epoch FROM ended ORDER BY epoch
"""
_LEAVE = """
WITH ended AS (
    UPDATE paygate.nodes SET over = 'left'
    WHERE seat = $1 AND epoch = $2 AND over IS NULL
    RETURNING epoch
)
DELETE FROM paygate.duties WHERE epoch IN (SELECT epoch FROM ended)
"""
_NODES = """
SELECT seat, epoch, name, over, joined_us, beat_us, lease_until_us, paygate.now_us_1(),
    (SELECT count(*) FROM paygate.wakes WHERE owner = epoch)
FROM paygate.nodes ORDER BY seat
"""
# From name to name along the index: there are few chains, and they are long.
_CHAINS = """
WITH RECURSIVE names AS (
    (SELECT chain FROM paygate.audit ORDER BY chain LIMIT 1)
    UNION ALL
    SELECT (SELECT chain FROM paygate.audit WHERE chain > names.chain ORDER BY chain LIMIT 1)
    FROM names WHERE names.chain IS NOT NULL
)
SELECT chain FROM names WHERE chain IS NOT NULL
"""


class Nodes:
    """What a node does about itself and the others. `lease_us` is the length of its own lease."""

    def __init__(self, pool: Pool, *, lease_us: int) -> None:
        self._pool = pool
        self._lease_us = lease_us

    async def join(self, name: str) -> Seat:
        """Take a seat under a new epoch. Raises `Overloaded` and `StoreFailed`."""
        ((seat, epoch, at_us, *_),) = await self._pool.run(_JOIN, name, self._lease_us, kept=True)
        return Seat(seat=seat, epoch=epoch, chain=str(seat), now_us=at_us)

    async def leave(self, seat: Seat) -> None:
        """Give the seat back, if the database can be reached: tried once."""
        await self._pool.run(_LEAVE, seat.seat, seat.epoch, tries_max=1)

    async def beat(self, seat: Seat) -> Beat:
        """Prolong the lease. Raises `Fenced` and `Overloaded`."""
        rows = await self._pool.run(_BEAT, seat.seat, seat.epoch, self._lease_us, kept=True)
        if not rows:
            raise Fenced(f"epoch {seat.epoch} is over: another node has taken its work")
        now_us, live, newest, bulletin = rows[0]
        return Beat(now_us=now_us, live=frozenset(live), newest=newest, bulletin=bulletin)

    async def bury(self, seat: Seat) -> list[int]:
        """End every epoch whose lease ran out, if the own one was steady; those ended."""
        rows = await self._pool.run(_BURY, seat.seat, seat.epoch, self._lease_us)
        return [row[0] for row in rows]

    async def take_duty(self, seat: Seat, name: str) -> bool:
        """Whether the duty is the own now. Raises `Fenced` and `Overloaded`."""
        rows = await self._pool.run("SELECT paygate.take_duty_1($1, $2)", name, seat.epoch)
        return rows[0][0]

    async def drop_duty(self, seat: Seat, name: str) -> None:
        """Give a duty back, if it is the own one."""
        statement = "DELETE FROM paygate.duties WHERE name = $1 AND epoch = $2"
        await self._pool.run(statement, name, seat.epoch)

    async def rows(self) -> list[NodeRow]:
        """All seats, by number."""
        return [_to_node(row) for row in await self._pool.run(_NODES)]

    async def chains(self) -> list[str]:
        """The names of all chains that have a row, in the order of text."""
        return sorted(row[0] for row in await self._pool.run(_CHAINS))


def _to_node(row: Row) -> NodeRow:
    seat, epoch, name, over, joined_us, beat_us, lease_until_us, now_us, open_streams = row
    return NodeRow(
        seat=seat,
        epoch=epoch,
        name=name,
        state=over or ("live" if lease_until_us >= now_us else "late"),
        joined_us=joined_us,
        beat_us=beat_us,
        lease_until_us=lease_until_us,
        open_streams=open_streams,
    )
