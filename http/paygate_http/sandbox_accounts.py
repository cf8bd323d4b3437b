"""The sandbox's accounts as commands for developers speak of them: by name, secrets and all."""

import aiohttp

from paygate_actors.providers.registry import ProviderRefused, kinds
from paygate_actors.providers.trial import TrialAccount, trial_of
from paygate_http.configure import ConfigInvalid
from paygate_http.process import Refused
from paygate_http.web_url import is_web_url


def accounts() -> dict[str, TrialAccount]:
    """Every account of the sandbox that an installed kind can be tried with, by its name."""
    found: dict[str, TrialAccount] = {}
    for kind in dict.fromkeys(each.name for each in kinds()):
        try:
            trial = trial_of(kind)
        except ProviderRefused:
            # A broken package of somebody else's is told of by `paygate provider list`.
            continue
        if trial is not None and trial.account:
            found.setdefault(trial.account, trial)
    return found


def checked_url(flag: str, url: str) -> str:
    """Give the URL without its last slash. Raises `ConfigInvalid` with the flag's name."""
    if not is_web_url(url):
        raise ConfigInvalid(f"{flag}: must be http://HOST[:PORT] or https://HOST[:PORT], not {url}")
    return url.rstrip("/")


def nobody_there(url: str, error: Exception | None = None) -> Refused:
    """Say that no sandbox answers, and how to get one."""
    why = f" ({type(error).__name__})" if error is not None else ""
    return Refused(
        f"no sandbox answers at {url}{why}",
        "start one with `paygate sandbox` or `paygate serve --sandbox`, or name it with --url",
    )


def session() -> aiohttp.ClientSession:
    """Open connections that keep no cookies and heed no proxy of the environment."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
