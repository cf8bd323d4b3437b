"""`paygate listen`, `trigger` and `provider`, typed as developers type them, as real processes."""

import asyncio
import itertools
import json
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from process_rig import OPERATOR, Process, ProcessRig, SandboxClient, process_rig
from standardwebhooks import Webhook
from stranger_rig import free_url

from paygate_http.kit.accounts import STRIPE
from paygate_http.process import Exit
from paygate_http.sandbox.server import WEBHOOK_SECRET
from paygate_http.triggers import STORIES

pytestmark = pytest.mark.slow

WAIT_S = 20.0

_numbers = itertools.count()


class Ran(NamedTuple):
    code: int
    out: str
    complaint: str


class Receiver:
    """A developer's own program that takes webhooks."""

    def __init__(self, text: str) -> None:
        self.url = ""
        self.text = text
        self.status = 200
        self.received: list[tuple[dict[str, str], bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append((headers, await request.read()))
        return web.Response(status=self.status, text=self.text)


@asynccontextmanager
async def receiving(*, path: str = "/hook", text: str = "") -> AsyncGenerator[Receiver]:
    receiver = Receiver(text)
    app = web.Application()
    app.add_routes([web.route("*" if text else "POST", path, receiver.take)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def ran(folder: Path, *arguments: str) -> Ran:
    log = folder / f"command-{next(_numbers)}.log"
    process = await Process.spawn(*arguments, log=log)
    try:
        async with asyncio.timeout(WAIT_S):
            out, _ = await process.child.communicate()
    finally:
        process.signal(signal.SIGKILL)
        await process.ended()
    assert process.child.returncode is not None
    return Ran(process.child.returncode, out.decode(), log.read_text())


class Listening:
    """A `paygate listen` that runs."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, is_it: Callable[[str], bool]) -> str:
        """Read lines until one is it."""
        assert self.process.child.stdout is not None
        async with asyncio.timeout(WAIT_S):
            while line := (await self.process.child.stdout.readline()).decode():
                self.lines.append(line.rstrip("\n"))
                if is_it(line):
                    return line
        raise AssertionError(f"it ended: {self.lines} {self.process.tail()}")

    async def end(self) -> int:
        self.process.signal(signal.SIGINT)
        return await self.process.ended()


@asynccontextmanager
async def listening(folder: Path, *flags: str) -> AsyncGenerator[Listening]:
    process = await Process.spawn("listen", *flags, log=folder / "listen.log")
    try:
        yield Listening(process)
    finally:
        process.signal(signal.SIGKILL)
        await process.ended()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncGenerator[ProcessRig]:
    async with process_rig(tmp_path) as rig:
        yield rig


async def test_a_webhook_is_shown_and_sent_on_with_its_genuine_signature(
    rig: ProcessRig, tmp_path: Path
):
    url = rig.sandbox.url
    async with (
        receiving() as receiver,
        listening(tmp_path, "--url", url, "--forward-to", receiver.url) as listener,
    ):
        await listener.until(lambda line: WEBHOOK_SECRET in line)
        made = await ran(tmp_path, "trigger", "payment.succeeded", "--url", url)
        shown = await listener.until(lambda line: "-->" in line)
        sent_on = await listener.until(lambda line: "<--" in line)
        code = await listener.end()

    assert made.code == Exit.DRAINED
    assert "payment.succeeded" in shown
    assert f"[200] POST {receiver.url}" in sent_on
    assert code == Exit.DRAINED
    ((headers, body),) = receiver.received
    told = Webhook(WEBHOOK_SECRET).verify(body, headers)
    assert told["transactionID"] in made.out


async def test_only_the_events_and_the_account_that_were_asked_for_are_shown(
    rig: ProcessRig, tmp_path: Path
):
    url = rig.sandbox.url
    flags = ("--url", url, "--events", "refund.succeeded", "--provider", STRIPE.account)
    async with listening(tmp_path, *flags) as listener:
        await listener.until(lambda line: STRIPE.config.webhook_secret in line)
        await ran(tmp_path, "trigger", "refund.succeeded", "--url", url)
        await ran(
            tmp_path, "trigger", "refund.succeeded", "--url", url, "--provider", STRIPE.account
        )
        shown = await listener.until(lambda line: "-->" in line)

    assert "refund.succeeded" in shown
    assert STRIPE.account in shown
    assert not any("payment.succeeded" in line for line in listener.lines)


async def test_a_receiver_that_is_not_there_is_told_of_and_listening_goes_on(
    rig: ProcessRig, tmp_path: Path
):
    url = rig.sandbox.url
    async with listening(tmp_path, "--url", url, "--forward-to", free_url()) as listener:
        await listener.until(lambda line: WEBHOOK_SECRET in line)
        await ran(tmp_path, "trigger", "payment.failed", "--url", url)
        first = await listener.until(lambda line: "<--" in line)
        await ran(tmp_path, "trigger", "payment.failed", "--url", url)
        second = await listener.until(lambda line: "<--" in line)

    assert "not delivered" in first
    assert "not delivered" in second


async def test_it_connects_again_when_the_sandbox_comes_back(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        url = rig.sandbox.url
        port = url.rpartition(":")[2]
        async with listening(tmp_path, "--url", url) as listener:
            await listener.until(lambda line: WEBHOOK_SECRET in line)
            rig.sandbox.process.signal(signal.SIGKILL)
            await rig.sandbox.process.ended()
            back = await Process.spawn("sandbox", "--port", port, log=tmp_path / "back.log")
            try:
                await back.listening()
                await listener.until(lambda line: "again" in line)
                await ran(tmp_path, "trigger", "payment.succeeded", "--url", url)
                shown = await listener.until(lambda line: "-->" in line)
            finally:
                back.signal(signal.SIGKILL)
                await back.ended()

    assert "payment.succeeded" in shown


@pytest.mark.parametrize("command", [("listen",), ("trigger", "payment.succeeded")])
async def test_where_no_sandbox_runs_it_says_how_to_start_one(
    tmp_path: Path, command: tuple[str, ...]
):
    said = await ran(tmp_path, *command, "--url", free_url())

    assert said.code == Exit.FAILED
    assert "no sandbox answers" in said.complaint
    assert "paygate sandbox" in said.complaint


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999"])
@pytest.mark.parametrize(
    "command",
    [
        ("listen", "--url"),
        ("listen", "--forward-to"),
        ("trigger", "payment.succeeded", "--url"),
        ("provider", "check", "sandbox", "--base-url"),
        ("webhooks", "replay", "--url"),
    ],
    ids=" ".join,
)
async def test_a_url_that_cannot_be_read_is_refused_in_a_line(
    tmp_path: Path, command: tuple[str, ...], url: str
):
    said = await ran(tmp_path, *command, url)

    assert said.code == Exit.MISCONFIGURED
    assert f"{command[-1]}: must be http://HOST[:PORT]" in said.complaint
    assert "Traceback" not in said.complaint


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (("listen",), "is no sandbox"),
        (("trigger", "payment.succeeded"), "no sandbox answers"),
        (("webhooks", "replay"), "is no paygate"),
    ],
    ids=["listen", "trigger", "replay"],
)
async def test_a_web_server_that_says_yes_to_everything_is_told_apart(
    tmp_path: Path, command: tuple[str, ...], complaint: str
):
    async with receiving(path="/{anything:.*}", text="<p>welcome</p>\n") as stranger:
        base = stranger.url.removesuffix("/hook")

        said = await ran(tmp_path, *command, "--url", base)

    assert said.code == Exit.FAILED
    assert complaint in said.complaint
    assert "Traceback" not in said.complaint


async def test_every_story_comes_true_through_a_gateway(rig: ProcessRig, tmp_path: Path):
    gateway = await rig.serve()

    told = await asyncio.gather(
        *(
            ran(tmp_path, "trigger", name, "--url", rig.sandbox.url, "--gateway", gateway.url)
            for name in ("payment.failed", "refund.succeeded", "payment.cancelled", "dispute.won")
        )
    )

    assert [each.code for each in told] == [Exit.DRAINED] * 4, told
    listed = await gateway.every("payments", caller=OPERATOR)
    assert sorted(each["status"] for each in listed) == [
        "cancelled",
        "failed",
        "success",
        "success",
    ]


async def test_the_list_names_every_story_and_what_it_is(tmp_path: Path):
    said = await ran(tmp_path, "trigger", "--list")

    assert [line.split()[0] for line in said.out.splitlines()] == list(STORIES)


async def test_what_nobody_can_trigger_is_refused(tmp_path: Path):
    said = await ran(tmp_path, "trigger", "payment.forgotten")

    assert said.code == Exit.MISCONFIGURED
    assert "--list" in said.complaint


async def test_the_kinds_are_listed_with_their_entry_points(tmp_path: Path):
    said = await ran(tmp_path, "provider", "list", "--json")

    kinds = [json.loads(line) for line in said.out.splitlines()]
    assert {"adyen", "paypal", "sandbox", "stripe"} <= {each["kind"] for each in kinds}
    assert all(each["entryPoint"] and each["trial"] == "yes" for each in kinds)


async def test_a_kind_is_checked_at_a_sandbox_that_runs_and_others_keep_their_webhooks(
    rig: ProcessRig, tmp_path: Path
):
    gateway = await rig.serve()

    said = await ran(
        tmp_path, "provider", "check", "stripe", "--base-url", rig.sandbox.url,
        "--cases", "money-charge,webhooks-genuine,replies-other-amount", "--json",
    )  # fmt: skip

    report = json.loads(said.out)
    assert said.code == Exit.DRAINED
    assert {each["word"] for each in report["cases"]} == {"passed"}
    # The gateway's own webhooks still come to it.
    payment = (await gateway.pay("key-1")).made()
    assert (await gateway.until_status(payment["id"], "success"))["status"] == "success"


async def test_where_there_is_no_desk_the_cases_that_need_one_are_skipped(tmp_path: Path):
    async with receiving() as stranger:
        base = stranger.url.removesuffix("/hook")

        said = await ran(
            tmp_path, "provider", "check", "sandbox", "--base-url", base,
            "--cases", "replies-other-amount,line-never-left,money-charge", "--json",
        )  # fmt: skip

    words = {each["name"]: each["word"] for each in json.loads(said.out)["cases"]}
    assert words == {
        "money-charge": "failed",
        "line-never-left": "passed",
        "replies-other-amount": "skipped",
    }
    assert said.code == Exit.FAILED


async def test_an_account_that_no_sandbox_has_is_not_listened_for(rig: ProcessRig, tmp_path: Path):
    said = await ran(tmp_path, "listen", "--url", rig.sandbox.url, "--provider", "nope")

    assert said.code == Exit.MISCONFIGURED
    assert "--provider: there is no nope; there are " in said.complaint
    assert "sandbox_backup" in said.complaint
    assert STRIPE.account in said.complaint


async def test_a_kind_is_not_checked_where_nobody_answers(tmp_path: Path):
    url = free_url()

    said = await ran(tmp_path, "provider", "check", "sandbox", "--base-url", url)

    assert said.code == Exit.FAILED
    assert f"nobody answers at {url}" in said.complaint
    assert said.out == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nobody",), "installed are"),
        (("sandbox", "--cases", "money-nothing"), "money-nothing"),
        (("sandbox", "--base-url", "127.0.0.1"), "--base-url"),
    ],
)
async def test_a_check_of_nothing_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
):
    said = await ran(tmp_path, "provider", "check", *arguments)

    assert said.code == Exit.MISCONFIGURED
    assert complaint in said.complaint


async def test_a_sandbox_starts_with_the_faults_of_a_file(tmp_path: Path):
    file = tmp_path / "faults.toml"
    file.write_text('seed = 7\n[[faults]]\nfault = "slow"\ncount = 3\n')
    process = await Process.spawn(
        "sandbox", "--port", "0", "--faults", str(file), log=tmp_path / "sandbox.log"
    )
    try:
        await process.listening()
        sandbox = SandboxClient(process)
        standing = (await sandbox.ask("GET", "/faults")).made()["data"]
        await sandbox.close()
    finally:
        process.signal(signal.SIGKILL)
        await process.ended()

    assert [(each["fault"], each["count"]) for each in standing] == [("slow", 3)]


async def test_a_sandbox_does_not_start_with_faults_that_make_no_sense(tmp_path: Path):
    file = tmp_path / "faults.toml"
    file.write_text('[[faults]]\nfault = "slow"\nkard = "4242424242424242"\n')

    said = await ran(tmp_path, "sandbox", "--port", "0", "--faults", str(file))

    assert said.code == Exit.MISCONFIGURED
    assert "kard" in said.complaint


async def test_json_is_the_whole_webhook_a_line_and_nothing_else(rig: ProcessRig, tmp_path: Path):
    url = rig.sandbox.url
    async with listening(tmp_path, "--url", url, "--json") as listener:
        triggered = asyncio.create_task(again_until_shown(tmp_path, url))
        line = await listener.until(lambda _: True)
        triggered.cancel()
        await asyncio.gather(triggered, return_exceptions=True)

    shown = json.loads(line)
    assert Webhook(WEBHOOK_SECRET).verify(shown["body"], shown["headers"])


async def again_until_shown(folder: Path, url: str) -> None:
    """Make payments until the listener is there to show one: with --json it greets nobody."""
    while True:
        await ran(folder, "trigger", "payment.succeeded", "--url", url)
