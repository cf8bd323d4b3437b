"""Routing on a running server: rules, an operator's tuning, reloading, and what is told of it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from live_gateway import OPERATOR, Live, Server, serving, visiting

DECLINED: Final = "4000000000000002"

RULES: Final = """
[[routing.rules]]
name = "large"
when = { currency = ["USD"], amount_from = 50000 }
targets = [{ provider = "sandbox_backup" }]

[[routing.rules]]
name = "gold"
when = { metadata = { tier = "gold" } }
retry_declines = ["card_declined"]
"""

# A provider that no running server knows yet, and everything sent there.
ADDED: Final = """
[[providers]]
id = "third"
kind = "sandbox"
url = "http://127.0.0.1:1"
webhook_secret = "whsec_cGF5Z2F0ZS1zYW5kYm94LXdlYmhvb2stc2VjcmV0"

[routing.costs]
third = { rate_ppm = 1000 }

[[routing.rules]]
name = "to the new one"
targets = [{ provider = "third" }]
otherwise = "any"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "paygate.toml"
    file.write_text(text)
    return file


async def route_of(live: Live, payment_id: str) -> dict[str, Any]:
    """Why the payment went where it went, as an operator reads it."""
    history = (await live.get(f"/api/payments/{payment_id}/events", key=OPERATOR)).body["data"]
    routes = [each["data"]["route"] for each in history if each["data"].get("route")]
    assert len(routes) == 1, history
    return routes[0]


async def provider(live: Live, provider_id: str) -> dict[str, Any]:
    listed = (await live.get("/api/providers")).body["data"]
    return {each["id"]: each for each in listed}[provider_id]


async def tuned(live: Live, provider_id: str, **body: object) -> Any:
    return await live.call("PATCH", f"/api/providers/{provider_id}", body, key=OPERATOR)


async def logged(live: Live, server: Server, *words: str) -> str:
    """The line of the log with all these words, once it is there."""

    async def look() -> str:
        lines = server.log.read_text().splitlines()
        return next((line for line in lines if all(word in line for word in words)), "")

    return await live.until(look, bool)


@pytest.mark.slow
async def test_rules_decide_where_payments_go_and_the_reasons_are_told(tmp_path: Path):
    file = written(tmp_path, RULES)
    with serving(tmp_path, "--config", str(file)) as server:
        async with visiting(server) as live:
            small = await live.pay(amount=10.00)
            large = await live.pay(amount=500.00)
            explained = await live.get(f"/api/payments/{large['id']}/explain", key=OPERATOR)
            public = await live.get(f"/api/payments/{large['id']}/explain")
            history = await live.get(f"/api/payments/{large['id']}/events")

    assert (small["provider"], large["provider"]) == ("sandbox", "sandbox_backup")
    assert "rule 'large'" in explained.text
    assert "rule 'large'" not in public.text, "rules are the operators' own"
    assert '"route":' not in history.text


@pytest.mark.slow
async def test_a_soft_decline_is_tried_elsewhere_by_its_rule_and_not_without(tmp_path: Path):
    file = written(tmp_path, RULES)
    with serving(tmp_path, "--config", str(file)) as server:
        async with visiting(server) as live:
            gold = await live.pay(DECLINED, metadata={"tier": "gold"})
            other = await live.pay(DECLINED)
            lost = await live.pay("4000000000009987", metadata={"tier": "gold"})
            tried = {each["id"]: await live.call_keys(each["id"]) for each in (gold, other, lost)}
            route = await route_of(live, gold["id"])

    assert [len(tried[each["id"]]) for each in (gold, other, lost)] == [2, 1, 1]
    assert {each["status"] for each in (gold, other, lost)} == {"failed"}
    assert (route["rule"], route["retryDeclines"]) == ("gold", ["card_declined"])


@pytest.mark.slow
async def test_what_an_operator_sets_about_a_provider_holds_and_outlives_the_process(
    tmp_path: Path,
):
    with serving(tmp_path) as server:
        async with visiting(server) as live:
            before = await live.pay()
            done = await tuned(live, "sandbox", priority=9, weight=3, concurrency=2)
            after = await live.pay()
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(10)
    with serving(tmp_path) as server:
        async with visiting(server) as live:
            again = await live.pay()
            found = await provider(live, "sandbox")
            many = await asyncio.gather(*(live.pay(provider="sandbox") for _ in range(6)))

    assert done.status == 200, done.text
    assert [each["provider"] for each in (before, after, again)] == [
        "sandbox",
        "sandbox_backup",
        "sandbox_backup",
    ]
    assert (found["priority"], found["weight"], found["concurrency"]) == (9, 3, 2)
    assert Counter(each["status"] for each in many) == {"success": 6}


@pytest.mark.slow
async def test_nonsense_about_a_provider_is_refused_and_changes_nothing(tmp_path: Path):
    with serving(tmp_path) as server:
        async with visiting(server) as live:
            refused = await tuned(live, "sandbox", priority=-1, weight=1.5, concurrency=0)
            stranger = await live.call("PATCH", "/api/providers/sandbox", {"weight": 2})
            found = await provider(live, "sandbox")

    assert refused.code == (422, "validation_failed")
    assert {fault["pointer"] for fault in refused.body["errors"]} == {
        "/priority",
        "/weight",
        "/concurrency",
    }
    assert stranger.status == 403
    assert (found["priority"], found["weight"], found["concurrency"]) == (1, 1, 256)


@pytest.mark.slow
async def test_a_hangup_puts_new_rules_in_force_and_keeps_the_old_for_a_bad_file(tmp_path: Path):
    file = written(tmp_path, "")
    with serving(tmp_path, "--config", str(file)) as server:
        async with visiting(server) as live:
            before = await live.pay(amount=500.00)
            written(tmp_path, RULES)
            server.process.send_signal(signal.SIGHUP)
            await logged(live, server, "configuration_reloaded", "changed")
            during = await live.pay(amount=500.00)
            written(tmp_path, RULES.replace("sandbox_backup", "nowhere"))
            server.process.send_signal(signal.SIGHUP)
            line = await logged(live, server, "configuration_refused")
            after = await live.pay(amount=500.00)
            routes = [await route_of(live, each["id"]) for each in (during, after)]

    assert [each["provider"] for each in (before, during, after)] == [
        "sandbox",
        "sandbox_backup",
        "sandbox_backup",
    ]
    assert "routing.rules[0].targets[0].provider" in line
    assert routes[0]["rules"] == routes[1]["rules"]


@pytest.mark.slow
async def test_rules_for_a_provider_that_starts_with_the_next_restart_wait_for_it(tmp_path: Path):
    file = written(tmp_path, RULES)
    with serving(tmp_path, "--config", str(file)) as server:
        async with visiting(server) as live:
            before = await live.pay(amount=500.00)
            written(tmp_path, ADDED)
            server.process.send_signal(signal.SIGHUP)
            target = await logged(live, server, "configuration_refused", "targets[0].provider")
            cost = await logged(live, server, "configuration_refused", "routing.costs.third")
            after = await live.pay(amount=500.00)
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(10)
            log = server.log.read_text()
    with serving(tmp_path, "--config", str(file)) as server:
        async with visiting(server) as live:
            route = await route_of(live, (await live.pay(amount=10.00))["id"])

    assert [each["provider"] for each in (before, after)] == ["sandbox_backup"] * 2
    assert all("'third'" in line and "restart" in line for line in (target, cost))
    assert "configuration_reloaded" not in log
    assert (route["rule"], route["order"][0]) == ("to the new one", "third")


@pytest.mark.slow
async def test_what_takes_a_restart_is_named_and_the_rules_are_taken_all_the_same(tmp_path: Path):
    file = written(tmp_path, "")
    with serving(tmp_path, "--config", str(file)) as server:
        async with visiting(server) as live:
            written(tmp_path, "[fraud]\nreview_hours = 5\n" + RULES)
            server.process.send_signal(signal.SIGHUP)
            await logged(live, server, "configuration_reloaded")
            line = await logged(live, server, "restart_needed")
            paid = await live.pay(amount=500.00)

    assert "fraud" in line
    assert "routing" not in line
    assert paid["provider"] == "sandbox_backup"


@pytest.mark.slow
async def test_a_provider_that_fails_is_seen_by_operation_and_left_to_others(tmp_path: Path):
    with serving(tmp_path) as server:
        async with visiting(server) as live:
            await live.fault("error_500", provider="sandbox", operation="charge", count=30)
            await asyncio.gather(*(live.pay(wait_s=None) for _ in range(30)))

            seen = await live.until(
                lambda: provider(live, "sandbox"), lambda found: found["circuit"] == "open"
            )
            paid = await live.pay()
            changes = await live.metric(
                'paygate_provider_circuit_changes_total{provider="sandbox"}'
            )
            route = await route_of(live, paid["id"])

    circuits = {each["operation"]: each["circuit"] for each in seen["circuits"]}
    assert circuits == {
        "charge": "open",
        "capture": "closed",
        "void": "closed",
        "refund": "closed",
        "find": "closed",
    }
    assert paid["provider"] == "sandbox_backup"
    assert route["behind"] == [{"provider": "sandbox", "why": "circuit_open"}]
    assert changes >= 1


@pytest.mark.slow
async def test_a_refund_that_is_turned_away_is_sent_again_when_the_provider_wants_it(
    tmp_path: Path,
):
    with serving(tmp_path) as server:
        async with visiting(server) as live:
            paid = await live.pay()
            await live.fault("too_many_requests", operation="refund", count=2)
            refund = await live.done(paid["id"], "refund")
            effects = await live.effects(paid["id"])
            calls = [each for each in await live.calls() if each["operation"] == "refund"]

    assert refund["status"] == "success"
    assert len(effects) == 2, "one charge and one refund"
    assert len({each["idempotencyKey"] for each in calls}) == 1
    assert len(calls) == 3


def replayed(data: Path, rules: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Try rules on the folder's payments, as an operator does beside a running server."""
    command = [sys.executable, "-m", "paygate_http", "routing", "replay", "--sandbox"]
    command += ["--rules", str(rules), "--data", str(data), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
async def test_new_rules_are_tried_on_the_payments_that_were_made(tmp_path: Path):
    costs = "[routing.costs]\nsandbox = { rate_ppm = 30000 }\nsandbox_backup = { rate_ppm = 10000 }"
    with serving(tmp_path) as server:
        async with visiting(server) as live:
            for amount in (10.00, 20.00, 500.00):
                await live.pay(amount=amount)
            await live.pay(DECLINED, amount=10.00)
            rules = written(tmp_path, costs + RULES)
            found = await asyncio.to_thread(replayed, server.data, rules, "--json")
            told = await asyncio.to_thread(replayed, server.data, rules)
            none = await asyncio.to_thread(replayed, server.data, rules, "--to", "2020-01-01")
            still = await live.pay()

    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    assert (report["payments"], report["changed"], report["judged"]) == (4, 1, 4)
    assert report["changes"] == [{"was": "sandbox", "now": "sandbox_backup", "payments": 1}]
    assert (report["approval_milli"], report["coverage_milli"]) == (750, 750)
    assert report["expected_approval_milli"] == 667
    assert report["costs"] == [
        {
            "currency": "USD",
            "payments": 3,
            "was_micro": 53_000 * 30_000,
            "now_micro": 3_000 * 30_000 + 50_000 * 10_000,
        }
    ]
    assert "coverage: 75 %" in told.stdout
    assert "0 payments were routed" in none.stdout
    assert still["status"] == "success", "the server was not disturbed"


@pytest.mark.slow
def test_rules_that_cannot_be_used_and_folders_that_are_none_are_refused(tmp_path: Path):
    bad = written(tmp_path, RULES.replace("sandbox_backup", "nowhere"))
    refused = replayed(tmp_path / "data", bad)
    good = written(tmp_path, RULES)
    nowhere = replayed(tmp_path / "data", good)
    never = replayed(tmp_path / "data", good, "--from", "yesterday")

    assert refused.returncode == 2
    assert "routing.rules[0].targets[0].provider" in refused.stderr
    assert nowhere.returncode == 1
    assert never.returncode == 2
    assert "--from" in never.stderr
