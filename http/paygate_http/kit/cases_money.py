"""Every verb, done as it should be, to the last minor unit and one beyond."""

from paygate_actors.outcomes import Approved, Declined, Outcome
from paygate_http.kit.stand import SUM, Stand
from paygate_http.kit.verdicts import Chapter, expect
from paygate_http.kit.wording import told

CHAPTER: Chapter[Stand] = Chapter("Money", "money")

_case = CHAPTER.case


@_case("A charge says what was taken, and the books have it once.")
async def charge(stand: Stand) -> None:
    """Take the money at once."""
    call, charged = await stand.charged()

    expect(charged.captured, "a charge was answered as if it were a hold")
    await stand.expect_effects([call], "charge")


@_case("A hold takes nothing until it is captured.")
async def hold(stand: Stand) -> None:
    """Only hold."""
    call, held = await stand.charged(capture=False)

    expect(not held.captured, "a hold was answered as if it were captured")
    await stand.expect_effects([call], "authorize")


@_case("A hold is captured whole.")
async def capture_whole(stand: Stand) -> None:
    """Capture all of it."""
    call, held = await stand.charged(capture=False)
    follow = stand.follow(held, SUM)

    await stand.done("capture", follow)

    await stand.expect_effects([call, follow], "authorize", "capture")


@_case("A part of a hold is captured, and that part is what the answer says.")
async def capture_part(stand: Stand) -> None:
    """Capture less than was held."""
    stand.needs(stand.capabilities.partial_capture, "captures the whole alone")
    call, held = await stand.charged(capture=False)
    follow = stand.follow(held, 4_00)

    await stand.done("capture", follow)

    await stand.expect_effects([call, follow], "authorize", "capture")


@_case("One minor unit more than was held is not captured.")
async def capture_beyond(stand: Stand) -> None:
    """Capture more than was held."""
    call, held = await stand.charged(capture=False)
    follow = stand.follow(held, SUM + 1)

    refused(await stand.do("capture", follow), "a capture beyond the hold")

    await stand.expect_effects([call, follow], "authorize")


@_case("What was captured is not captured again under another key.")
async def capture_twice(stand: Stand) -> None:
    """Capture the whole, twice."""
    call, held = await stand.charged(capture=False)
    first, second = stand.follow(held, SUM), stand.follow(held, SUM)
    await stand.done("capture", first)

    refused(await stand.do("capture", second), "a second capture")

    await stand.expect_effects([call, first, second], "authorize", "capture")


@_case("A refund gives back the whole.")
async def refund_whole(stand: Stand) -> None:
    """Give all of it back."""
    call, charged = await stand.charged()
    follow = stand.follow(charged, SUM)

    await stand.done("refund", follow)

    await stand.expect_effects([call, follow], "charge", "refund")


@_case("A refund of a part has an id of its own.")
async def refund_part(stand: Stand) -> None:
    """Give a part back."""
    stand.needs(stand.capabilities.partial_refund, "refunds the whole alone")
    call, charged = await stand.charged()
    follow = stand.follow(charged, 2_50)

    back = await stand.done("refund", follow)

    expect(
        back.provider_txn_id != charged.provider_txn_id, "the refund goes by the id of its charge"
    )
    await stand.expect_effects([call, follow], "charge", "refund")


@_case("Parts are refunded up to the limit, and not one minor unit beyond.")
async def refund_to_the_limit(stand: Stand) -> None:
    """Three parts, one unit too many, and the last unit that is left."""
    stand.needs(stand.capabilities.partial_refund, "refunds the whole alone")
    call, charged = await stand.charged()
    parts = [stand.follow(charged, minor) for minor in (4_00, 3_50, 2_49)]
    for part in parts:
        await stand.done("refund", part)
    beyond, last = stand.follow(charged, 2), stand.follow(charged, 1)

    refused(await stand.do("refund", beyond), "a refund of 2 where 1 is left")
    await stand.done("refund", last)

    await stand.expect_effects([call, *parts, beyond, last], "charge", *["refund"] * 4)


@_case("One minor unit more than was charged is not refunded.")
async def refund_beyond(stand: Stand) -> None:
    """Give more back than was taken."""
    call, charged = await stand.charged()
    follow = stand.follow(charged, SUM + 1)

    refused(await stand.do("refund", follow), "a refund beyond the charge")

    await stand.expect_effects([call, follow], "charge")


@_case("What was given back is not given back again.")
async def refund_twice(stand: Stand) -> None:
    """Give all of it back, twice."""
    call, charged = await stand.charged()
    first, second = stand.follow(charged, SUM), stand.follow(charged, SUM)
    await stand.done("refund", first)

    refused(await stand.do("refund", second), "a second refund of the whole")

    await stand.expect_effects([call, first, second], "charge", "refund")


@_case("Each refund of one charge has an id of its own.")
async def refund_ids(stand: Stand) -> None:
    """Two refunds of one amount."""
    stand.needs(stand.capabilities.partial_refund, "refunds the whole alone")
    _, charged = await stand.charged()

    ids = {
        (await stand.done("refund", stand.follow(charged, 1_00))).provider_txn_id for _ in range(2)
    }

    expect(len(ids) == 2, "two refunds go by one id")  # noqa: PLR2004 - of two refunds


@_case("A void undoes a hold, which then cannot be captured.")
async def void_hold(stand: Stand) -> None:
    """Undo a hold."""
    call, held = await stand.charged(capture=False)
    void, late = stand.follow(held, SUM), stand.follow(held, SUM)

    outcome = await stand.do("void", void)
    after = await stand.do("capture", late)

    expect(isinstance(outcome, Approved), f"the void was answered {told(outcome)}")
    refused(after, "a capture of a voided hold")
    if stand.has_desk:
        taken = [each.operation for each in await stand.effects(call.key, late.key)]
        expect("capture" not in taken, "a voided hold was captured")


@_case("A captured charge is voided while the provider's window is open.")
async def void_before_settlement(stand: Stand) -> None:
    """Undo a charge at once."""
    window_s = stand.capabilities.void_window_s
    stand.needs(window_s is None or window_s > 0, "never voids what was captured")
    call, charged = await stand.charged()
    void = stand.follow(charged, SUM)

    outcome = await stand.do("void", void)

    if isinstance(outcome, Declined):
        # A window that nobody has promised may be closed: then it says what to do instead.
        expect(
            window_s is None and outcome.code == "already_settled",
            f"a void inside the window was answered {told(outcome)}",
        )
        return
    expect(isinstance(outcome, Approved), f"the void was answered {told(outcome)}")
    refused(await stand.do("refund", stand.follow(charged, SUM)), "a refund of a voided charge")
    await stand.expect_effects([call, void], "charge", "void")


@_case("A void after settlement says that it is too late, and that only a refund is possible.")
async def void_after_settlement(stand: Stand) -> None:
    """Undo what has left the window."""
    window_s = stand.capabilities.void_window_s
    stand.needs(window_s is not None, "does not say when it settles")
    settled = stand if window_s == 0 else stand.where_all_is_settled()
    call, charged = await settled.charged()

    outcome = await settled.do("void", settled.follow(charged, SUM))

    expect(
        isinstance(outcome, Declined) and outcome.code == "already_settled" and outcome.conclusive,
        f"a void after settlement was answered {told(outcome)}",
    )
    await settled.done("refund", settled.follow(charged, 1_00))
    if settled is stand:
        await stand.expect_effects([call], "charge")


@_case("A follow-up of a charge that is not there does nothing and is no success.")
async def follow_nobody(stand: Stand) -> None:
    """Capture, void and refund what never was."""
    nobody = Approved(provider_txn_id=f"none_{stand.key()}", amount=stand.money())

    for verb in ("capture", "void", "refund"):
        outcome = await stand.do(verb, stand.follow(nobody, SUM))
        expect(
            not isinstance(outcome, Approved), f"a {verb} of nothing was answered {told(outcome)}"
        )


def refused(outcome: Outcome, what: str) -> None:
    """Expect a conclusive no."""
    expect(
        isinstance(outcome, Declined) and outcome.conclusive, f"{what} was answered {told(outcome)}"
    )
