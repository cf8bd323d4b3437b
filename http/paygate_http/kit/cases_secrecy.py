"""Secrets: what nobody may be shown, and where it is looked for."""

import contextlib
import logging
from collections.abc import Generator

from paygate_http.kit import troubles
from paygate_http.kit.stand import Stand
from paygate_http.kit.verdicts import Chapter, expect

CHAPTER: Chapter[Stand] = Chapter("Secrets", "secrets")

_case = CHAPTER.case


@_case("The configuration that operators see holds no secret.")
async def configuration(stand: Stand) -> None:
    """Not even a part of one."""
    shown = str(stand.provider.redacted_config())

    for secret in stand.trial.hidden:
        expect(secret not in shown, "redacted_config() shows a secret")
        # A prefix that says which account it is would do; half of a key does not.
        expect(secret[len(secret) // 2 :] not in shown, "redacted_config() shows half of a secret")


@_case("Whoever prints the adapter or its attributes finds no secret.")
async def attributes(stand: Stand) -> None:
    """As error reporters do."""
    held = [repr(stand.provider), repr(getattr(stand.provider, "__dict__", {}))]

    for secret in stand.trial.hidden:
        expect(not any(secret in text for text in held), "the adapter shows a secret when printed")


@_case("No outcome holds a card number, a CVV or a secret.")
async def outcomes(stand: Stand) -> None:
    """Answers are journalled."""
    numbers = [stand.trial.approved, *stand.trial.declines.values()]
    for number in numbers[:4]:
        await stand.do("charge", stand.call(card=number))
    await stand.spoil_last("charge", troubles.answered_with(troubles.html))
    await stand.once("charge", stand.call())

    text = repr(stand.outcomes)

    for hidden in (*numbers, *stand.trial.hidden):
        expect(hidden not in text, "an outcome repeats what nobody may see")


@_case("Nothing that is logged holds a card number, a CVV or a secret.", alone=True)
async def logs(stand: Stand) -> None:
    """When all is well, and when it is not."""
    with _logged() as lines:
        await stand.charged()
        for spoil in (troubles.answer_lost, troubles.answered_with(troubles.html)):
            await stand.spoil_last("charge", spoil)
            await stand.once("charge", stand.call())

    text = "\n".join(lines)
    for hidden in (stand.trial.approved, *stand.trial.hidden):
        expect(hidden not in text, "the log repeats what nobody may see")


@_case("Card numbers and secrets go in bodies and headers, never in a URL.")
async def urls(stand: Stand) -> None:
    """URLs are logged by everybody on the way."""
    await stand.charged()
    if stand.capabilities.finds:
        await stand.provider.find(stand.key())

    text = "\n".join(each.path for each in stand.tap.seen)

    for hidden in (stand.trial.approved, *stand.trial.hidden):
        expect(hidden not in text, "a URL repeats what nobody may see")


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(level=logging.NOTSET)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{record.getMessage()} {record.exc_info!r} {record.__dict__!r}")


@contextlib.contextmanager
def _logged() -> Generator[list[str]]:
    """Collect every record of every logger meanwhile, at every level."""
    lines: list[str] = []
    handler, root = _Lines(lines), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
