"""Every kind that comes with paygate keeps every promise, and the page that says so is made so."""

import asyncio
import sys
from pathlib import Path

import pytest

from paygate_actors.providers.registry import kinds
from paygate_http.kit.catalogue import cases

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
# Four kinds, some six seconds each: the cases wait for deadlines of two seconds.
RUN_S = 110.0


@pytest.mark.slow
async def test_every_kind_passes_and_the_page_says_what_was_seen():
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "paygate_http", "provider", "matrix", stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(RUN_S):
            made, _ = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        raise

    # Where it fails: `paygate provider matrix > docs/conformance.md` shows the difference.
    assert made.decode() == PAGE.read_text()
    assert child.returncode == 0


def test_the_page_has_every_kind_and_every_case():
    page = PAGE.read_text()

    assert all(f" {kind.name} |" in page for kind in kinds() if kind.package == "paygate")
    assert [case.name for case in cases() if f"`{case.name}`" not in page] == []
    assert "**NO**" not in page


def test_there_are_about_sixty_cases_or_more_and_each_is_a_sentence_of_its_own():
    every = cases()

    assert len(every) >= 60
    assert len({case.name for case in every}) == len(every)
    assert len({case.sentence for case in every}) == len(every)
    assert all(case.sentence[0].isupper() and case.sentence.endswith(".") for case in every)
