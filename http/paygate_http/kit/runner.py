"""Runs the cases of a kind, against a sandbox of its own or an end that runs already.

Most cases run side by side, each with an adapter and a tap of its own. Those that plan faults at
the sandbox run alone, because a plan strikes whoever comes next.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct

from paygate_actors.outcomes import Approved
from paygate_actors.providers.base import Capabilities, ChargeCall, FollowUpCall, Provider
from paygate_actors.providers.registry import build
from paygate_actors.providers.trial import TrialAccount
from paygate_engine.clock import Clock, SystemClock
from paygate_engine.ids import Ids
from paygate_http.kit.desk import Desk, desk_at
from paygate_http.kit.stand import SUM, Stand
from paygate_http.kit.tap import Tap
from paygate_http.kit.verdicts import Case, CaseFailed, NotApplicable, Skipped, Verdict
from paygate_http.kit.wording import Verb
from paygate_http.sandbox.server import start_sandbox

# Side by side: enough to share the waits for deadlines, few enough for a small machine.
ABREAST_MAX: Final = 4
# Most cases end in a second; a deadline of half a minute may pass in one twice.
CASE_S: Final = 120.0
# Long enough that a look-up shows its lag, short enough to wait for.
FIND_LAG_MS: Final = 200

Builder = Callable[[str], Provider]


class Report(Struct, frozen=True, kw_only=True):
    """What came of a run. `requests`: how many a call of each verb took."""

    kind: str
    end: str
    seed: int
    capabilities: Capabilities
    requests: dict[Verb, int]
    verdicts: list[Verdict]

    @property
    def failed(self) -> list[Verdict]:
        """The cases that failed."""
        return [each for each in self.verdicts if each.word == "failed"]


class Bench(Struct, frozen=True, kw_only=True):
    """What all cases of a run share."""

    trial: TrialAccount
    build: Builder
    end: str
    settled_url: str | None
    desk: Desk | None
    ids: Ids
    clock: Clock
    requests: dict[Verb, int]

    @asynccontextmanager
    async def stand(self) -> AsyncGenerator[Stand]:
        """Give a case its own adapter, on a line of its own."""
        async with Tap(self.end) as tap:
            stand = Stand(
                trial=self.trial,
                build=self.build,
                tap=tap,
                desk=self.desk,
                ids=self.ids,
                clock=self.clock,
                rehearsed=self.requests,
                settled_url=self.settled_url,
            )
            try:
                yield stand
            finally:
                await stand.close()


async def run(
    trial: TrialAccount,
    cases: Sequence[Case[Stand]],
    *,
    seed: int,
    base_url: str | None = None,
    builder: Builder | None = None,
    tell: Callable[[Verdict], None] = lambda _: None,
) -> Report:
    """Run the cases; `tell` hears each verdict as it falls, and the report has them in order.

    Without `base_url` a sandbox is started for them and stopped. `builder` makes the adapter for
    the address of an end; by default the one that is installed for the kind. Raises
    `ProviderRefused` where it cannot be built, OSError.
    """
    make = builder or _installed(trial)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        )
        end, settled_url = base_url, None
        if end is None:
            end = await _sandbox(stack, seed)
            settled_url = await _sandbox(stack, seed, void_window_s=0)
        desk = await desk_at(end, trial.account, session)
        if desk is not None:
            await stack.enter_async_context(desk.listening())
        bench = Bench(
            trial=trial,
            build=make,
            end=end,
            settled_url=settled_url,
            desk=desk,
            ids=Ids(clock, random.Random(seed)),  # noqa: S311 - keys of play money
            clock=clock,
            requests={},
        )
        async with bench.stand() as stand:
            capabilities = stand.capabilities
            await _rehearse(stand)
        verdicts = await _all(bench, cases, tell)
    return Report(
        kind=trial.config.kind,
        end=end if base_url is not None else "a sandbox of its own",
        seed=seed,
        capabilities=capabilities,
        requests=bench.requests,
        verdicts=verdicts,
    )


async def _all(
    bench: Bench, cases: Sequence[Case[Stand]], tell: Callable[[Verdict], None]
) -> list[Verdict]:
    verdicts: dict[str, Verdict] = {}
    room = asyncio.Semaphore(ABREAST_MAX)

    async def one(case: Case[Stand]) -> None:
        async with room:
            verdicts[case.name] = await judge(bench, case)
            tell(verdicts[case.name])

    async with asyncio.TaskGroup() as group:
        for case in cases:
            if not case.alone:
                group.create_task(one(case))
    for case in cases:
        if case.alone:
            await one(case)
            if bench.desk is not None:
                # What did not strike must not strike the next one.
                await bench.desk.clear_faults()
    return [verdicts[case.name] for case in cases]


async def judge(bench: Bench, case: Case[Stand]) -> Verdict:
    """Run one case, and say what became of it; whatever it raises is a verdict."""
    verdict = Verdict(name=case.name, sentence=case.sentence, word="passed")
    try:
        async with asyncio.timeout(CASE_S), bench.stand() as stand:
            await case.check(stand)
    except CaseFailed as error:
        return msgspec.structs.replace(verdict, word="failed", reason=str(error))
    except NotApplicable as error:
        return msgspec.structs.replace(verdict, word="not applicable", reason=str(error))
    except Skipped as error:
        return msgspec.structs.replace(verdict, word="skipped", reason=str(error))
    except TimeoutError:
        reason = f"it was not over after {CASE_S:g} s"
        return msgspec.structs.replace(verdict, word="failed", reason=reason)
    except Exception as error:  # noqa: BLE001 - adapters never raise, whatever it is
        reason = f"it raised {type(error).__name__}: {error}"
        return msgspec.structs.replace(verdict, word="failed", reason=reason)
    return verdict


async def _rehearse(stand: Stand) -> None:
    """Count the requests that each verb takes, when nothing goes wrong."""

    async def count(verb: Verb, call: ChargeCall | FollowUpCall) -> Approved:
        before = len(stand.tap.moving)
        done = await stand.done(verb, call)
        stand.rehearsed[verb] = max(1, len(stand.tap.moving) - before)
        return done

    try:
        await stand.warm()
        charged = await count("charge", stand.call())
        held = await count("authorize", stand.call(capture=False))
        await count("capture", stand.follow(held, SUM))
        other = await stand.done("authorize", stand.call(capture=False))
        await count("void", stand.follow(other, SUM))
        await count("refund", stand.follow(charged, SUM))
    except Exception:  # noqa: BLE001 - an adapter may do anything; the case of that verb will tell
        return


def _installed(trial: TrialAccount) -> Builder:
    def make(url: str) -> Provider:
        return build(msgspec.structs.replace(trial.config, url=url + trial.path))

    return make


async def _sandbox(stack: AsyncExitStack, seed: int, *, void_window_s: int = 86_400) -> str:
    sandbox = await start_sandbox(
        seed=seed, latency_ms=0, find_lag_ms=FIND_LAG_MS, void_window_s=void_window_s
    )
    stack.push_async_callback(sandbox.stop)
    return sandbox.url
