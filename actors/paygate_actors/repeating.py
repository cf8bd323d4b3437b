"""Answers that repeat what was done before: told once no failover can forget it.

What a node does itself it tells when that is committed, standbys included. What it reads of another
node may be on the primary alone: somebody cancelled the wait for the standbys, or the server was
started again meanwhile. A commit of its own comes behind that in the server's log.
"""

import asyncio
from typing import TypeVar

from paygate_actors.guarding import RECORDED_S, guarded
from paygate_actors.messages import PaymentReply, Refusal, TransactionReply
from paygate_actors.nodes import Nodes
from paygate_engine.errors import AskTimeout
from paygate_engine.journal import Journal
from paygate_engine.stores.base import Unit

R = TypeVar("R", PaymentReply, TransactionReply)


async def kept(reply: R | Refusal, journal: Journal, nodes: Nodes) -> R | Refusal:
    """The reply; where it repeats another one, behind a commit that has nothing in it."""
    if isinstance(reply, Refusal) or not reply.replayed or not nodes.share_a_store:
        return reply
    return await guarded(_committed(journal)) or reply


async def _committed(journal: Journal) -> None:
    try:
        async with asyncio.timeout(RECORDED_S):
            await journal.append_wait(Unit())
    except TimeoutError as error:
        raise AskTimeout("the journal did not say in time that it had committed") from error
