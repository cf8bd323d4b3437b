"""What an operator says about a payment on the desk, held against what the provider says. Pure.

A person's word never stands in for a provider's: "not charged" is written only where the charge
cannot succeed any more, and as an assertion, which the provider's truth undoes when it comes.
"""

from typing import Final

import msgspec

from paygate_actors import events as e
from paygate_actors.charging import ELSEWHERE_US
from paygate_actors.desk import doubtful_charge
from paygate_actors.desk_messages import MarkSeen
from paygate_actors.draft import Context, Draft
from paygate_actors.facts import said
from paygate_actors.messages import Refusal, RefusalCode
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.payment_messages import NotCharged
from paygate_actors.preparing import give_up, is_unconfirmed, may_give_up
from paygate_actors.providers.base import Capabilities
from paygate_actors.pursuit import cannot_succeed_from_us, shows
from paygate_actors.record import IN_DOUBT, Call
from paygate_actors.rfc3339 import time_text

PROVIDER_SILENT: Final = Refusal(
    code="provider_silent",
    detail="The provider did not say what became of the charge. Nothing was changed.",
    retry_after_s=5,
)
UNCONFIRMED: Final = (
    "The provider has the charge prepared and unconfirmed. It is confirmed again, or after two"
    " minutes cancelled there; when the provider says that it is, the payment fails by itself."
)
UNSEEABLE: Final = (
    "The provider shows no charges to those who ask, so nobody here can know. Find it in its own"
    " records, and set the transaction's status by force."
)


def not_charged(
    draft: Draft, message: NotCharged, ctx: Context, can: Capabilities | None
) -> Refusal | None:
    """Set the charge in doubt as not made, as far as the provider's fresh answer lets it be so.

    None: so it is, by the provider's word or now by the operator's; a repetition finds it so.
    What the provider does say is booked in any case, and leads to no other provider.
    """
    first = draft.payment.txns[0]
    if (first.asserted or first.status) in ("failed", "cancelled"):
        return None
    charge = doubtful_charge(draft.payment)
    if charge is None:
        return _refused("not_in_doubt", "No charge of this payment is in doubt.")
    fresh = message.fresh
    if charge.unprepared:
        # Nothing that moves money has left, and from here on nothing can: no need to ask.
        give_up(draft, charge, msgspec.structs.replace(ctx, routes=()))
        return None
    if can is None or message.key != charge.key or not _says(fresh):
        return PROVIDER_SILENT
    match fresh:
        case Declined():
            # The operator gives the charge up: a decline that may be tried elsewhere is not.
            said(draft, charge, fresh, msgspec.structs.replace(ctx, routes=()))
            return None
        case Approved() | Pending() | ActionRequired():
            said(draft, charge, fresh, ctx)
            return _refused("provider_disagrees", "The provider says that it has the charge.")
        case _ if fresh is not None and is_unconfirmed(charge, fresh):
            return _unconfirmed(draft, charge, ctx)
        case _:
            return _unseen(draft, charge, message, can)


def seen(draft: Draft, command: MarkSeen) -> Refusal | None:
    """Note that a person has looked at what was raised; None: nothing of it is left to look at."""
    newest = command.up_to_seq or draft.payment.seq
    about = [each for each in draft.payment.unseen if each.seq <= newest]
    looked_at = [each for each in about if each.code != IN_DOUBT]
    if looked_at:
        draft.add(
            e.AttentionCleared(
                up_to_seq=looked_at[-1].seq, by=command.caller.key_id, note=command.note
            )
        )
        return None
    if about:
        detail = "A call is still in doubt; this ends when its provider says what became of it."
        return _refused("still_in_doubt", detail)
    return None


def _says(fresh: Outcome | None) -> bool:
    """Whether the provider was reached and said something about the key."""
    match fresh:
        case None:
            return False
        case Unknown():
            return fresh.reason in ("not_visible", "key_known", "in_progress")
        case Declined():
            return fresh.conclusive
        case _:
            return True


def _unconfirmed(draft: Draft, charge: Call, ctx: Context) -> Refusal:
    # A confirmation may still be on its way: what is there is cancelled first. So soon that the
    # payment would then be tried elsewhere, it is none of the operator's business.
    if may_give_up(draft.payment, charge) and ctx.now_us - charge.started_at_us >= ELSEWHERE_US:
        give_up(draft, charge, ctx)
    return _refused("still_may_succeed", UNCONFIRMED)


def _unseen(draft: Draft, charge: Call, message: NotCharged, can: Capabilities) -> Refusal | None:
    fresh = message.fresh
    not_visible = isinstance(fresh, Unknown) and fresh.reason == "not_visible"
    if not shows(can, charge):
        return _refused("still_may_succeed", UNSEEABLE)
    from_us = cannot_succeed_from_us(charge, can)
    if not not_visible or message.asked_at_us < from_us:
        # Absence proves nothing yet: the request may be under way, or go out again.
        until = "" if not not_visible else f" until {time_text(from_us)}"
        detail = (
            "The provider does not say what became of the charge, which may still succeed"
            f"{until}. It goes on being asked about, and is sent again under the same key where"
            " that is safe."
        )
        return _refused("still_may_succeed", detail)
    draft.add(
        e.StatusAsserted(
            transaction_id=charge.transaction_id,
            status="failed",
            reason=message.command.reason,
            by=message.command.caller.key_id,
        )
    )
    return None


def _refused(code: RefusalCode, detail: str) -> Refusal:
    return Refusal(code=code, detail=detail)
