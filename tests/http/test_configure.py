"""Configuration: which layer wins, and how a mistake in each of them is named."""

import base64
import json
from pathlib import Path

import pytest
from msgspec.structs import fields

from paygate_actors.config import ProviderConfig
from paygate_http.configure import ConfigInvalid, load, sandbox_providers
from paygate_http.configure_show import SECRETS, describe
from paygate_http.configure_sources import Setting, leaves
from paygate_http.sandbox.adyen_calls import API_KEY as ADYEN_API_KEY
from paygate_http.sandbox.adyen_tongue import HMAC_KEY as ADYEN_HMAC_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET as STRIPE_WEBHOOK_SECRET

SANDBOX = {"PAYGATE__SANDBOX__ENABLED": "true"}
KEY = base64.b64encode(bytes(range(32))).decode()
VAULT_KEY, FINGERPRINT_KEY = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
LIVE = {
    "PAYGATE__VAULT__KEYS": f"k1:{VAULT_KEY}",
    "PAYGATE__VAULT__FINGERPRINT_KEY": FINGERPRINT_KEY,
    "PAYGATE__API_KEY_PEPPER": KEY,
}
PORT_FLAG = Setting(path=("server", "port"), value=4, origin="--port")


def toml(folder: Path, text: str) -> Path:
    file = folder / "paygate.toml"
    file.write_text(text)
    return file


def faults(folder: Path, text: str = "", **variables: str) -> tuple[str, ...]:
    environment = SANDBOX | variables
    with pytest.raises(ConfigInvalid) as refused:
        load(file=toml(folder, text), environment=environment)
    return refused.value.lines


@pytest.mark.parametrize(
    ("in_file", "in_environment", "as_flag", "port", "origin"),
    [
        (False, False, False, 8080, None),
        (True, False, False, 2, "paygate.toml"),
        (False, True, False, 3, "PAYGATE__SERVER__PORT"),
        (False, False, True, 4, "--port"),
        (True, True, False, 3, "PAYGATE__SERVER__PORT"),
        (True, False, True, 4, "--port"),
        (False, True, True, 4, "--port"),
        (True, True, True, 4, "--port"),
    ],
)
def test_the_layer_nearest_to_the_operator_wins(
    tmp_path: Path,
    in_file: bool,  # noqa: FBT001  # pytest hands parameters in by name
    in_environment: bool,  # noqa: FBT001
    as_flag: bool,  # noqa: FBT001
    port: int,
    origin: str | None,
):
    file = toml(tmp_path, "[server]\nport = 2\n") if in_file else None
    environment = SANDBOX | ({"PAYGATE__SERVER__PORT": "3"} if in_environment else {})

    loaded = load(file=file, environment=environment, flags=[PORT_FLAG] if as_flag else [])

    assert loaded.config.server.port == port
    said_by = loaded.origins.get("server.port")
    assert said_by == (str(file) if origin == "paygate.toml" else origin)


def test_layers_are_merged_key_by_key_and_not_table_by_table(tmp_path: Path):
    file = toml(tmp_path, '[server]\nport = 2\nhost = "127.0.0.2"\n')

    config = load(file=file, environment=SANDBOX | {"PAYGATE__SERVER__PORT": "3"}).config

    assert (config.server.host, config.server.port) == ("127.0.0.2", 3)


def test_the_sandbox_switches_velocity_off_unless_it_is_configured():
    preset = load(environment=SANDBOX).config
    configured = load(environment=SANDBOX | {"PAYGATE__FRAUD__VELOCITY": "true"}).config

    assert not preset.fraud.velocity
    assert preset.server.requests_per_key_per_s == 0
    assert preset.fraud.block_cards == ("4100000000000019",)
    assert configured.fraud.velocity


def test_a_live_server_counts_requests_and_blocks_no_test_card():
    config = load(environment=LIVE).config

    assert config.fraud.velocity
    assert config.server.requests_per_key_per_s > 0
    assert config.fraud.block_cards == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[server]\nprot = 1\n", "server.prot: no such key; did you mean port?"),
        ("[sevrer]\nport = 1\n", "sevrer: no such key; did you mean server?"),
        ("[server]\nport = 'x'\n", "server.port: Expected `int`, got `str`"),
        ("[server]\nport = '8081'\n", "server.port: Expected `int`, got `str`"),
        ("server = 1\n", "server: is a table, written [server]"),
        ("[limits.amounts.USD]\nmaximum = 1\n", "limits.amounts[...]: Object contains unknown"),
        ("[[providers]]\nid='a'\nkind='b'\nurll='c'\n", "providers[0]: Object contains unknown"),
        ("[fraud]\nblock_ips = [1]\n", "fraud.block_ips[0]: Expected `str`, got `int`"),
        ("not toml", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_names_the_file_and_the_key(tmp_path: Path, text: str, named: str):
    (fault,) = faults(tmp_path, text)

    assert fault.startswith(f"{tmp_path}/paygate.toml: ")
    assert named in fault


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("PAYGATE__SERVER__PROT", "1", "no such setting; did you mean PAYGATE__SERVER__PORT?"),
        ("PAYGATE__SERVER__PROT_FILE", "x", "no such setting"),
        ("PAYGATE__SERVER__PORT", "x", "Expected `int`, got `str`"),
        ("PAYGATE__SERVER__PORT", "", "Expected `int`, got `str`"),
        ("PAYGATE__FRAUD__BLOCK_IPS", '["a"', "Input data was truncated"),
        ("PAYGATE__LIMITS__AMOUNTS", '{"USD":{"max":1}}', "Object contains unknown field `max`"),
        ("PAYGATE__API_KEY_PEPPER_FILE", "/nowhere/pepper", "cannot be read: No such file"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    tmp_path: Path, variable: str, value: str, named: str
):
    (fault,) = faults(tmp_path, **{variable: value})

    assert fault.startswith(f"{variable}")
    assert named in fault


def test_every_fault_is_told_at_once(tmp_path: Path):
    text = "data = 1\n[server]\nprot = 1\n"

    found = faults(tmp_path, text, PAYGATE__SERVER__PORT="x", PAYGATE__NONE="1")

    assert len(found) == 4


def test_the_environment_takes_words_between_commas_json_and_off():
    environment = SANDBOX | {
        "PAYGATE__FRAUD__BLOCK_IPS": "10.0.0.1, 10.0.0.2",
        "PAYGATE__FRAUD__BLOCK_CUSTOMERS": '["a,b"]',
        "PAYGATE__FRAUD__USD_RATES": '{"EUR": "1.08"}',
        "PAYGATE__FRAUD__BLOCK_SCORE_MILLI": "off",
        "PAYGATE__SERVER__DRAIN_S": "2.5",
        "PAYGATE__PROVIDERS": '[{"id": "p", "kind": "k", "url": "https://example.com"}]',
    }

    config = load(environment=environment).config

    assert config.fraud.block_ips == ("10.0.0.1", "10.0.0.2")
    assert config.fraud.block_customers == ("a,b",)
    assert config.fraud.usd_rates == {"EUR": "1.08"}
    assert config.fraud.block_score_milli is None
    assert config.server.drain_s == 2.5
    assert config.providers == (ProviderConfig(id="p", kind="k", url="https://example.com"),)


def test_off_in_the_file_stands_for_nothing_where_a_number_may_be_absent(tmp_path: Path):
    file = toml(tmp_path, "[fraud]\nblock_score_milli = 'off'\n")

    assert load(file=file, environment=SANDBOX).config.fraud.block_score_milli is None
    assert (
        "fraud.high_amount_usd_minor"
        in faults(tmp_path, "[fraud]\nhigh_amount_usd_minor = 'off'\n")[0]
    )


def test_a_secret_is_read_from_a_file_without_its_last_newline(tmp_path: Path):
    secret = tmp_path / "pepper"
    secret.write_text(KEY + "\n")
    environment = SANDBOX | {"PAYGATE__API_KEY_PEPPER_FILE": str(secret)}

    assert load(environment=environment).config.api_key_pepper == KEY


def test_a_secret_given_twice_is_refused(tmp_path: Path):
    secret = tmp_path / "pepper"
    secret.write_text(KEY)

    (fault,) = faults(
        tmp_path, PAYGATE__API_KEY_PEPPER=KEY, PAYGATE__API_KEY_PEPPER_FILE=str(secret)
    )

    assert fault.startswith("PAYGATE__API_KEY_PEPPER_FILE: PAYGATE__API_KEY_PEPPER is set as well")


@pytest.mark.parametrize("name", ["PAYGATE__VAULT__FINGERPRINT_KEY", "PAYGATE__API_KEY_PEPPER"])
def test_one_key_for_two_purposes_is_refused(name: str):
    with pytest.raises(ConfigInvalid, match="is used for something else as well"):
        load(environment=LIVE | {name: VAULT_KEY})


@pytest.mark.parametrize("missing", LIVE)
def test_a_live_server_names_each_key_that_it_must_be_given(missing: str):
    environment = {name: value for name, value in LIVE.items() if name != missing}

    with pytest.raises(ConfigInvalid) as refused:
        load(environment=environment)

    (fault,) = refused.value.lines
    key = missing.removeprefix("PAYGATE__").replace("__", ".").lower()
    assert fault.startswith(f"{key}: a live server needs")


def test_commands_that_only_look_at_a_folder_need_no_keys():
    config = load(environment={"PAYGATE__DATA_DIR": "elsewhere"}, serves=False).config

    assert config.data_dir == "elsewhere"
    assert config.vault.keys == ()


def test_a_live_server_refuses_the_sandbox_and_its_secret():
    (sandbox, _) = sandbox_providers("http://127.0.0.1:8090")
    disguised = (
        f'[{{"id": "p", "kind": "real", "url": "https://example.com",'
        f' "webhook_secret": "{sandbox.webhook_secret}"}},'
        ' {"id": "s", "kind": "sandbox", "url": "http://127.0.0.1:1"}]'
    )

    with pytest.raises(ConfigInvalid) as refused:
        load(environment=LIVE | {"PAYGATE__PROVIDERS": disguised})

    secret, kind = refused.value.lines
    assert secret.startswith("providers[0]: a live server refuses the sandbox's webhook secret")
    assert kind.startswith("providers[1].kind: a live server refuses the sandbox")
    assert sandbox.webhook_secret not in str(refused.value)


def stripe(**changes: object) -> str:
    settings: dict[str, object] = {
        "id": "s",
        "kind": "stripe",
        "secret": "sk_live_x",
        "webhook_secret": "whsec_x",
    }
    return json.dumps([settings | changes])


def test_a_live_server_refuses_the_secret_of_the_sandbox_s_stripe():
    text = stripe(webhook_secret=f"whsec_x {STRIPE_WEBHOOK_SECRET}")

    with pytest.raises(ConfigInvalid, match="refuses the sandbox's webhook secret"):
        load(environment=LIVE | {"PAYGATE__PROVIDERS": text})


def test_stripe_needs_no_address_and_takes_several_webhook_secrets():
    text = stripe(webhook_secret="whsec_new whsec_old", account="acct_1")

    (provider,) = load(environment=LIVE | {"PAYGATE__PROVIDERS": text}).config.providers

    assert (provider.url, provider.account) == ("", "acct_1")
    assert provider.webhook_secret.split() == ["whsec_new", "whsec_old"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"secret": ""}, "secret"),
        ({"webhook_secret": ""}, "webhook_secret"),
        ({"webhook_secret": "  "}, "webhook_secret"),
        ({"url": "http://api.stripe.com"}, "url"),
        ({"url": "api.stripe.com"}, "url"),
        ({"secret": "sk_test_x"}, "secret"),
        ({"secret": "rk_test_x"}, "secret"),
    ],
)
def test_a_live_server_refuses_a_stripe_that_would_check_or_charge_nothing(
    changes: dict[str, str], key: str
):
    with pytest.raises(ConfigInvalid) as refused:
        load(environment=LIVE | {"PAYGATE__PROVIDERS": stripe(**changes)})

    (fault,) = refused.value.lines
    assert fault.startswith(f"providers[0].{key}: ")


def adyen(**changes: object) -> str:
    settings: dict[str, object] = {
        "id": "a",
        "kind": "adyen",
        "url": "https://shop-checkout-live.adyenpayments.com/checkout/v72",
        "secret": "AQE_x",
        "account": "ShopECOM",
        "webhook_secret": "0A" * 32,
        "return_url": "https://pay.example/api/providers/a/return",
    }
    return json.dumps([settings | changes])


def test_a_live_adyen_takes_several_hmac_keys():
    text = adyen(webhook_secret=f"{'0A' * 32} {'0b' * 32}")

    (provider,) = load(environment=LIVE | {"PAYGATE__PROVIDERS": text}).config.providers

    assert len(provider.webhook_secret.split()) == 2


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"secret": ""}, "secret"),
        ({"account": ""}, "account"),
        ({"webhook_secret": ""}, "webhook_secret"),
        ({"webhook_secret": "  "}, "webhook_secret"),
        ({"webhook_secret": f"{'0A' * 32} 0B"}, "webhook_secret"),
        ({"return_url": ""}, "return_url"),
        ({"return_url": "https://shop.example/paid"}, "return_url"),
        ({"return_url": "https://pay.example/api/providers/other/return"}, "return_url"),
        ({"url": ""}, "url"),
        ({"url": "https://checkout-test.adyen.com/v72"}, "url"),
        ({"url": "https://shop-checkout-live.adyenpayments.com/checkout"}, "url"),
    ],
)
def test_a_live_server_refuses_an_adyen_that_would_check_or_charge_nothing(
    changes: dict[str, str], key: str
):
    with pytest.raises(ConfigInvalid) as refused:
        load(environment=LIVE | {"PAYGATE__PROVIDERS": adyen(**changes)})

    (fault,) = refused.value.lines
    assert fault.startswith(f"providers[0].{key}: ")


@pytest.mark.parametrize(
    "changes", [{"webhook_secret": f"{'0A' * 32} {ADYEN_HMAC_KEY}"}, {"secret": ADYEN_API_KEY}]
)
def test_a_live_server_refuses_the_secrets_of_the_sandbox_s_adyen(changes: dict[str, str]):
    with pytest.raises(ConfigInvalid, match="refuses the sandbox's secrets"):
        load(environment=LIVE | {"PAYGATE__PROVIDERS": adyen(**changes)})


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        ("stripe", {"api_version": "2024"}, "api_version"),
        ("sandbox", {"void_window": "60"}, "void_window"),
        ("sandbox", {"void_window_s": "60"}, None),
        ("acme", {"anything": "x"}, None),
    ],
)
def test_an_option_that_a_kind_of_ours_does_not_have_is_named(
    kind: str, options: dict[str, str], named: str | None
):
    environment = {
        "PAYGATE__SANDBOX__ENABLED": "true",
        "PAYGATE__PROVIDERS": stripe(kind=kind, url="http://127.0.0.1:1", options=options),
    }

    try:
        load(environment=environment)
        faults: tuple[str, ...] = ()
    except ConfigInvalid as refused:
        faults = refused.lines

    places = [fault.partition(": ")[0] for fault in faults]
    assert places == ([] if named is None else [f"providers[0].options.{named}"])


@pytest.mark.parametrize("options", [{"webhook_login": "user"}, {"webhook_logn": "user:password"}])
def test_an_option_of_adyen_s_that_is_none_is_named(options: dict[str, str]):
    with pytest.raises(ConfigInvalid) as refused:
        load(environment=LIVE | {"PAYGATE__PROVIDERS": adyen(options=options)})

    (fault,) = refused.value.lines
    (name,) = options
    assert fault.startswith(f"providers[0].options.{name}: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_sandbox_serves_loopback_hosts(host: str):
    assert load(environment=SANDBOX | {"PAYGATE__SERVER__HOST": host}).config.server.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com", ""])
def test_the_sandbox_refuses_every_other_host(tmp_path: Path, host: str):
    (fault,) = faults(tmp_path, PAYGATE__SERVER__HOST=host)

    assert fault.startswith("server.host: the sandbox serves loopback hosts only")


def test_a_sandbox_elsewhere_is_refused(tmp_path: Path):
    (fault,) = faults(tmp_path, PAYGATE__SANDBOX__URL="http://sandbox.example.com")

    assert fault.startswith("sandbox.url: must be an http URL with a loopback host")


def test_a_flag_of_the_sandbox_without_the_sandbox_is_named():
    idle = Setting(path=("sandbox", "port"), value=1, origin="--sandbox-port")

    with pytest.raises(ConfigInvalid, match="--sandbox-port: does nothing without --sandbox"):
        load(environment=LIVE, flags=[idle])


@pytest.mark.parametrize("given", ["TLS_CERT", "TLS_KEY"])
def test_a_certificate_without_its_key_is_refused(tmp_path: Path, given: str):
    file = toml(tmp_path, "")
    other = "tls_key" if given == "TLS_CERT" else "tls_cert"

    (fault,) = faults(tmp_path, **{f"PAYGATE__SERVER__{given}": str(file)})

    assert fault.startswith(f"server.{other}: HTTPS needs both")


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("PAYGATE__SERVER__PORT", "65536", "server.port"),
        ("PAYGATE__SERVER__PORT", "-1", "server.port"),
        ("PAYGATE__SERVER__DRAIN_S", "nan", "server.drain_s"),
        ("PAYGATE__FRAUD__BLOCK_SCORE_MILLI", "1001", "fraud.block_score_milli"),
        ("PAYGATE__LIMITS__PROVIDER_CONCURRENCY", "0", "limits.provider_concurrency"),
        ("PAYGATE__FRAUD__USD_RATES", '{"EUR": "0"}', "fraud.usd_rates.EUR"),
        ("PAYGATE__FRAUD__USD_RATES", '{"EUR": "NaN"}', "fraud.usd_rates.EUR"),
        ("PAYGATE__FRAUD__USD_RATES", '{"euro": "1"}', "fraud.usd_rates.euro"),
        ("PAYGATE__LIMITS__AMOUNTS", '{"USD": {"min_minor": 0}}', "limits.amounts.USD"),
        ("PAYGATE__VAULT__KEYS", KEY, "vault.keys[0]"),
        ("PAYGATE__VAULT__KEYS", f"a:{KEY},a:{KEY}", "vault.keys[1]"),
        ("PAYGATE__VAULT__FINGERPRINT_KEY", KEY[:-4], "vault.fingerprint_key"),
        ("PAYGATE__API_KEY_PEPPER", "p@ss", "api_key_pepper"),
        ("PAYGATE__SERVER__TLS_CERT", "/nowhere", "server.tls_"),
        ("PAYGATE__PROVIDERS", '[{"id":"A","kind":"k","url":"http://h"}]', "providers[0].id"),
        ("PAYGATE__PROVIDERS", '[{"id":"a","kind":"k","url":"file:///h"}]', "providers[0].url"),
    ],
)
def test_a_value_out_of_bounds_names_its_key_and_never_itself_if_secret(
    tmp_path: Path, variable: str, value: str, key: str
):
    found = faults(tmp_path, **{variable: value})

    assert all(fault.startswith(key) for fault in found)
    assert KEY[:-4] not in "".join(found)


def test_every_number_of_the_configuration_has_a_range():
    numbers = {
        ".".join(leaf.path)
        for leaf in leaves()
        if leaf.kind in {int, float, int | None} and leaf.path != ("sandbox", "seed")
    }
    out_of_bounds = {
        "PAYGATE__" + key.upper().replace(".", "__"): str(-(10**16)) for key in numbers
    }

    with pytest.raises(ConfigInvalid) as refused:
        load(environment=SANDBOX | out_of_bounds)

    assert {fault.partition(":")[0] for fault in refused.value.lines} == numbers


def test_the_description_shows_every_key_with_its_origin():
    loaded = load(environment=SANDBOX, flags=[PORT_FLAG])

    lines = list(describe(loaded.config, loaded.origins))

    assert len(lines) == len(list(leaves()))
    assert "server.port = 4  # --port" in lines
    assert 'server.host = "127.0.0.1"  # default' in lines
    assert "sandbox.enabled = true  # PAYGATE__SANDBOX__ENABLED" in lines
    assert "fraud.velocity = false  # sandbox" in lines


def test_the_description_shows_no_secret():
    provider = (
        '[{"id": "p", "kind": "k", "url": "https://example.com",'
        ' "secret": "canary-1", "webhook_secret": "canary-2"}]'
    )
    blocked = {"PAYGATE__FRAUD__BLOCK_CARDS": "canary-3", "PAYGATE__PROVIDERS": provider}
    loaded = load(environment=LIVE | blocked)

    text = "\n".join(describe(loaded.config, loaded.origins))

    assert "canary" not in text
    assert all(key not in text for key in (KEY, VAULT_KEY, FINGERPRINT_KEY))
    assert text.count("(set)") == 6


def test_every_key_that_sounds_secret_is_one():
    names = [".".join(leaf.path) for leaf in leaves()]
    names += [f"providers.{field.name}" for field in fields(ProviderConfig)]
    # What an adapter of somebody else's keeps in its options may be secret.
    words = ("key", "secret", "pepper", "cards", "password", "options")
    # The file of a key is no secret, and neither is how many requests a key may make.
    harmless = {"server.tls_key", "server.requests_per_key_per_s"}

    sounding = {name for name in names if any(word in name for word in words)} - harmless

    assert sounding == SECRETS
