"""That the outcome of a call is not known, and who follows it from there. Pure."""

from paygate_actors import events as e
from paygate_actors.draft import Draft
from paygate_actors.outcomes import UnknownReason
from paygate_actors.record import Call


def doubt(draft: Draft, call: Call, reason: UnknownReason) -> None:
    """Record once that the call's outcome is not known."""
    if call.state == "open" and not call.in_doubt:
        draft.add(e.CallInDoubt(key=call.key, reason=reason))


def take_up(draft: Draft, call: Call) -> None:
    """Follow the call from here on: who did so is gone, and nobody knows whether it has left.

    Of a node that died it is recorded once more: by that, one of those who are left takes it. So it
    is where a payer was asked: nothing is in doubt, and his approval has to be taken by somebody.
    """
    another = call.epoch != draft.epoch
    unknown = call.state == "open" and (another or not call.in_doubt)
    if unknown or (call.state == "action" and another):
        draft.add(e.CallInDoubt(key=call.key, reason="restarted"))
