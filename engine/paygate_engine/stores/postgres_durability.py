"""When the answer to a commit is an acknowledgement: its settings, and the warning that undoes it.

PostgreSQL answers with success, though its standbys have nothing, where `synchronous_commit` asks
for less, and where somebody cancelled the wait for them. Then it warns, and `client_min_messages`
can hide that. A role, a database or the server may be given either at any time, and connections
that are made later have it. So a statement that must be durable sets both for its own transaction
(`DURABLY`): no session is changed, and it holds behind a pooler too. `fsync` and
`full_page_writes` are the server's alone; on a host that is promoted later they may be others.

What a warning is about is told by where in PostgreSQL's source it was given: its text is in the
language of the server. Most are no word on any commit, and some come with each of them for weeks.
"""

import logging
from typing import Any

from msgspec import Struct

# In the list of what a statement selects. The server reads both when it commits, which is after
# that, and puts them back at the end of the transaction. What waits for more than `on` stays. What
# no transaction can set makes the whole fail instead: the words are no number.
DURABLY = (
    "set_config('client_min_messages', 'warning', true),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),"
    " CAST(CASE WHEN 'off' IN (current_setting('fsync'), current_setting('full_page_writes'))"
    " THEN 'fsync or full_page_writes is off, and commits would be lost' ELSE '0' END AS integer)"
)
# `local` and `remote_write` acknowledge what a failover, or a standby without power, forgets.
_WAITS = ("on", "remote_apply")
_HIDES_WARNINGS = ("error", "fatal", "panic")

# Where PostgreSQL gives the warning that a commit did not wait for its standbys. Either is enough.
_FILE, _FUNCTION = "syncrep.c", "SyncRepWaitForLSN"
_WARNS = ("WARNING", None)  # a severity that is not said could be any
# A warning that comes with each commit is not logged with each.
LOG_EVERY_S = 60.0
# Places in PostgreSQL's source that are told apart; a server that has so many warnings has one log.
_PLACES_MAX = 100

_log = logging.getLogger(__name__)


class Warned(Struct, frozen=True, kw_only=True):
    """A warning beside an answer, because of which a commit may not be on its standbys.

    `certain`: it is about the standbys; if not, it does not say where it comes from.
    """

    text: str
    certain: bool


def why_not(commits: str, syncs: str, whole: str, messages: str) -> str | None:
    """Why a server with these settings may not keep what it acknowledges, or None.

    They are `synchronous_commit`, `fsync`, `full_page_writes` and `client_min_messages`.
    """
    if commits not in _WAITS or "off" in (syncs, whole):
        return (
            f"PostgreSQL would lose commits (synchronous_commit={commits}, fsync={syncs},"
            f" full_page_writes={whole}): set synchronous_commit to on, or to remote_apply, and"
            " the other two to on, for this role and database too"
        )
    if messages in _HIDES_WARNINGS:
        return (
            f"client_min_messages is {messages}, which hides that a commit did not wait for its"
            " standbys: set it to warning, or to notice, for this role and database too"
        )
    return None


def warned_by(notice: Any) -> Warned | None:
    """What a notice says against the commit that it came with; None: nothing."""
    file, function = notice.server_source_filename, notice.server_source_function
    certain = file == _FILE or function == _FUNCTION
    untold = file is None and function is None
    if notice.severity_en not in _WARNS or not (certain or untold):
        return None
    return Warned(text=said(notice), certain=certain)


def said(notice: Any) -> str:
    """A notice in a log: its severity, its code and its own words."""
    return f"{notice.severity_en or notice.severity} {notice.sqlstate}: {notice.message}"


class NoticeLog:
    """Logs what servers warn of; of warnings from one place in their source one a minute."""

    def __init__(self) -> None:
        self._silent_until_s: dict[str, float] = {}

    def add(self, notice: Any, now_s: float) -> None:
        """Log it, unless another one from there was logged a short while ago."""
        if notice.severity_en not in _WARNS:
            return
        place = f"{notice.server_source_filename}:{notice.server_source_line}"
        if now_s < self._silent_until_s.get(place, now_s):
            return
        if len(self._silent_until_s) >= _PLACES_MAX:
            self._silent_until_s.clear()
        self._silent_until_s[place] = now_s + LOG_EVERY_S
        _log.warning("PostgreSQL warns: %s", said(notice))
