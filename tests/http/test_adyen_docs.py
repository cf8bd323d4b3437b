"""What `docs/adyen.md` tells people to write is a configuration that works."""

import base64
import re
from pathlib import Path

import pytest

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.registry import build
from paygate_http.configure import load
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_cards import STORED
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT
from paygate_http.sandbox.adyen_tongue import HMAC_KEY

DOCUMENT = (Path(__file__).parents[2] / "docs/adyen.md").read_text()
LIVE_SNIPPET, SANDBOX_SNIPPET = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
KEYS = [base64.b64encode(bytes([each]) * 32).decode() for each in range(3)]
LIVE = {
    "PAYGATE__VAULT__KEYS": f"k1:{KEYS[0]}",
    "PAYGATE__VAULT__FINGERPRINT_KEY": KEYS[1],
    "PAYGATE__API_KEY_PEPPER": KEYS[2],
}


def configured(folder: Path, text: str, environment: dict[str, str]) -> ProviderConfig:
    file = folder / "paygate.toml"
    file.write_text(text)
    config = load(file=file, environment=environment).config
    return next(each for each in config.providers if each.kind == "adyen")


def test_ten_lines_configure_a_live_account(tmp_path: Path):
    text = LIVE_SNIPPET.replace('"44782DEF..."', f'"{"0A" * 32}"').replace("PREFIX", "shop")
    settings = [line for line in text.splitlines() if line and not line.startswith(("#", "["))]

    config = configured(tmp_path, text, LIVE)

    assert build(config).redacted_config()["mode"] == "live"
    assert len(settings) <= 10


def test_the_live_account_s_optional_lines_are_taken_too(tmp_path: Path):
    text = LIVE_SNIPPET.replace('"44782DEF..."', f'"{"0A" * 32}"').replace("# options", "options")

    config = configured(tmp_path, text, LIVE)

    assert config.options == {"webhook_login": "user:password"}
    assert build(config).kind == "adyen"


def test_the_sandbox_s_account_is_the_one_that_it_keeps(tmp_path: Path):
    config = configured(tmp_path, SANDBOX_SNIPPET, {"PAYGATE__SANDBOX__ENABLED": "true"})

    assert (config.secret, config.account) == (API_KEY, MERCHANT_ACCOUNT)
    assert config.webhook_secret == HMAC_KEY
    assert build(config).redacted_config()["mode"] == "test"


@pytest.mark.parametrize("token", STORED)
def test_every_card_that_the_sandbox_keeps_is_named(token: str):
    assert f"`{token}`" in DOCUMENT
