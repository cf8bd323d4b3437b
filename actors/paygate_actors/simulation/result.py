"""How a simulated world ended."""

from msgspec import Struct

from paygate_actors.simulation.faults import Fault, Options
from paygate_actors.simulation.tracing import Breach


class Result(Struct, frozen=True, kw_only=True):
    """How a seed ended."""

    options: Options
    digest: str
    steps: int
    payments: int
    promises: int
    flagged: int
    lives: int
    virtual_s: float
    faults: dict[Fault, int]
    breach: Breach | None = None
    story: tuple[str, ...] = ()
