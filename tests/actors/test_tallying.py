"""The sums that a shared store adds up: ours have to fit in, facts always do."""

from itertools import pairwise

from msgspec.structs import replace
from payment_cases import succeeded

from paygate_actors.record import Payment, Txn
from paygate_actors.tallying import tallied, tally

CAPTURED = succeeded().payment
PRICE = CAPTURED.captured_minor


def having(payment: Payment, *txns: Txn) -> Payment:
    return replace(payment, txns=(*payment.txns, *txns))


def refund(minor: int, *, origin: str = "merchant", status: str = "pending", **changes: object):
    made = Txn(
        id="txn_r",
        type="refund",
        origin=origin,  # pyright: ignore[reportArgumentType]  # the union's words
        status=status,  # pyright: ignore[reportArgumentType]
        amount_minor=minor,
        currency=CAPTURED.created.currency,
        created_at_us=1,
        updated_at_us=1,
    )
    return replace(made, **changes)


def sums(*states: Payment) -> list[tuple[int, int]]:
    """What a store has added up after each state, beginning with the first."""
    limit = used = 0
    found: list[tuple[int, int]] = []
    for before, after in pairwise((None, *states)):
        moved = None if after is None else tally(before, after)
        if moved is not None:
            limit, used = limit + moved.limit, used + moved.used
        found.append((limit, used))
    return found


def test_a_capture_is_the_limit_and_a_refund_is_used():
    after = having(CAPTURED, refund(PRICE))

    assert sums(CAPTURED, after) == [(PRICE, 0), (PRICE, PRICE)]


def test_a_refund_of_ours_beyond_the_captured_breaks_the_limit():
    (_, (limit, used)) = sums(CAPTURED, having(CAPTURED, refund(PRICE + 1)))

    assert used > limit


def test_a_second_refund_beyond_what_is_left_breaks_the_limit():
    once = having(CAPTURED, refund(PRICE - 1))

    (*_, (limit, used)) = sums(CAPTURED, once, having(once, refund(2)))

    assert (limit, used) == (PRICE, PRICE + 1)


def test_a_refund_that_failed_gives_its_room_back():
    tried = having(CAPTURED, refund(PRICE))
    failed = having(CAPTURED, refund(PRICE, status="failed"))

    assert sums(CAPTURED, tried, failed)[-1] == (PRICE, 0)
    assert sums(CAPTURED, tried, failed, having(failed, refund(PRICE)))[-1] == (PRICE, PRICE)


def test_what_a_provider_took_beyond_the_captured_is_a_fact_and_fits_in():
    ours = having(CAPTURED, refund(PRICE, status="success"))
    theirs = having(ours, refund(PRICE, origin="provider", status="success"))

    found = sums(CAPTURED, ours, theirs)

    assert found[-1] == (2 * PRICE, 2 * PRICE)


def test_after_a_fact_beyond_the_captured_nothing_of_ours_fits_in():
    theirs = having(CAPTURED, refund(PRICE + 5, origin="provider", status="success"))

    (*_, (limit, used)) = sums(CAPTURED, theirs, having(theirs, refund(1)))

    assert used > limit


def test_a_refund_that_was_said_to_fail_and_succeeded_after_all_is_a_fact():
    failed = having(CAPTURED, refund(PRICE, status="failed"))
    other = having(failed, refund(PRICE, status="success"))
    late = replace(
        other, txns=(*other.txns[:-2], replace(other.txns[-2], status="success"), other.txns[-1])
    )

    assert sums(CAPTURED, failed, other, late)[-1] == (2 * PRICE, 2 * PRICE)


def test_what_concerns_a_stray_is_no_business_of_the_payment():
    stray = refund(PRICE * 3, stray_id="txn_s")

    assert sums(CAPTURED, having(CAPTURED, stray))[-1] == (PRICE, 0)


def test_what_moves_no_sum_is_no_tally():
    assert tally(CAPTURED, replace(CAPTURED, updated_at_us=9)) is None


def test_a_payment_as_a_whole_is_what_its_decisions_added_up_to():
    theirs = having(CAPTURED, refund(PRICE + 5, origin="provider", status="success"))
    part = having(CAPTURED, refund(PRICE - 1))
    failed = having(CAPTURED, refund(PRICE - 1, status="failed"))
    once_more = having(failed, refund(PRICE))

    for states in ([CAPTURED], [CAPTURED, theirs], [CAPTURED, part, failed, once_more]):
        assert tallied(states[-1]) == sums(*states)[-1]
