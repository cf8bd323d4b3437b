"""`paygate serve` as a process: its line, its end, its folder, and the commands beside it."""

import base64
import json
import os
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from certificate_rig import certificate

pytestmark = pytest.mark.slow

LINE = re.compile(r"paygate: listening on (https?://127\.0\.0\.1:\d+)\n")
# A process that has not ended by now never will.
ENDS_S = 20
PEPPER = {"PAYGATE__API_KEY_PEPPER": base64.b64encode(bytes(32)).decode()}
LIVE = {
    **PEPPER,
    "PAYGATE__VAULT__KEYS": f"k1:{base64.b64encode(b'1' * 32).decode()}",
    "PAYGATE__VAULT__FINGERPRINT_KEY": base64.b64encode(b"2" * 32).decode(),
}
SERVE = ("serve", "--sandbox", "--port", "0", "--sandbox-port", "0")
MERCHANT = "sk_sandbox_merchant_a"
PAYMENT = {
    "amount": 12.34,
    "currency": "USD",
    "paymentMethod": {
        "type": "card",
        "cardNumber": "4242424242424242",
        "expiryMonth": 12,
        "expiryYear": datetime.now(UTC).year + 5,  # noqa: TID251  # a card of today's world
        "cvv": "123",
    },
}


def environment(**variables: str) -> dict[str, str]:
    bare = {name: text for name, text in os.environ.items() if not name.startswith("PAYGATE__")}
    return bare | variables


def paygate(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "paygate_http", *arguments],
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
        env=environment(**variables),
    )


@contextmanager
def gateway(
    data: Path, *flags: str, **variables: str
) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A running gateway with its sandbox, and its URL. Its log goes to `log` beside the data."""
    command = [sys.executable, "-m", "paygate_http", "serve", "--sandbox", "--data", str(data)]
    command += ["--port", "0", "--sandbox-port", "0", *flags]
    with (
        (data.parent / "log").open("a") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(**variables)
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = LINE.fullmatch(line)
            assert match, f"{line!r}: {(data.parent / 'log').read_text()}"
            yield process, match[1]
        finally:
            process.kill()


def call(
    url: str,
    body: object = None,
    *,
    key: str = MERCHANT,
    prefer: str = "",
    tls: ssl.SSLContext | None = None,
) -> tuple[int, dict[str, object]]:
    """One request; its status and JSON, whatever the status is."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if prefer:
        headers["Prefer"] = prefer
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=ENDS_S, context=tls) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; each look at it is a request or a file that is read."""
    deadline_s = time.monotonic() + ENDS_S  # noqa: TID251  # a test's own patience
    while not condition():
        assert time.monotonic() < deadline_s, "it never came"  # noqa: TID251


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_ready_when_it_says_so_and_ends_with_0_after_a_drain(
    tmp_path: Path, number: signal.Signals
):
    with gateway(tmp_path / "data") as (process, url):
        assert call(f"{url}/readyz")[0] == 200

        process.send_signal(number)

        assert process.wait(ENDS_S) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert '"drained"' in (tmp_path / "log").read_text()


def test_a_second_signal_ends_it_without_waiting_for_the_drain(tmp_path: Path):
    # The reply is held until the payment is decided, which the sandbox's latency puts off.
    late = gateway(tmp_path / "data", "--sandbox-latency-ms", "60000")
    with late as (process, url), ThreadPoolExecutor(1) as pool:
        asking = pool.submit(call, f"{url}/api/payments/process", PAYMENT, prefer="wait=30")
        until(lambda: "pay_" in json.dumps(call(f"{url}/api/payments")[1]))
        process.terminate()
        # Whoever is held by preference is answered as soon as the drain begins; the call that is
        # out is what the server still waits for.
        status, payment = asking.result(ENDS_S)
        assert process.poll() is None

        process.terminate()

        assert process.wait(ENDS_S) == 1
        assert '"draining"' in (tmp_path / "log").read_text()
        assert (status, payment["status"]) == (201, "processing")


def test_what_was_answered_is_there_after_a_kill(tmp_path: Path):
    with gateway(tmp_path / "data") as (process, url):
        status, made = call(f"{url}/api/payments/process", PAYMENT)
        process.kill()
        process.wait(ENDS_S)

    with gateway(tmp_path / "data") as (_, url):
        found = call(f"{url}/api/payments/{made['id']}")

    assert status == 201
    assert found[0] == 200
    assert found[1]["id"] == made["id"]


def test_a_second_server_on_the_folder_is_refused(tmp_path: Path):
    with gateway(tmp_path / "data") as (_, url):
        second = paygate(*SERVE, "--data", str(tmp_path / "data"))

        assert call(f"{url}/readyz")[0] == 200
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr.splitlines()[-1].startswith("paygate: ")
    assert "Traceback" not in second.stderr


def test_a_port_that_is_taken_ends_with_1_and_a_sentence(tmp_path: Path):
    with gateway(tmp_path / "data") as (_, url):
        port = url.rpartition(":")[2]
        flags = ("--port", port, "--sandbox-port", "0", "--data", str(tmp_path / "other"))
        second = paygate("serve", "--sandbox", *flags)

    assert second.returncode == 1
    assert "Address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_live_server_refuses_a_sandbox_folder(tmp_path: Path):
    with gateway(tmp_path / "data") as (process, _):
        process.terminate()
        process.wait(ENDS_S)

    live = paygate("serve", "--port", "0", "--data", str(tmp_path / "data"), **LIVE)

    assert live.returncode == 1
    assert "sandbox" in live.stderr.splitlines()[-1]


def test_it_serves_https_with_a_certificate(tmp_path: Path):
    cert, key = certificate(tmp_path, "127.0.0.1")
    trust = ssl.create_default_context(cafile=str(cert))

    with gateway(tmp_path / "data", "--tls-cert", str(cert), "--tls-key", str(key)) as (_, url):
        status, _ = call(f"{url}/readyz", tls=trust)

    assert url.startswith("https://")
    assert status == 200


def test_keys_are_made_and_revoked_through_the_running_server(tmp_path: Path):
    data = str(tmp_path / "data")
    with gateway(tmp_path / "data", **PEPPER) as (_, url):
        made = paygate("keys", "create", "--role", "merchant", "--merchant", "acme", "--data", data)
        listed = paygate("keys", "list", "--json", "--data", data)
        (row,) = [json.loads(line) for line in listed.stdout.splitlines()]
        taken = call(f"{url}/api/payments", key=made.stdout.strip())
        revoked = paygate("keys", "revoke", row["id"], "--data", data)
        after = paygate("keys", "list", "--json", "--data", data)

    assert taken[0] == 200
    assert row["merchant"] == "acme"
    assert row["revokedAt"] is None
    assert revoked.stdout == f"revoked {row['id']}\n"
    assert json.loads(after.stdout)["revokedAt"] is not None


def test_keys_are_made_in_the_folder_when_no_server_runs(tmp_path: Path):
    data = str(tmp_path / "data")
    create = ("keys", "create", "--sandbox", "--role", "operator", "--data", data)

    made = paygate(*create, **PEPPER)

    assert made.returncode == 0, made.stderr
    with gateway(tmp_path / "data", **PEPPER) as (_, url):
        assert call(f"{url}/api/providers", key=made.stdout.strip())[0] == 200
        assert call(f"{url}/api/providers", key=made.stdout.strip() + "x")[0] == 401


def test_the_audit_is_sound_beside_a_running_server_and_names_a_row_that_was_changed(
    tmp_path: Path,
):
    data = tmp_path / "data"
    with gateway(data) as (process, url):
        call(f"{url}/api/payments/process", PAYMENT)
        beside = paygate("audit", "verify", "--data", str(data))
        process.terminate()
        process.wait(ENDS_S)
    with sqlite3.connect(data / "journal.db") as database:
        changed = database.execute("UPDATE audit SET who = 'nobody' WHERE n = 2").rowcount
    database.close()

    after = paygate("audit", "verify", "--data", str(data))

    assert changed == 1
    assert (beside.returncode, "all sound" in beside.stdout) == (0, True)
    assert (after.returncode, "row 2 is bad" in after.stdout) == (1, True)


def test_an_audit_whose_newest_rows_were_cut_off_is_found_by_the_published_ends(tmp_path: Path):
    data = tmp_path / "data"
    with gateway(data) as (process, url):
        call(f"{url}/api/payments/process", PAYMENT)
        process.terminate()
        process.wait(ENDS_S)
    sound = paygate("audit", "verify", "--data", str(data))
    with sqlite3.connect(data / "journal.db") as database:
        database.execute("DELETE FROM audit WHERE n = (SELECT max(n) FROM audit)")
    database.close()

    after = paygate("audit", "verify", "--data", str(data))

    assert (sound.returncode, "published ends agree" in sound.stdout) == (0, True), sound.stdout
    assert (after.returncode, "cut short" in after.stdout) == (1, True)


def test_rows_cut_off_after_the_last_published_end_are_found_by_the_events_they_leave(
    tmp_path: Path,
):
    data = tmp_path / "data"
    with gateway(data) as (process, url):
        call(f"{url}/api/payments/process", PAYMENT)
        process.kill()
        process.wait(ENDS_S)
    (data / "audit.heads").unlink(missing_ok=True)
    with sqlite3.connect(data / "journal.db") as database:
        # From the newest row that covers events on: what is left is a sound chain.
        database.execute("DELETE FROM audit WHERE n >= (SELECT max(n) FROM audit WHERE events)")
    database.close()

    after = paygate("audit", "verify", "--data", str(data))

    assert (after.returncode, "rows were cut off" in after.stdout) == (1, True), after.stdout
