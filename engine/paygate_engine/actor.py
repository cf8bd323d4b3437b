"""The three kinds of actor, under one roof: light, loop and blocking ones."""

from paygate_engine.blocking import BlockingActor
from paygate_engine.cell import Parent
from paygate_engine.light import LightActor, handles
from paygate_engine.loop_actor import LoopActor
from paygate_engine.marks import LATER

__all__ = ["LATER", "BlockingActor", "LightActor", "LoopActor", "Parent", "handles"]
