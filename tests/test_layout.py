"""The shape of the repository: what no linter knows and what would hurt later."""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = ("engine", "actors", "http")
TOP_FOLDERS = (*SOURCE_ROOTS, "tests", "bench", "deploy")
LINES_MAX = 400
# A test file is a list of cases, read one at a time.
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".sql",
    ".txt",
    ".yml",
    ".yaml",
    ".cfg",
    ".html",
    ".service",
    "",
}
# What tools and deploy/make-secrets put there; git ignores it.
NOT_OURS = frozenset({"__pycache__", "node_modules", "secrets"})
# Written in halves, so that this file does not find itself.
MARKS = ("TO" + "DO", "FIX" + "ME", "HA" + "CK")
FOREIGN = (
    "pypi" + r"\.org",
    "pythonhosted" + r"\.org",
    "npm" + r"js\.",
    "deb" + r"\.debian\.org",
    r"(?<![\w/.])/wo" + r"rk/",
    r"(?<![\w/.])/ro" + r"ot\b",
    r"/tmp/no" + "tes",
)
CLOCKS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "uuid": {"uuid1", "uuid3", "uuid4", "uuid5", "uuid7"},
    "os": {"urandom"},
}
# A generator is handed in; making one from a seed, or naming its type, is what callers do.
RANDOM_TYPES = {"Random", "SystemRandom"}


def source_files() -> Iterator[Path]:
    """Every Python file, tests and benchmarks too."""
    for folder in TOP_FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def text_files() -> Iterator[Path]:
    """Every file that people read, but the licence, which is not ours to word."""
    for folder in (*TOP_FOLDERS, "docs", ".ci", "requirements"):
        for file in sorted((ROOT / folder).rglob("*")):
            ours = NOT_OURS.isdisjoint(file.parts)
            if ours and file.is_file() and file.suffix in TEXT_SUFFIXES:
                yield file
    names = ("Makefile", "pyproject.toml", ".gitignore", ".dockerignore")
    yield from (ROOT / name for name in names)
    yield from sorted(ROOT.glob("*.md"))


def name_of(file: Path) -> str:
    """How a failure names a file."""
    return str(file.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def clock_uses(tree: ast.AST) -> Iterator[int]:
    """Lines that read a clock, or draw a random number from a generator that nobody handed in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = node.value.id, node.attr
            if name in CLOCKS.get(module, ()) or (module == "random" and name not in RANDOM_TYPES):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if (
                node.module in {"secrets", "random"} and names - RANDOM_TYPES
            ) or names & CLOCKS.get(node.module or "", set()):
                yield node.lineno
        elif isinstance(node, ast.Import) and any(each.name == "secrets" for each in node.names):
            yield node.lineno


def test_no_folder_that_is_named_like_the_standard_library_is_a_package():
    """`http/__init__.py` would replace the standard library's `http` for whoever stands there."""
    packages = [file.parent for file in source_files() if file.name == "__init__.py"]

    shadowing = [name_of(each) for each in packages if each.name in sys.stdlib_module_names]

    assert shadowing == []


@pytest.mark.parametrize("folder", SOURCE_ROOTS)
def test_a_source_root_holds_one_package_and_no_loose_module(folder: str):
    root = ROOT / folder

    assert [name_of(file) for file in root.glob("*.py")] == []
    assert [file.parent.name for file in root.glob("*/__init__.py")] == [f"paygate_{folder}"]


@pytest.mark.parametrize("folder", ["tests", "bench"])
def test_tests_and_benchmarks_are_no_packages(folder: str):
    assert [name_of(file) for file in (ROOT / folder).rglob("__init__.py")] == []


def test_test_files_have_unique_names():
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]

    counted = Counter(file.name for file in files if file.name != "conftest.py")

    assert [name for name, count in counted.items() if count > 1] == []


def test_no_module_is_named_like_the_standard_library_or_like_nothing():
    vague = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    # A module inside a package shadows nothing; but `signal` or `queue` reads as another one.
    taken = (sys.stdlib_module_names - {"__main__", "__init__"}) | vague

    found = [
        name_of(file)
        for folder in SOURCE_ROOTS
        for file in (ROOT / folder).rglob("*.py")
        if file.stem in taken and not file.stem.startswith("__")
    ]

    assert found == []


def test_modules_fit_a_reading():
    long = {
        name_of(file): lines
        for file in source_files()
        if (lines := len(file.read_text().splitlines()))
        > (TEST_LINES_MAX if "tests" in file.parts else LINES_MAX)
    }

    assert long == {}


def test_functions_fit_a_screen():
    long = {
        f"{name_of(file)}:{node.name}": lines
        for file in source_files()
        for node in functions(ast.parse(file.read_text()))
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    }

    assert long == {}


def test_every_module_says_what_it_is():
    silent = [
        name_of(file)
        for file in source_files()
        if file.relative_to(ROOT).parts[0] != "tests"  # there the names of the tests say it
        if file.read_text().strip() and not ast.get_docstring(ast.parse(file.read_text()))
    ]

    assert silent == []


@pytest.mark.parametrize("folder", TOP_FOLDERS)
def test_every_top_folder_explains_itself(folder: str):
    assert (ROOT / folder / "README.md").is_file()


def test_no_work_is_left_as_a_mark_in_the_text():
    marks = re.compile(rf"\b({'|'.join(MARKS)})\b")

    assert found_in(text_files(), marks) == []


def test_no_text_names_a_machine_or_a_registry():
    foreign = re.compile("|".join(FOREIGN))

    assert found_in(text_files(), foreign) == []


def test_time_and_chance_come_from_the_system_alone():
    """Code that reads its own clock or rolls its own dice cannot be simulated."""
    exempt = {ROOT / "engine/paygate_engine/clock.py"}

    found = [
        f"{name_of(file)}:{line}"
        for folder in ("engine", "actors")
        for file in sorted((ROOT / folder).rglob("*.py"))
        if file not in exempt
        for line in clock_uses(ast.parse(file.read_text()))
    ]

    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "time.monotonic()",
        "random.random()",
        "datetime.now(UTC)",
        "from time import time",
        "from random import choice",
        "import secrets",
        "uuid.uuid4()",
        "os.urandom(8)",
    ],
)
def test_the_clock_rule_sees_each_way_to_break_it(line: str):
    assert list(clock_uses(ast.parse(line))) == [1]


@pytest.mark.parametrize(
    "line",
    [
        "rng: random.Random",
        "random.Random(7)",
        "clock.now_us()",
        "rng.random()",
        "os.replace(a, b)",
    ],
)
def test_the_clock_rule_lets_pass_what_is_handed_in(line: str):
    assert list(clock_uses(ast.parse(line))) == []


def test_links_between_documents_lead_somewhere():
    link = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
    broken = [
        f"{name_of(file)}: {target}"
        for file in text_files()
        if file.suffix == ".md"
        for target in link.findall(file.read_text())
        if "://" not in target and not target.startswith("mailto:")
        if not (file.parent / target).exists()
    ]

    assert broken == []


def test_versions_are_pinned_without_hosts():
    pins = (ROOT / "requirements/constraints.txt").read_text().splitlines()

    odd = [line for line in pins if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]

    assert odd == []


def test_every_named_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(each for group in project["dependency-groups"].values() for each in group),
    ]
    pins = (ROOT / "requirements/constraints.txt").read_text()
    pinned = {normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", pins, re.MULTILINE)}

    names = {normal(re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0]) for each in wanted}

    assert names - pinned == set()


def normal(name: str) -> str:
    """A distribution's name as comparisons need it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def found_in(files: Iterator[Path], pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern occurs, as `file:line`."""
    return [
        f"{name_of(file)}:{number}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
