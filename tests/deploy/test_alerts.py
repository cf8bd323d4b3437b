"""Prometheus' configuration and alert rules: by its own tool, and by the names that we serve."""

import re
import shutil
import subprocess
from pathlib import Path

from deploy_rig import DEPLOY, documents, make_secrets, moved
from needing import needs

from paygate_http.metric_help import HELP
from paygate_http.metrics import Metrics

ALERTS = DEPLOY / "alerts.yml"
HISTORIES = Path(__file__).with_name("alerts_test.yml")
SEVERITIES = {"page", "ticket"}


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("promtool")
    needs("promtool is missing: install the package prometheus", met=tool is not None)
    command = [str(tool), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_prometheus_takes_its_configuration_and_the_rules_beside_it(tmp_path: Path) -> None:
    text = moved((DEPLOY / "prometheus.yml").read_text(), make_secrets(tmp_path))
    text = text.replace("/etc/prometheus/alerts.yml", str(ALERTS))
    # Compose mounts the authority's certificate without its suffix.
    text = text.replace("/authority\n", "/authority.crt\n")
    (tmp_path / "prometheus.yml").write_text(text)

    checked = promtool("check", "config", tmp_path / "prometheus.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rules found" in checked.stdout


def test_the_alerts_are_raised_by_what_they_are_for_and_not_before() -> None:
    checked = promtool("test", "rules", HISTORIES)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_rule_waits_for_a_metric_that_nobody_serves() -> None:
    metrics = Metrics(dict)
    metrics.observe("/r", "GET", 200, 0.01)
    edge = set(re.findall(r"(?m)^(paygate_\w+)", metrics.page().decode()))
    (read,) = documents(ALERTS)
    expressions = [rule["expr"] for group in read["groups"] for rule in group["rules"]]

    named = {name for each in expressions for name in re.findall(r"\bpaygate_\w+", each)}

    assert len(named) > 10
    assert named - edge - HELP.keys() == set()


def test_each_alert_says_whom_it_wakes_and_why() -> None:
    (read,) = documents(ALERTS)
    rules = [rule for group in read["groups"] for rule in group["rules"]]

    silent = [rule["alert"] for rule in rules if not rule["annotations"].get("summary")]

    assert silent == []
    assert {rule["labels"]["severity"] for rule in rules} == SEVERITIES
    assert len({rule["alert"] for rule in rules}) == len(rules)
