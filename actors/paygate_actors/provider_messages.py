"""Providers as operators see them, and what operators say about them."""

from typing import Literal

from msgspec import Struct


class Tuning(Struct, frozen=True, kw_only=True):
    """What an operator sets about a provider beside its switches; None: it stays as it is."""

    priority: int | None = None
    weight: int | None = None
    concurrency: int | None = None


AS_IT_IS = Tuning()


class CircuitView(Struct, frozen=True, kw_only=True):
    """One operation at a provider; the figures are of its newest calls, None: no calls yet."""

    operation: Literal["charge", "capture", "void", "refund", "find"]
    circuit: Literal["closed", "open", "half_open"]
    success_rate_milli: int | None
    slow_rate_milli: int | None
    p99_ms: int | None


class ProviderView(Struct, frozen=True, kw_only=True):
    """A provider with its switches and live health; `success_rate_milli` None: no calls yet.

    `circuit` and the two figures are those of charges. `concurrency`: calls at a time; `running`
    and `waiting`: how many there are. `quiet_ms`: for how long it wants to be left alone.
    `repeats_left`: how many calls that it turned away may be sent again now.
    """

    id: str
    name: str
    kind: str
    is_active: bool
    accepts_charges: bool
    priority: int
    config: dict[str, str]
    created_at_us: int
    circuit: Literal["closed", "open", "half_open"]
    success_rate_milli: int | None
    p99_ms: int | None
    weight: int = 1
    concurrency: int = 1
    running: int = 0
    waiting: int = 0
    quiet_ms: int = 0
    repeats_left: int = 0
    circuits: tuple[CircuitView, ...] = ()
