"""What operators and merchants hear of what is open: the desk, its four actions, explanations.

The desk shows every payment with a call whose outcome is not known, or with something that a
person should look at. Amounts are minor units, times UTC microseconds.
"""

from typing import Literal

from msgspec import Struct

from paygate_actors.events import Verb
from paygate_actors.messages import Caller, PaymentStatus

DeskAction = Literal["ask_again", "mark_not_charged", "give_back", "seen"]

CallStanding = Literal["sending", "in_doubt", "pending", "requires_action"]
"""Not answered yet; not known; the provider takes its time; the payer must confirm."""


class AskAgain(Struct, frozen=True, kw_only=True):
    """Ask the provider now about everything of the payment that it has not settled."""

    caller: Caller
    payment_id: str


class MarkNotCharged(Struct, frozen=True, kw_only=True):
    """A charge in doubt was not made: refused unless the provider, asked first, lets it be so."""

    caller: Caller
    payment_id: str
    reason: str


class GiveBack(Struct, frozen=True, kw_only=True):
    """Give back again what could not be: repeat the newest reverse that failed."""

    caller: Caller
    payment_id: str
    reason: str


class MarkSeen(Struct, frozen=True, kw_only=True):
    """A person has looked at what asked for one; `up_to_seq` None: at everything there is."""

    caller: Caller
    payment_id: str
    note: str
    up_to_seq: int | None = None


class ConcernView(Struct, frozen=True, kw_only=True):
    """Why a person should look: since which event (`seq`) of the payment, and when."""

    seq: int
    code: str
    at_us: int
    detail: str = ""


class OpenCall(Struct, frozen=True, kw_only=True):
    """A call that its provider has not settled.

    `asks`, `asking`, `last_answer` and `next_check_us` are the process's own: since it started.
    `key_window_ends_us`: until then the provider remembers the key; None: it is not configured
    any more. `can_resend`: the same request may still go out again under that key. `asserted`:
    an operator has said what became of it, and it is asked about all the same. Merchants are not
    told the key, the counts and the windows: those are None.
    """

    transaction_id: str
    operation: Verb
    provider: str
    key: str | None
    amount_minor: int
    standing: CallStanding
    started_at_us: int
    asks: int | None = 0
    asking: bool = False
    last_answer: str | None = None
    next_check_us: int | None = None
    key_window_ends_us: int | None = None
    can_resend: bool | None = False
    asserted: bool = False


class DeskEntry(Struct, frozen=True, kw_only=True):
    """A payment on the desk. `attention` is the first to look at of `concerns` (newest last).

    `calls` are those whose outcome is not known, or that nobody has answered; `since_us` is when
    the oldest of all that began; `actions` are those that can be taken now.
    """

    payment_id: str
    merchant: str
    status: PaymentStatus
    amount_minor: int
    currency: str
    since_us: int
    in_doubt: bool
    attention: str | None
    concerns: tuple[ConcernView, ...] = ()
    calls: tuple[OpenCall, ...] = ()
    actions: tuple[DeskAction, ...] = ()


class DeskPage(Struct, frozen=True, kw_only=True):
    """Entries of the desk, the newest payment first; `next_cursor` None: that was all."""

    items: tuple[DeskEntry, ...]
    next_cursor: str | None


class Told(Struct, frozen=True, kw_only=True):
    """What decided where the payment is: the event's number, its time, and plain words."""

    seq: int
    at_us: int
    text: str


class Ahead(Struct, frozen=True, kw_only=True):
    """What happens next. `by`: who acts. `at_us` None: nobody can say when."""

    action: str
    by: Literal["paygate", "provider", "payer", "merchant", "operator", "nobody"]
    text: str
    at_us: int | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a payment is where it is, and what comes; where nothing is awaited, `ahead` says so."""

    payment_id: str
    currency: str
    status: PaymentStatus
    in_doubt: bool
    attention: str | None
    why: tuple[Told, ...]
    ahead: tuple[Ahead, ...]
    calls: tuple[OpenCall, ...]
