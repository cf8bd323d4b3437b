"""What may go wrong in a simulated world, and which of it does, in which seed."""

import random
from typing import Final, Literal, get_args

from msgspec import Struct

from paygate_actors.simulation.kinds import KINDS, Kind

AloneFault = Literal[
    # between the gateway and a provider
    "not_sent",  # no byte of the request left
    "request_lost",  # it left and never arrived
    "request_late",  # it arrives long after the gateway stopped waiting
    "request_doubled",  # it arrives twice
    "reply_lost",  # it was done, and the answer got lost
    "reply_slow",
    "reply_garbage",
    "reply_swapped",  # the answer to another request
    # at a provider
    "too_many_requests",
    "server_error",  # nothing was done
    "server_error_stored",  # nothing was done, and the key answers so for ever
    "outage",  # nothing is answered for minutes
    "pending",  # it takes its time and says so
    "wrong_amount",  # it does another amount than was asked for
    "late_success",  # it declines, and does it after all
    "refund_bounces",  # a refund that succeeded comes back
    "provider_refund",  # it refunds by itself
    "find_lag",  # a look-up does not see for minutes what was done
    "find_fails",
    "disputed",  # the payer wants the money back, and gets it, or not, or not for good
    "link_stopped",  # nothing gets through one way for minutes; then all of it, at once
    # webhooks
    "webhook_dropped",
    "webhook_late",
    "webhook_doubled",
    "webhook_bare",  # it names the provider's transaction and nothing else
    "webhook_early",  # before the reply to the call that it speaks of
    "webhook_forged",  # somebody else sends one
    # the disk
    "slow_sync",
    "disk_full",
    "sync_failed",  # nobody knows what was written
    "commit_lost",  # the process dies before the group is on the disk
    "commit_unknown",  # the process dies when it is, and before anybody was told
    # the process
    "crash",
    "crash_in_recovery",
    "freeze",
    "long_outage",  # a day passes before it is started again
    "clock_jump",
    # the clients
    "disconnect",
    "request_spoilt",  # what they send is no request, or not theirs to make
    # people
    "desk_used",  # an operator asks again, marks as not charged, or as seen
    "status_set",  # an operator says how a transaction ended, whatever the provider says
]
NodeFault = Literal[
    # between a node and the database
    "database_cut",  # nothing gets through to it, or nothing back, or neither
    "database_down",  # no node reaches it
    "database_slow",
    "commit_in_doubt",  # the connection breaks: the group is there, or is not, or comes late
    "words_lost",  # what one node says, another one does not hear
    # the nodes
    "node_leaves",  # one stops in good order, and comes back
    "rolling_restart",  # one after the other does
]
RareFault = Literal[
    "provider_capture",  # it captures a hold by itself, the whole of it or a part
    "without_room",  # the disk is full for minutes
]
Fault = AloneFault | NodeFault | RareFault
FAULTS: Final[tuple[Fault, ...]] = get_args(AloneFault)
NODE_FAULTS: Final[tuple[Fault, ...]] = get_args(NodeFault)
"""What goes wrong only where there are several nodes."""
RARE_FAULTS: Final[tuple[Fault, ...]] = get_args(RareFault)
"""What goes wrong in some worlds beside their half of the others, and draws dice of its own.

A world without them is what it was before there were any.
"""

# Chances of each fault at each occasion: from a quiet day to a day on which little works.
_INTENSITIES: Final = (0.02, 0.05, 0.1, 0.2)
# Three quiet days cost as much as all that came before: one world in eight rests for longer than
# any hold, key or window lasts.
_QUIET_HOURS: Final = (1, 1, 1, 1, 1, 1, 1, 72)
# All is told in every world, and delivered where somebody listens, which costs a third more.
_RECEIVERS: Final = 0.1
CLIENTS_MIN: Final = 5
CLIENTS_MAX: Final = 50
HOURS: Final = 72
NODES_MAX: Final = 3
# How many worlds may have each of the rare faults: enough that each run of some hundred meets them.
_RARE: Final = 0.1
# Most worlds have one node over its own disk; of the others, those of two are read more easily.
_SEVERAL: Final = 0.3
_THREE: Final = 0.13
# How many payments stay in memory that could be read back: what configurations say, which is more
# than a world has, or so few that what is pending or over sleeps and wakes all the time.
_LINGERING: Final = (1_000, 1_000, 0, 1)
# What configurations say: the default, and one that is patient with a slow database.
_LEASES_S: Final = (10.0, 30.0)


class Options(Struct, frozen=True, kw_only=True):
    """Everything that a seed decides before the world begins.

    `calm_s`: how long faults happen. `hours`: how long the world may take to come to rest.
    `quiet_hours`: how long it must stay there. `kinds`: what kind of provider each account is.
    `adapters`: kinds whose real adapters take part, against accounts that speak their language.
    `receivers`: merchants have webhook endpoints, which are as bad as everything else.
    `nodes`: one over its own disk, or several over one database, with leases of `lease_s`.
    `lingering`: how many payments each keeps in memory that could be read back.
    """

    seed: int
    faults: tuple[Fault, ...]
    intensity: float
    clients: int
    calm_s: float
    hours: float
    quiet_hours: int
    void_window_s: int
    kinds: tuple[Kind, Kind]
    adapters: tuple[str, ...] = ()
    receivers: bool = False
    nodes: int = 1
    lease_s: float = _LEASES_S[0]
    lingering: int = _LINGERING[0]


def seeded(seed: int, what: str) -> random.Random:
    """Chance for one purpose: what one part draws moves no other's dice."""
    return random.Random(f"{seed}/{what}")  # noqa: S311 - it must come again, and guards nothing


def options_of(
    seed: int,
    *,
    faults: tuple[Fault, ...] | None = None,
    hours: float = HOURS,
    kinds: tuple[Kind, Kind] | None = None,
    adapters: tuple[str, ...] = (),
    nodes: int | None = None,
) -> Options:
    """The options of a seed: half of the faults can happen, and rare ones; or those named here."""
    rng = seeded(seed, "options")
    half = sorted(rng.sample(range(len(FAULTS)), len(FAULTS) // 2))
    # Small worlds are drawn more often: they are quick, and what goes wrong in them is readable.
    # The third draw has dice of its own: it came later, and what other dice said stays said.
    draws = (rng, rng, seeded(seed, "clients"))
    clients = min(each.randint(CLIENTS_MIN, CLIENTS_MAX) for each in draws)
    several = seeded(seed, "nodes")
    drawn = _nodes(several.random())
    nodes = nodes or drawn
    happen: tuple[Fault, ...] = tuple(FAULTS[place] for place in half)
    if nodes > 1:
        # With dice of their own, so that a world of one node is what it was before there were more.
        happen += tuple(several.sample(NODE_FAULTS, (len(NODE_FAULTS) + 1) // 2))
    rare: list[Fault] = [
        each for each in RARE_FAULTS if seeded(seed, f"has {each}").random() < _RARE
    ]
    happen += tuple(rare)
    return Options(
        seed=seed,
        faults=happen if faults is None else faults,
        intensity=rng.choice(_INTENSITIES),
        clients=clients,
        calm_s=rng.choice((30.0, 120.0, 600.0)),
        hours=hours,
        # Beats make days of several nodes dear, and what lasts for days is no node's business.
        quiet_hours=min(rng.choice(_QUIET_HOURS), _QUIET_HOURS[-1] if nodes == 1 else 1),
        void_window_s=rng.choice((60, 3_600, 86_400)),
        kinds=kinds or _kinds(seeded(seed, "kinds")),
        adapters=adapters,
        receivers=seeded(seed, "receivers").random() < _RECEIVERS,
        nodes=nodes,
        lease_s=several.choice(_LEASES_S),
        lingering=seeded(seed, "lingering").choice(_LINGERING),
    )


def _nodes(chance: float) -> int:
    if chance < _THREE:
        return NODES_MAX
    return 2 if chance < _SEVERAL else 1


def _kinds(rng: random.Random) -> tuple[Kind, Kind]:
    return rng.choice(KINDS), rng.choice(KINDS)


class Dice:
    """Rolls for faults. After `heal` nothing goes wrong any more. Counts what did."""

    def __init__(self, options: Options) -> None:
        self.rng = seeded(options.seed, "faults")
        self.counts: dict[Fault, int] = {}
        self._options = options
        self._enabled = frozenset(options.faults)
        self._healed = False

    @property
    def healed(self) -> bool:
        """Whether everything works from now on."""
        return self._healed

    def heal(self) -> None:
        """Let everything work from now on."""
        self._healed = True

    def strikes(
        self, fault: Fault, *, weight: float = 1.0, by: random.Random | None = None
    ) -> bool:
        """Whether this goes wrong now; `weight` makes it likelier or rarer than others.

        `by`: dice of its own, so that it moves no other's where it does not happen.
        """
        if self._healed or fault not in self._enabled:
            return False
        if (by or self.rng).random() >= self._options.intensity * weight:
            return False
        self.counts[fault] = self.counts.get(fault, 0) + 1
        return True

    def enabled(self, fault: Fault) -> bool:
        """Whether this seed has the fault, and the world is not healed."""
        return not self._healed and fault in self._enabled

    def between(self, low: float, high: float) -> float:
        """A number of seconds; evenly spread."""
        return low + (high - low) * self.rng.random()
