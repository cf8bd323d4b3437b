"""Webhooks as the provider really signs them: genuine, late, twice, out of order, and forged."""

from typing import Final

from paygate_actors.outcomes import Approved
from paygate_actors.providers.base import (
    BodyInvalid,
    ChargeCall,
    ProviderEvent,
    SignatureInvalid,
)
from paygate_http.kit.stand import SUM, Stand
from paygate_http.kit.verdicts import CaseFailed, Chapter, NotApplicable, expect
from paygate_http.sandbox.listeners import Sent

CHAPTER: Chapter[Stand] = Chapter("Webhooks", "webhooks")

_case = CHAPTER.case

_S: Final = 1_000_000
# Every scheme's window is five minutes: inside, and well outside.
_LATE_S: Final = 240
_TOO_LATE_S: Final = 3_600
_HOSTILE: Final = ("", "\0", "é", ",", "v1", "v1,", "t=,v1=", " ", "-1", "9" * 5_000, "," * 5_000)


@_case("A genuine webhook is taken, and says what happened, to which of our calls.")
async def genuine(stand: Stand) -> None:
    """As it goes out."""
    call, _, sent, event = await _told(stand)

    await stand.ear.verify(sent)

    expect(event.event_type == "payment.succeeded", f"it was read as {event.event_type}")
    expect(event.reference == call.key, "it does not carry our key back")
    expect(event.amount in (None, call.amount), f"it speaks of {event.amount}")
    expect(bool(event.event_id), "it has no id")


@_case("A webhook of a refund names the refund, its sum, and the charge.")
async def of_a_refund(stand: Stand) -> None:
    """Money that goes back."""
    _ = stand.desk
    _, charged = await stand.charged()
    follow = stand.follow(charged, 2_50)
    back = await stand.done("refund", follow)

    def is_it(event: ProviderEvent) -> bool:
        ours = event.reference == follow.key or event.provider_txn_id == back.provider_txn_id
        return ours and event.event_type == "refund.succeeded"

    sent, event = await stand.ear.heard(is_it)

    await stand.ear.verify(sent)
    expect(event.amount in (None, follow.amount), f"it speaks of {event.amount}")


@_case("A webhook that is some minutes late is taken.")
async def late(stand: Stand) -> None:
    """Inside of the window."""
    _, _, sent, _ = await _told(stand)

    await stand.ear.verify(sent, now_us=stand.clock.now_us() + _LATE_S * _S)


@_case("A webhook from an hour ago is refused, where its signature has a time.")
async def too_late(stand: Stand) -> None:
    """Outside of the window: somebody plays it again."""
    _, _, sent, _ = await _told(stand)

    await _refused_or_timeless(stand, sent, _TOO_LATE_S)


@_case("A webhook from the future is refused, where its signature has a time.")
async def too_early(stand: Stand) -> None:
    """Nobody may sign for tomorrow."""
    _, _, sent, _ = await _told(stand)

    await _refused_or_timeless(stand, sent, -_TOO_LATE_S)


@_case("A webhook without a signature is refused.")
async def unsigned(stand: Stand) -> None:
    """No headers at all, and none but the content type."""
    _, _, sent, _ = await _told(stand)

    for headers in ({}, {"content-type": "application/json"}):
        if _signed_in_body(sent):
            raise NotApplicable("its signature stands in the body")
        _refused(stand, headers, sent.body.encode())


@_case("A webhook whose body was changed is refused.")
async def changed(stand: Stand) -> None:
    """Another sum, another id, the same signature."""
    call, _, sent, _ = await _told(stand)
    await stand.ear.verify(sent)
    key = call.key.encode()

    genuine_body = sent.body.encode()
    for old, new in ((str(SUM).encode(), b"91000"), (b"10.00", b"90.00"), (key, key[:-1] + b"2")):
        body = genuine_body.replace(old, new)
        if body != genuine_body:
            _refused(stand, stand.ear.headers_of(sent), body)


@_case("Hostile signature headers are refused, and are never an error.")
async def hostile(stand: Stand) -> None:
    """Empty, not ASCII, NUL, 5,000 digits, commas only."""
    _, _, sent, _ = await _told(stand)
    if _signed_in_body(sent):
        raise NotApplicable("its signature stands in the body")
    await stand.ear.verify(sent)
    genuine_headers = stand.ear.headers_of(sent)
    signed = [name for name in genuine_headers if name not in ("content-type", "user-agent")]
    struck = 0
    for name in signed:
        for text in _HOSTILE:
            try:
                stand.provider.verify(
                    {**genuine_headers, name: text},
                    sent.body.encode(),
                    now_us=stand.clock.now_us(),
                )
            except SignatureInvalid:
                struck += 1
    expect(struck >= len(_HOSTILE), "hostile headers were taken for a signature")


@_case("A body that is signed and is nonsense is refused as such, and is never an error.")
async def nonsense(stand: Stand) -> None:
    """What the adapter reads once the signature is right."""
    _, _, sent, _ = await _told(stand)

    for body in (b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 5_000, sent.body.encode()[:-20]):
        try:
            events = stand.provider.parse(stand.ear.headers_of(sent), body)
        except BodyInvalid:
            continue
        moved = [each for each in events if each.event_type.startswith(("payment.", "refund."))]
        expect(moved == [], f"nonsense was read as {moved[:1]}")


@_case("A webhook that comes twice has the same id both times.", alone=True)
async def duplicate(stand: Stand) -> None:
    """So that the inbox can tell."""
    await stand.plan("webhook_duplicate", operation="charge")
    _, _, sent, event = await _told(stand)
    times = [each for each in stand.desk.heard if each.id == sent.id]

    again = stand.provider.parse(stand.ear.headers_of(times[-1]), times[-1].body.encode())

    expect(event.event_id in {each.event_id for each in again}, "the second has another id")


@_case("Webhooks out of order are each read for what they are.", alone=True)
async def reordered(stand: Stand) -> None:
    """The refund's comes before the charge's."""
    await stand.plan("webhook_reorder", operation="charge", delayMs=5_000)
    call = stand.call()
    charged = await stand.done("charge", call)
    follow = stand.follow(charged, 1_00)
    await stand.done("refund", follow)

    _, event = await stand.ear.heard(lambda event: event.reference == call.key)

    expect(event.event_type == "payment.succeeded", f"it was read as {event.event_type}")


@_case("A webhook that overtakes the answer binds to the call by our key.", alone=True)
async def overtaking(stand: Stand) -> None:
    """It is there before the provider's id is known."""
    await stand.plan("webhook_before_reply", operation="charge")
    call, charged, sent, event = await _told(stand)

    await stand.ear.verify(sent)

    expect(event.reference == call.key, "without our key it belongs to nobody yet")
    expect(event.provider_txn_id == charged.provider_txn_id, "it names another charge")


@_case("A webhook that never comes takes nothing from what is known.", alone=True)
async def dropped(stand: Stand) -> None:
    """The same key, asked again, knows."""
    await stand.plan("webhook_drop", operation="charge")
    call, charged = await stand.charged()

    again = await stand.do("charge", call)

    expect(again == charged, "asked again it was answered otherwise")


async def _told(stand: Stand) -> tuple[ChargeCall, Approved, Sent, ProviderEvent]:
    _ = stand.desk
    call, charged = await stand.charged()
    sent, event = await stand.ear.heard(lambda event: event.reference == call.key)
    return call, charged, sent, event


def _refused(stand: Stand, headers: dict[str, str], body: bytes) -> None:
    try:
        stand.provider.verify(headers, body, now_us=stand.clock.now_us())
    except SignatureInvalid:
        return
    raise CaseFailed("it was taken for genuine")


async def _refused_or_timeless(stand: Stand, sent: Sent, off_s: int) -> None:
    try:
        await stand.ear.verify(sent, now_us=stand.clock.now_us() + off_s * _S)
    except SignatureInvalid:
        return
    if not stand.trial.timed_webhooks:
        raise NotApplicable("its signatures carry no time")
    raise CaseFailed("it was taken")


def _signed_in_body(sent: Sent) -> bool:
    return not any(name.lower() not in ("content-type", "user-agent") for name in sent.headers)
