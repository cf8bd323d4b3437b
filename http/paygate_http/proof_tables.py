"""What `paygate prove` shows of one payment: its calls, its sums, who recorded it."""

import sys
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.table import Table

from paygate_actors.money import Money
from paygate_actors.proof import Proof
from paygate_actors.record import Payment
from paygate_actors.views import payment_view

PIPE_WIDTH: Final = 220


def show_proof(proof: Proof, payment: Payment, nodes: Mapping[int, str]) -> None:
    """Print the calls of a payment, its sums, and which node recorded what, if any did.

    `nodes` are the names of those that are known, by epoch.
    """
    # Into a pipe nothing is folded: half a key is of no use to anybody.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(_calls(proof, payment))
    console.print(_sums(payment))
    if any(span.epoch for span in proof.recorded):
        console.print(_recorded(proof, nodes))


def _calls(proof: Proof, payment: Payment) -> Table:
    currency = payment.created.currency
    calls = Table(title=f"{payment.id}, {payment.status}: {proof.events} events")
    for name in ("intent", "of", "key", "provider", "answer", "at the provider"):
        calls.add_column(name, overflow="fold")
    for name in ("asked", "confirmed"):
        calls.add_column(name, justify="right")
    for call in payment.calls:
        answer = "in doubt" if call.in_doubt else call.state
        confirmed = "" if call.confirmed_minor is None else _money(call.confirmed_minor, currency)
        calls.add_row(
            call.verb,
            call.transaction_id,
            call.key,
            call.provider,
            answer,
            call.provider_txn_id or "",
            _money(call.amount_minor, currency),
            confirmed,
        )
    return calls


def _sums(payment: Payment) -> Table:
    currency = payment.created.currency
    view = payment_view(payment)
    sums = Table(title="sums")
    sums.add_column("what")
    sums.add_column("how much", justify="right")
    for name, minor in {
        "asked for": view.amount_minor,
        "authorized": view.amount_authorized_minor,
        "captured": view.amount_captured_minor,
        "released": view.amount_released_minor,
        "refunded": view.amount_refunded_minor,
        "returned": view.amount_returned_minor,
        "disputed": view.amount_disputed_minor,
    }.items():
        sums.add_row(name, _money(minor, currency))
    return sums


def _recorded(proof: Proof, nodes: Mapping[int, str]) -> Table:
    table = Table(title="recorded by")
    table.add_column("events")
    table.add_column("epoch", justify="right")
    table.add_column("node", overflow="fold")
    for span in proof.recorded:
        gone = "before there were nodes" if span.epoch == 0 else "its seat is another node's now"
        events = f"{span.first_seq} to {span.last_seq}"
        table.add_row(events, str(span.epoch), nodes.get(span.epoch, gone))
    return table


def _money(minor: int, currency: str) -> str:
    return str(Money(minor, currency))
