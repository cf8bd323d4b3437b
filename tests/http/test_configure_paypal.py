"""A PayPal account in the configuration: ten lines that work, and what is refused of others."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from paygate_actors.furnish import adapters_of
from paygate_actors.providers.paypal import PayPalProvider
from paygate_http.configure import ConfigInvalid, load
from paygate_http.sandbox.paypal_tokens import CLIENT_SECRET
from paygate_http.sandbox.paypal_tongue import WEBHOOK_ID

DOCS = Path(__file__).parents[2] / "docs/paypal.md"
VAULT_KEY, FINGERPRINT_KEY, PEPPER = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
LIVE = {
    "PAYGATE__VAULT__KEYS": f"k1:{VAULT_KEY}",
    "PAYGATE__VAULT__FINGERPRINT_KEY": FINGERPRINT_KEY,
    "PAYGATE__API_KEY_PEPPER": PEPPER,
}


def providers(options: dict[str, str] | None = None, **changes: str) -> str:
    settings: dict[str, Any] = {"id": "p", "kind": "paypal", "secret": "EKx"}
    named = {"client_id": "AbC", "webhook_id": "8PT597110X687430A"} | (options or {})
    return json.dumps([{**settings, "options": named, **changes}])


def test_ten_lines_are_enough_for_an_account(tmp_path: Path):
    text = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)[0]
    file = tmp_path / "paygate.toml"
    file.write_text(text)

    config = load(file=file, environment=LIVE).config
    adapter = adapters_of(config)["paypal"]

    assert len(text.splitlines()) <= 10
    assert isinstance(adapter, PayPalProvider)
    assert adapter.redacted_config()["url"] == "https://api-m.paypal.com"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (providers({"client_id": ""}), "options.client_id"),
        (providers({"webhook_id": ""}), "options.webhook_id"),
        (providers({"webhook_id": "8PT|597"}), "options.webhook_id"),
        (providers({"webhookid": "x"}), "options.webhookid"),
        (providers(secret=" "), "secret"),
        (providers(webhook_secret="whsec_x"), "webhook_secret"),
        (providers(url="http://api-m.paypal.com"), "url"),
        (providers(url="api-m.paypal.com"), "url"),
        (providers(url="https://api-m.sandbox.paypal.com"), "url"),
    ],
)
def test_a_live_server_refuses_an_account_that_would_check_or_charge_nothing(text: str, key: str):
    with pytest.raises(ConfigInvalid) as refused:
        load(environment=LIVE | {"PAYGATE__PROVIDERS": text})

    (fault,) = refused.value.lines
    assert fault.startswith(f"providers[0].{key}: ")


@pytest.mark.parametrize(
    "text", [providers(secret=CLIENT_SECRET), providers({"webhook_id": WEBHOOK_ID})]
)
def test_a_live_server_refuses_what_the_sandbox_tells_everybody(text: str):
    with pytest.raises(ConfigInvalid, match="refuses the sandbox's secrets") as refused:
        load(environment=LIVE | {"PAYGATE__PROVIDERS": text})

    assert CLIENT_SECRET not in str(refused.value)
