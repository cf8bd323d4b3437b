"""The way out to receivers: where it leads is judged at each attempt, and nowhere else it goes."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from certificate_rig import certificate

from paygate_actors.notice_sender import Answer, HttpSender

PUBLIC = "93.184.216.34"
BODY = b'{"type":"payment.succeeded"}'
HEADERS = {"webhook-id": "evt_1"}


@asynccontextmanager
async def sender(
    resolve: Callable[[str, int], list[str]],
    *,
    allow_loopback: bool = False,
    send_s_max: float = 5.0,
    tls: ssl.SSLContext | bool = True,
) -> AsyncGenerator[HttpSender]:
    made = HttpSender(
        allow_loopback=allow_loopback, send_s_max=send_s_max, resolve=resolve, tls=tls
    )
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def shop(
    handler: Callable[[web.Request], "web.Response"], tls: ssl.SSLContext | None = None
) -> AsyncGenerator[int]:
    """A web server on loopback; its port."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return handler(request)

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_name_that_leads_inside_is_refused_when_it_is_registered() -> None:
    async with sender(lambda _host, _port: ["10.0.0.1"]) as out:
        assert await out.check("https://shop.example/hook") is not None

    async with sender(lambda _host, _port: [PUBLIC]) as out:
        assert await out.check("https://shop.example/hook") is None


async def test_a_name_that_leads_inside_later_is_refused_when_it_is_called() -> None:
    """DNS rebinding: what was public when it was registered is loopback when it counts."""
    asked: list[str] = []
    called: list[web.Request] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    def note(request: web.Request) -> web.Response:
        called.append(request)
        return web.Response()

    async with shop(note) as port, sender(resolve) as out:
        url = f"https://shop.example:{port}/hook"
        at_first = await out.check(url)
        sent = await out.send(url, HEADERS, BODY)

    assert at_first is None
    assert sent == Answer(error="url_refused")
    assert called == []
    assert asked == ["shop.example", "shop.example"]


async def test_the_name_is_looked_up_anew_at_each_attempt() -> None:
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with (
        shop(lambda _: web.Response()) as port,
        sender(resolve, allow_loopback=True) as out,
    ):
        for _ in range(3):
            await out.send(f"http://localhost:{port}/hook", HEADERS, BODY)

    assert asked == ["localhost"] * 3


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://169.254.169.254/latest",
        "https://2130706433/hook",
        "http://example.com/hook",
    ],
)
async def test_an_address_in_the_place_of_a_name_is_judged_at_each_attempt(url: str) -> None:
    """aiohttp asks no resolver for these: they are judged before it is asked."""

    def resolve(host: str, _port: int) -> list[str]:
        raise AssertionError(host)

    async with sender(resolve) as out:
        assert await out.send(url, HEADERS, BODY) == Answer(error="url_refused")


async def test_it_connects_to_the_judged_address_and_names_the_host(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "shop.example")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(cert, key)
    names: list[str | None] = []
    served.sni_callback = lambda _socket, name, _context: names.append(name)
    hosts: list[str] = []

    def note(request: web.Request) -> web.Response:
        hosts.append(request.headers["Host"])
        return web.Response(status=204)

    trusting = ssl.create_default_context(cafile=str(cert))
    async with (
        shop(note, served) as port,
        sender(lambda _host, _port: ["127.0.0.1"], allow_loopback=True, tls=trusting) as out,
    ):
        sent = await out.send(f"https://shop.example:{port}/hook", HEADERS, BODY)
        other = await out.send(f"https://other.example:{port}/hook", HEADERS, BODY)

    assert sent.status == 204
    assert names[0] == "shop.example"
    assert hosts == [f"shop.example:{port}"]
    assert other == Answer(error="tls")


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "shop.example")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(cert, key)

    async with (
        shop(lambda _: web.Response(), served) as port,
        sender(lambda _host, _port: ["127.0.0.1"], allow_loopback=True) as out,
    ):
        sent = await out.send(f"https://shop.example:{port}/hook", HEADERS, BODY)

    assert sent == Answer(error="tls")


async def test_who_does_not_answer_in_time_has_not_answered() -> None:
    # The kernel takes the connection and the request; nobody ever reads it.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with sender(
            lambda _host, _port: ["127.0.0.1"], allow_loopback=True, send_s_max=0.2
        ) as out:
            sent = await out.send(f"http://localhost:{port}/hook", HEADERS, BODY)

    assert sent == Answer(error="timeout")


async def test_a_look_up_that_hangs_is_cut_off_with_the_attempt() -> None:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    let_go = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        loop.call_soon_threadsafe(asked.set)
        let_go.wait(10)
        return [PUBLIC]

    async with sender(resolve, send_s_max=0.2) as out:
        sent = await out.send("https://shop.example/hook", HEADERS, BODY)
        checked = await out.check("https://shop.example/hook")
        let_go.set()

    assert asked.is_set()
    assert sent == Answer(error="timeout")
    assert checked is not None


async def test_a_name_that_nobody_knows_and_a_port_that_nobody_serves() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with sender(unknown) as out:
        nobody = await out.send("https://shop.example/hook", HEADERS, BODY)
    async with sender(lambda _host, _port: ["127.0.0.1"], allow_loopback=True) as out:
        closed = await out.send(f"http://localhost:{port}/hook", HEADERS, BODY)

    assert nobody == Answer(error="not_found")
    assert closed == Answer(error="not_connected")


async def test_no_proxy_of_the_surroundings_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async with (
        shop(lambda _: web.Response(status=202)) as port,
        sender(lambda _host, _port: ["127.0.0.1"], allow_loopback=True) as out,
    ):
        sent = await out.send(f"http://localhost:{port}/hook", HEADERS, BODY)

    assert sent.status == 202
