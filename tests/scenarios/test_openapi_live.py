"""The document and the server say the same: schemathesis asks everything, in ways nobody would."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import aiohttp
import pytest
from live_gateway import MERCHANT, OPERATOR, Server, serving
from openapi_spec_validator import OpenAPIV31SpecValidator

pytestmark = pytest.mark.slow

# Time for some thousands of requests; the whole of these tests stays below a minute.
ASK_S = 20
# Not the checks that know better than the contract what a good request is.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("openapi"), "--sandbox-latency-ms", "0") as running:
        yield running


async def test_the_document_is_valid_openapi_3_1(server: Server):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/openapi.json") as answer,
    ):
        document = json.loads(await answer.read())

    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


@pytest.mark.parametrize("key", [MERCHANT, OPERATOR])
def test_no_answer_is_a_500_or_undocumented(server: Server, tmp_path: Path, key: str):
    seed = random.SystemRandom().randrange(1 << 32)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS)]
    command += ["--phases", "coverage,fuzzing,stateful", "--continue-on-failure", "--no-color"]
    command += ["--max-time", str(ASK_S), "--seed", str(seed), "--request-timeout", "15"]

    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=ASK_S * 4, check=False
    )

    assert ran.returncode == 0, f"seed {seed}\n{ran.stdout}\n{ran.stderr}"
    every = re.search(r"Selected: (\d+)/\1\n\s*Tested: \1\n", ran.stdout)
    assert every is not None, ran.stdout
    assert int(every[1]) >= 20
    assert "handler_failed" not in server.log.read_text()
