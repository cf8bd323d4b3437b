"""What may be done with a payer's credential at a provider, and what the provider told of it. Pure.

Routing asks `unfit` whether a provider can have a payment at all; whoever would send a charge
again asks `lacks_cvv` first, because a card out of the vault has none.
"""

from typing import Literal

from paygate_actors import events as e
from paygate_actors.credentials import StepUp, is_provider_token, recordable_network_id
from paygate_actors.draft import Draft
from paygate_actors.outcomes import Approved
from paygate_actors.providers.base import Capabilities
from paygate_actors.record import Call, Payment

Unfit = Literal["method", "cvv", "three_d_secure"]

STEP_UP_MISSING = "step_up_missing"
"""The concern: a payer who had to prove who they are was charged without."""


def unfit(created: e.PaymentCreated, can: Capabilities, *, step_up: StepUp) -> Unfit | None:
    """Why the provider cannot have this payment for its credential's sake; None: it can.

    `step_up`: what `step_up_of` says of the payment.
    """
    if is_provider_token(created.method.token) and not can.provider_tokens:
        return "method"
    if created.without_cvv and _wants_cvv(created, can):
        return "cvv"
    if step_up == "required" and not can.three_d_secure:
        return "three_d_secure"
    return None


def lacks_cvv(created: e.PaymentCreated, can: Capabilities, *, has_card: bool) -> bool:
    """Whether a charge must not be sent now: the provider wants the CVV, and nobody has it.

    `has_card`: the card is at hand as it came in; after a restart it is not. What is in doubt then
    is asked about and never sent again: a request without the CVV is another request.
    """
    return _wants_cvv(created, can) and (created.without_cvv or not has_card)


def step_up_of(created: e.PaymentCreated, *, by_rule: bool) -> StepUp:
    """Whether the payer must prove who they are; `by_rule`: a routing rule demands it.

    Never where the merchant started the payment: nobody is there who could.
    """
    if created.initiation.by == "merchant":
        return "automatic"
    return "required" if by_rule else created.three_d_secure


def note_credential(draft: Draft, call: Call, said: Approved) -> None:
    """Record once what an approval tells of the credential. `call`: as it was before.

    A person is called where the payer had to prove who they are and the provider says that they
    did not: the money was taken, and whoever disputes it will win.
    """
    payment = draft.payment
    network_txn_id = recordable_network_id(said.network_txn_id)
    proved = said.authentication
    if proved is None and call.url is not None:
        proved = "challenge"  # it wanted the payer, and went on when the payer had been there
    news = e.CredentialNoted(
        key=call.key,
        network_transaction_id=None if payment.network_txn_id else network_txn_id,
        authentication=None if payment.authentication else proved,
    )
    if news.network_transaction_id is None and news.authentication is None:
        return
    draft.add(news)
    required = step_up_of(payment.created, by_rule=stepped_up_by_rule(payment)) == "required"
    if required and news.authentication == "none":
        draft.attend(STEP_UP_MISSING, call.key)


def told_too_little(payment: Payment) -> bool:
    """Whether an approved charge lacks what a later one or a dispute will need of it.

    Webhooks tell neither the network's id nor how the payer proved who they are: a look-up may.
    """
    if payment.created.store_credential and payment.network_txn_id is None:
        return True
    required = step_up_of(payment.created, by_rule=stepped_up_by_rule(payment)) == "required"
    return required and payment.authentication is None


def stepped_up_by_rule(payment: Payment) -> bool:
    """Whether the routing rule that decided about the payment demands a step-up."""
    return payment.route is not None and payment.route.three_d_secure


def _wants_cvv(created: e.PaymentCreated, can: Capabilities) -> bool:
    # Only a card has one, and a payer who is not there cannot read it out.
    is_card = created.method.last4 is not None
    return is_card and created.initiation.by == "customer" and not can.takes_no_cvv
