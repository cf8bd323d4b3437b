"""Durable actors on one asyncio loop: light actors, entities, a journal. Knows no payments."""

from paygate_engine.actor import LATER, BlockingActor, LightActor, LoopActor, handles
from paygate_engine.clock import Clock, ManualClock, SystemClock
from paygate_engine.entity import Entity, Recorder
from paygate_engine.future import LoopFuture
from paygate_engine.ids import Ids
from paygate_engine.journal import Journal
from paygate_engine.ref import LightRef
from paygate_engine.region import Region
from paygate_engine.stores.memory import MemoryStore
from paygate_engine.stores.sqlite import SqliteStore
from paygate_engine.supervisor import Backoff, Directive, Supervisor
from paygate_engine.system import ActorSystem

__all__ = [
    "LATER",
    "ActorSystem",
    "Backoff",
    "BlockingActor",
    "Clock",
    "Directive",
    "Entity",
    "Ids",
    "Journal",
    "LightActor",
    "LightRef",
    "LoopActor",
    "LoopFuture",
    "ManualClock",
    "MemoryStore",
    "Recorder",
    "Region",
    "SqliteStore",
    "Supervisor",
    "SystemClock",
    "handles",
]
