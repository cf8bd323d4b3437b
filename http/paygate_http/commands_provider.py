"""`paygate provider list`, `check` and `matrix`: which kinds there are, and whether they hold."""

import asyncio
import os
import re
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.table import Table

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.registry import ProviderRefused, kinds
from paygate_actors.providers.trial import TrialAccount, trial_of
from paygate_http.configure import ConfigInvalid, load
from paygate_http.flags import CheckFlags
from paygate_http.kit.catalogue import cases
from paygate_http.kit.matrix import markdown, measured, says
from paygate_http.kit.runner import Report, run
from paygate_http.kit.stand import Stand
from paygate_http.kit.verdicts import Case, Verdict
from paygate_http.process import Exit, Refused
from paygate_http.sandbox_accounts import checked_url

# Into a pipe: wide enough that no sentence is folded.
_PIPE_WIDTH: Final = 240
_SEED_BITS: Final = 32
# An end that takes longer to open a connection is not one to try a kind at.
CONNECT_S: Final = 5.0
_LIVE: Final = re.compile(r"_live_")
_WORDS: Final = {"passed": "ok", "failed": "FAILED", "not applicable": "-", "skipped": "skipped"}


def show_kinds(*, as_json: bool) -> Exit:
    """Print the installed kinds, where each comes from, and whether it can be tried."""
    found = kinds()
    lines = [
        {
            "kind": each.name,
            "entryPoint": each.target,
            "package": " ".join(filter(None, (each.package, each.version))),
            "trial": _has_trial(each.name),
        }
        for each in found
    ]
    if as_json:
        for line in lines:
            _write(msgspec.json.encode(line).decode())
        return Exit.DRAINED
    table = Table("kind", "entry point", "package", "provider check", box=None)
    for line in lines:
        table.add_row(*(str(line[name]) for name in ("kind", "entryPoint", "package", "trial")))
    _console().print(table)
    return Exit.DRAINED


def check(name: str, flags: CheckFlags) -> Exit:
    """Try a kind, and say what it keeps of what it promises; FAILED where it breaks anything.

    Raises `ConfigInvalid` for a kind that nobody brings and for bad flags, `Refused` for one that
    cannot be built and an end where nobody answers, OSError.
    """
    trial = _trial(name, flags)
    chosen = _chosen(flags.cases)
    base_url = None if flags.base_url is None else checked_url("--base-url", flags.base_url)
    seed = secrets.randbits(_SEED_BITS) if flags.seed is None else flags.seed

    def tell(verdict: Verdict) -> None:
        if not flags.json:
            _write(_line(verdict))

    if base_url is not None:
        asyncio.run(_refuse_nobody(base_url))
    try:
        report = asyncio.run(run(trial, chosen, seed=seed, base_url=base_url, tell=tell))
    except ProviderRefused as error:
        raise Refused(str(error)) from error
    if flags.json:
        _write(msgspec.json.encode(_as_json(report)).decode())
    else:
        _print(report)
    return Exit.FAILED if report.failed else Exit.DRAINED


async def _refuse_nobody(base_url: str) -> None:
    """Say once what every case would say in its own words."""
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        raise Refused(f"nobody answers at {base_url}: name the provider's end, or none") from error
    # It was a question only; what the other side makes of its end is nothing to us.
    writer.transport.abort()


def matrix() -> Exit:
    """Print the page of all kinds that can be tried, as Markdown; FAILED where one breaks a case.

    Raises `Refused` where one cannot be built.
    """
    reports: list[Report] = []
    for kind in dict.fromkeys(each.name for each in kinds()):
        try:
            trial = trial_of(kind)
            if trial is not None:
                reports.append(asyncio.run(run(trial, cases(), seed=1)))
        except ProviderRefused as error:
            raise Refused(str(error)) from error
    sys.stdout.write(markdown(reports))
    return Exit.FAILED if any(report.failed for report in reports) else Exit.DRAINED


def _trial(name: str, flags: CheckFlags) -> TrialAccount:
    table = None if flags.config is None else _table(name, flags.config)
    kind = name if table is None else table.kind
    known = sorted({each.name for each in kinds()})
    if kind not in known:
        raise ConfigInvalid(f"nobody brings the kind {kind}; installed are: {', '.join(known)}")
    try:
        trial = trial_of(kind)
    except ProviderRefused as error:
        raise Refused(str(error)) from error
    if trial is None:
        raise Refused(
            f"the package of {kind} brings no account to try it with: an entry point of the group"
            " paygate.provider_trials (see docs/providers.md)"
        )
    if table is None:
        return trial
    if _LIVE.search(table.secret):
        raise ConfigInvalid(
            f"{table.id}: its key is a live one, and the cases would move real money"
        )
    return msgspec.structs.replace(trial, config=table)


def _table(name: str, file: Path) -> ProviderConfig:
    config = load(file=file, environment=os.environ, serves=False).config
    for field in ("id", "kind"):
        for each in config.providers:
            if getattr(each, field) == name:
                return each
    raise ConfigInvalid(f"{file}: has no provider of the id or kind {name}")


def _chosen(text: str | None) -> Sequence[Case[Stand]]:
    known = cases()
    if text is None:
        return known
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    idle = [each for each in wanted if not any(_is_asked(case, each) for case in known)]
    if idle or not wanted:
        raise ConfigInvalid(
            f"--cases: no case is named, or begins with, {', '.join(idle) or 'nothing'}"
        )
    return [case for case in known if any(_is_asked(case, each) for each in wanted)]


def _is_asked(case: Case[Any], word: str) -> bool:
    return case.name == word or case.name.startswith(f"{word}-")


def _has_trial(kind: str) -> str:
    try:
        return "yes" if trial_of(kind) is not None else "no"
    except ProviderRefused as error:
        return f"no: {error}"


def _line(verdict: Verdict) -> str:
    reason = f" [{verdict.reason}]" if verdict.reason else ""
    return f"{_WORDS[verdict.word]:>7}  {verdict.name}: {verdict.sentence}{reason}"


def _print(report: Report) -> None:
    table = Table(report.kind, "", box=None, title="capability matrix", title_justify="left")
    for name, text in [*says(report.capabilities), *measured(report)]:
        table.add_row(name, text)
    _write("")
    _console().print(table)
    counts = dict.fromkeys(_WORDS, 0)
    for each in report.verdicts:
        counts[each.word] += 1
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    _write("")
    for each in report.failed:
        _write(_line(each))
    _write(f"{report.kind} at {report.end}, seed {report.seed}: {said}")


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "kind": report.kind,
        "end": report.end,
        "seed": report.seed,
        "says": dict(says(report.capabilities)),
        "measured": dict(measured(report)),
        "cases": report.verdicts,
    }


def _console() -> Console:
    is_person = sys.stdout.isatty()
    return Console(width=None if is_person else _PIPE_WIDTH, highlight=False)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
