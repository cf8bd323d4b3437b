"""`paygate webhooks replay`: through the server that runs, or in the folder when none does."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from msgspec.structs import replace

from paygate_actors.messages import Caller, Refusal
from paygate_actors.replay_messages import ReplayPage, ReplayWebhooks
from paygate_http.configure import load
from paygate_http.control import RemoteReplays, is_served
from paygate_http.flags import ReplayFlags
from paygate_http.process import Exit, Refused, read_key
from paygate_http.replays_at_rest import reading, refuse_no_data, writing
from paygate_http.sandbox_accounts import checked_url
from paygate_http.webhook_replays import (
    ReadingChangeReply,
    WebhookReplayBody,
    WebhookReplayReply,
    page_reply,
)
from paygate_http.wire import encode, parse_time

# A page is a hundred webhooks, and each that changed is a commit.
ASK_S: Final = 60.0
# Public: every sandbox has it.
_SANDBOX_KEY: Final = "sk_sandbox_operator"
_CONSOLE: Final = Caller(role="operator", merchant="", key_id="console")

_page = msgspec.json.Decoder(WebhookReplayReply)

Ask = Callable[[WebhookReplayBody], Awaitable[WebhookReplayReply]]


def replay(flags: ReplayFlags) -> Exit:
    """Read webhooks again, and print what changed: a line each, or JSON lines, then the sums.

    Raises `Refused` for a time that is none, a folder that holds nothing, and a server that says
    no; FAILED where some webhooks could not be read, or none is what `flags` name.
    """
    asked = WebhookReplayBody(
        provider=flags.provider,
        event_id=flags.id,
        from_=_moment(flags.from_, "--from"),
        to=_moment(flags.to, "--to"),
        dry_run=flags.dry_run,
    )
    webhooks, failed, changed = asyncio.run(_all_pages(flags, asked))
    applied = "would change" if flags.dry_run else "changed"
    sys.stderr.write(f"{webhooks} webhooks read again, {changed} {applied}, {failed} unreadable\n")
    if not webhooks and (flags.provider or flags.id):
        given = {"--provider": flags.provider, "--id": flags.id}
        named = " ".join(f"{flag} {value}" for flag, value in given.items() if value)
        raise Refused(f"of the webhooks that are kept, nothing matched {named}")
    return Exit.FAILED if failed else Exit.DRAINED


async def _all_pages(flags: ReplayFlags, asked: WebhookReplayBody) -> tuple[int, int, int]:
    webhooks = failed = changed = 0
    async with _way(flags) as ask:
        while True:
            page = await ask(asked)
            webhooks += page.webhooks
            failed += page.failed
            for change in page.data:
                changed += change.applied or flags.dry_run
                _print(change, as_json=flags.json)
            if page.next_cursor is None:
                return webhooks, failed, changed
            asked = replace(asked, cursor=page.next_cursor)


def _print(change: ReadingChangeReply, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(encode(change).decode() + "\n")
        return
    was = change.was or "not read as an event"
    standing = "" if change.applied else "  (nothing changed)"
    sys.stdout.write(
        f"{change.received_at}  {change.provider}/{change.event_id}  {was} -> {change.now}"
        f"  {change.payment_id or 'no payment yet'}{standing}\n"
    )


@asynccontextmanager
async def _way(flags: ReplayFlags) -> AsyncGenerator[Ask]:
    if flags.url is not None:
        async with _through_url(checked_url("--url", flags.url), _key(flags)) as ask:
            yield ask
        return
    settings = tuple(flags.settings())
    looked = load(file=flags.config, environment=os.environ, flags=settings, serves=False)
    folder = looked.config.data_dir
    alone = looked.config.database.url is None
    if alone and is_served(folder):
        remote = RemoteReplays(folder, timeout_s=ASK_S)
        yield lambda body: _at(remote.page, body)
        return
    if alone:
        refuse_no_data(Path(folder))
    # A dry run sends nothing and signs nothing: it needs no more of the configuration than a look.
    config = looked.config
    if not flags.dry_run:
        config = load(file=flags.config, environment=os.environ, flags=settings).config
    async with (reading if flags.dry_run else writing)(config) as pages:
        yield lambda body: _at(pages, body)


async def _at(
    page: Callable[[ReplayWebhooks], Awaitable[ReplayPage | Refusal]], body: WebhookReplayBody
) -> WebhookReplayReply:
    found = await page(
        ReplayWebhooks(
            caller=_CONSOLE,
            provider=body.provider,
            event_id=body.event_id,
            from_us=None if body.from_ is None else parse_time(body.from_),
            to_us=None if body.to is None else parse_time(body.to),
            dry_run=bool(body.dry_run),
            cursor=body.cursor,
        )
    )
    if isinstance(found, Refusal):
        raise Refused(found.detail)
    return page_reply(found)


@asynccontextmanager
async def _through_url(url: str, key: str) -> AsyncGenerator[Ask]:
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:

        async def ask(body: WebhookReplayBody) -> WebhookReplayReply:
            path = f"{url}/api/webhook-replays"
            try:
                async with session.post(path, data=encode(body)) as answer:
                    text = await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Refused(f"{url} does not answer: {error or type(error).__name__}") from error
            if answer.status != 200:  # noqa: PLR2004  # OK
                raise Refused(f"{url} says no ({answer.status}): {text.decode(errors='replace')}")
            try:
                return _page.decode(text)
            except msgspec.DecodeError as error:
                raise Refused(f"{url} is no paygate: {error}") from error

        yield ask


def _key(flags: ReplayFlags) -> str:
    return _SANDBOX_KEY if flags.key_file is None else read_key(flags.key_file)


def _moment(text: str | None, name: str) -> str | None:
    if text is not None and parse_time(text) is None:
        raise Refused(f"{name} must be an RFC 3339 time, 2026-01-31T00:00:00Z")
    return text
