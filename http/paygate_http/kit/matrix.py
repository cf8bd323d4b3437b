"""The capability matrix: what kinds say of themselves, and what was measured when they were tried.

The same rows for one kind on a terminal and for all kinds in the documentation; nothing in it
depends on the machine or the moment.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from paygate_actors.providers.base import Capabilities, Operation
from paygate_http.kit.catalogue import CHAPTERS
from paygate_http.kit.runner import Report
from paygate_http.kit.verdicts import Verdict

Row = tuple[str, str]

_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_OPERATIONS: Final[tuple[Operation, ...]] = ("charge", "authorize", "capture", "void", "refund")


def says(capabilities: Capabilities) -> list[Row]:
    """What the adapter says of its provider, a row each."""
    told = capabilities
    finds = [each for each in _OPERATIONS if told.terms(each).finds]
    odd = sorted({each.multiple_of for each in told.currency_terms.values()} - {1})
    return [
        ("steps of a charge", str(told.steps)),
        ("key is remembered for", _span(told.key_window_s)),
        ("characters of a key", str(told.key_length_max)),
        ("operations without a key", _without_key(told)),
        ("look-up by our key shows", ", ".join(finds) if finds else "nothing"),
        ("look-up may lag", _span(told.find_lag_s) if told.finds else "-"),
        ("lists its events", _yes(told.feeds)),
        ("partial capture", _yes(told.terms("capture").partial)),
        ("partial refund", _yes(told.terms("refund").partial)),
        ("voids a captured charge for", _window(told.void_window_s)),
        ("3-D Secure", _yes(told.three_d_secure)),
        ("card without CVV", _yes(told.takes_no_cvv)),
        ("tokens of its own", _yes(told.provider_tokens)),
        ("fetches keys for webhooks", _yes(told.fetches_keys)),
        ("payers come back to the gateway", _yes(told.returns)),
        ("currencies", "all" if told.currencies is None else str(len(told.currencies))),
        ("amounts in multiples of", ", ".join(map(str, odd)) if odd else "1"),
    ]


def measured(report: Report) -> list[Row]:
    """What was seen: requests of each verb, and each chapter's verdicts."""
    rows = [(f"requests: {verb}", str(report.requests[verb])) for verb in report.requests]
    rows += [
        (f"cases: {chapter.title.lower()}", _counted(report.verdicts, chapter.prefix))
        for chapter in CHAPTERS
        if any(_is_in(each, chapter.prefix) for each in report.verdicts)
    ]
    return rows


_HEAD: Final = """\
# Conformance

What every adapter promises, case by case, and what came of it at this project's sandbox. The page
is made by `paygate provider matrix > docs/conformance.md`, and a test makes it again. The adapters
agree with the specifications and SDKs of their providers as far as this sandbox does; none of them
has met the real one. Spans of time are those that an adapter keeps with a sandbox on this machine:
its terms for the real provider are in the provider's own page.

`paygate provider check KIND` runs the cases of one kind; [providers.md](providers.md) tells more.
"""


def markdown(reports: Sequence[Report]) -> str:
    """Write the matrix of all kinds, and beside it why a case did not apply, as Markdown."""
    kinds = [report.kind for report in reports]
    lines = [_HEAD, "## What they say of themselves", ""]
    lines += _table(kinds, [says(report.capabilities) for report in reports])
    lines += ["", "## What was measured", ""]
    lines += _table(kinds, [measured(report) for report in reports])
    lines += ["", "What a look-up by our key alone can see, in the adapter's own words:", ""]
    lines += [
        f"* `{report.kind}`: {report.capabilities.find_sees or 'every call, after the lag.'}"
        for report in reports
    ]
    lines += ["", "## Cases", "", "`-` does not apply; why, stands below.", ""]
    lines += _cases(reports)
    lines += ["", "## Why a case does not apply", ""]
    for report in reports:
        lines += _reasons(report)
    return "\n".join(lines) + "\n"


def _table(kinds: Sequence[str], columns: Sequence[Sequence[Row]]) -> list[str]:
    lines = [f"| | {' | '.join(kinds)} |", "| --- |" + " --- |" * len(kinds)]
    by_name = [dict(column) for column in columns]
    names = dict.fromkeys(name for column in columns for name, _ in column)
    lines += [
        f"| {name} | {' | '.join(column.get(name, '-') for column in by_name)} |" for name in names
    ]
    return lines


def _cases(reports: Sequence[Report]) -> Iterable[str]:
    marks = {"passed": "yes", "failed": "**NO**", "not applicable": "-", "skipped": "skipped"}
    words = [{each.name: marks[each.word] for each in report.verdicts} for report in reports]
    kinds = " | ".join(report.kind for report in reports)
    yield f"| case | promise | {kinds} |"
    yield "| --- | --- |" + " --- |" * len(reports)
    for chapter in CHAPTERS:
        for case in chapter.cases:
            cells = " | ".join(column.get(case.name, "-") for column in words)
            yield f"| `{case.name}` | {case.sentence} | {cells} |"


def _reasons(report: Report) -> list[str]:
    return [
        f"* `{report.kind}`, `{each.name}`: {each.reason}"
        for each in report.verdicts
        if each.word in ("not applicable", "skipped")
    ]


def _counted(verdicts: Iterable[Verdict], prefix: str) -> str:
    counts = Counter(each.word for each in verdicts if _is_in(each, prefix))
    said = [f"{counts['passed']} passed"]
    said += [f"{counts[word]} {word}" for word in ("failed", "skipped") if counts[word]]
    return ", ".join(said)


def _is_in(verdict: Verdict, prefix: str) -> bool:
    return verdict.name.startswith(f"{prefix}-")


def _without_key(told: Capabilities) -> str:
    without = [each for each in _OPERATIONS if told.terms(each).key_window_s is None]
    return ", ".join(without) if without else "none"


def _yes(there: bool) -> str:  # noqa: FBT001 - a word for a flag
    return "yes" if there else "no"


def _window(seconds: float | None) -> str:
    if seconds is None:
        return "not said"
    return "never" if seconds == 0 else _span(seconds)


def _span(seconds: float) -> str:
    units: tuple[tuple[int, str, Callable[[float], bool]], ...] = (
        (_DAY_S, "d", lambda s: s >= 2 * _DAY_S and s % _DAY_S == 0),
        (_HOUR_S, "h", lambda s: s >= _HOUR_S and s % _HOUR_S == 0),
    )
    for size, unit, fits in units:
        if fits(seconds):
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
