"""What the pool is to send for a call: all of it out of the payment's record, but for the card."""

from paygate_actors.card import SealedCard
from paygate_actors.credential_use import step_up_of, stepped_up_by_rule
from paygate_actors.money import Money
from paygate_actors.pool_messages import Charge, Perform
from paygate_actors.record import Call, Payment


def perform_of(
    payment: Payment, call: Call, *, payment_id: str, card: SealedCard | None
) -> Perform:
    """The request for a call. `card` is the one that came in; None: the vault has its number."""
    return Perform(
        payment_id=payment_id,
        key=call.key,
        verb=call.verb,
        amount=Money(call.amount_minor, payment.created.currency),
        target=call.target,
        charge=_charge(payment, call, card) if call.charges else None,
        prepare=call.unprepared,
        prepared_id=call.prepared_id,
    )


def _charge(payment: Payment, call: Call, card: SealedCard | None) -> Charge:
    created = payment.created
    method = created.method
    return Charge(
        method_kind=method.kind,
        merchant=created.merchant,
        capture=call.verb == "charge",
        card=card,
        token=method.token,
        expiry_month=method.expiry_month,
        expiry_year=method.expiry_year,
        holder_name=method.holder_name,
        wallet_id=method.wallet_id,
        description=created.description,
        return_url=created.return_url,
        customer_ip=created.customer_ip,
        initiator=created.initiation.by,
        reason=created.initiation.reason,
        store=created.store_credential,
        network_txn_id=created.initiation.network_transaction_id
        or created.follows_network_transaction_id,
        three_d_secure=step_up_of(created, by_rule=stepped_up_by_rule(payment)),
    )
