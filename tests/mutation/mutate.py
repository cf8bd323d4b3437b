"""Mutation testing of what money and its promises rest on: `make mutate` runs this.

Theory of operation. Two rounds over the modules of `GROUPS`, with the same operators:

1. mutmut makes every mutant of every function, keeps all of a module's in one file behind a
   switch, and forks a process for each that runs the tests which reach the function. It takes a
   module's name from its path and knows no source root but `src`, so it is given a staged tree
   whose `src` holds links to our three packages.
2. What stands outside of functions (the table of states, patterns, limits) has no call to put a
   switch at, and mutmut leaves it alone. Here each of these mutants is written into a copy of
   the sources, and a fresh interpreter runs the selected tests on it, the group's own ones first.
   Types that only annotations name are left to the type checker.

A mutant is killed when a test fails, or when the tests run out of their time.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).resolve().parents[2]
STAGE: Final = ROOT / ".mutation"
PACKAGES: Final = {f"paygate_{root}": ROOT / root for root in ("engine", "actors", "http")}

# The modules by what they answer for, each group with the tests that were written for it.
GROUPS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "money": (
        ("paygate_actors/money.py", "paygate_actors/amounts.py"),
        ("tests/actors/test_money.py",),
    ),
    "states": (
        (
            "paygate_actors/states.py",
            "paygate_actors/evolving.py",
            "paygate_actors/evolving_calls.py",
            "paygate_actors/changes.py",
            "paygate_actors/sums.py",
        ),
        (
            "tests/actors/test_states.py",
            "tests/actors/test_evolving.py",
            "tests/actors/test_concerns.py",
            "tests/actors/test_sums.py",
        ),
    ),
    "idempotency": (
        ("paygate_actors/idempotency.py",),
        ("tests/actors/test_idempotency.py", "tests/actors/test_damaged_claims.py"),
    ),
    "signatures": (
        ("paygate_actors/providers/webhook_signature.py",),
        ("tests/actors/test_webhook_signature.py",),
    ),
    "journal": (
        ("paygate_engine/journal.py", "paygate_engine/chain.py"),
        (
            "tests/engine/test_journal.py",
            "tests/engine/test_journal_answers.py",
            "tests/engine/test_chain.py",
        ),
    ),
}
KILLED_MIN: Final = 0.90

# The selected tests take some three seconds; a mutant that is still busy after this hangs.
RUN_S_MAX: Final = 120
# What pytest returns when tests failed (1), when collecting them did (2), and when a plugin or a
# `conftest` could not even be imported (3, 4): the mutant was noticed. 5, no tests, is no verdict.
NOTICED: Final = frozenset({1, 2, 3, 4})
# The marks by which mutmut keeps its verdicts: survivors, and mutants that no test reaches.
SURVIVED: Final = {0: "survived", 5: "no test", 33: "no test"}


class Mutant(NamedTuple):
    """One changed piece of one module, and what became of it."""

    module: str
    name: str
    killed: bool
    diff: str


class Place(NamedTuple):
    """A mutant outside of functions: the whole module's source with one piece changed."""

    module: str
    line: int
    source: str
    diff: str


def main() -> int:
    """Run both rounds; 0 where every group kills at least `KILLED_MIN` of its mutants."""
    parser = argparse.ArgumentParser(description="Mutation testing of money and its promises.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="tests at a time")
    jobs: int = parser.parse_args().jobs
    stage()
    within = mutants_in_functions(jobs)
    outside = mutants_outside(jobs)
    return report(within, outside)


# ------------------------------------------------------------------ the staged tree


def stage() -> None:
    """Lay out afresh what mutmut expects: `src` with our packages, the tests, the configuration."""
    shutil.rmtree(STAGE, ignore_errors=True)
    (STAGE / "src").mkdir(parents=True)
    (STAGE / "actors").mkdir()
    for package, root in PACKAGES.items():
        (STAGE / "src" / package).symlink_to(root / package)
    for name in ("tests", "pyproject.toml", "actors/README.md"):
        (STAGE / name).symlink_to(ROOT / name)


def selected() -> list[str]:
    """What mutmut selects of the tests, as its configuration says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    chosen: list[str] = project["tool"]["mutmut"]["pytest_add_cli_args_test_selection"]
    return chosen


# ------------------------------------------------------------------ within functions: mutmut


def mutants_in_functions(jobs: int) -> list[Mutant]:
    """Let mutmut do its work in the staged tree, and read its verdicts."""
    mutmut = Path(sys.executable).with_name("mutmut")
    command = [str(mutmut), "run", "--max-children", str(jobs)]
    subprocess.run(command, cwd=STAGE, check=True)
    os.chdir(STAGE)  # mutmut finds its configuration and its files from where it stands
    return [mutant for module in modules() for mutant in _verdicts(module)]


def _verdicts(module: str) -> Iterator[Mutant]:
    show = import_module("mutmut.mutation.diff_apply").get_diff_for_mutant
    path = Path("src") / module
    kept: dict[str, Any] = json.loads(Path(f"mutants/{path}.meta").read_text())
    codes: dict[str, int | None] = kept["exit_code_by_key"]
    for name, code in codes.items():
        if code is None:
            raise RuntimeError(f"mutmut did not get to {name}")
        fate = SURVIVED.get(code)
        diff = "" if fate is None else f"({fate})\n{changed_lines(show(name, path=path))}"
        yield Mutant(module, name.rpartition(".")[2], fate is None, diff)


# ------------------------------------------------------------------ outside of functions


def mutants_outside(jobs: int) -> list[Mutant]:
    """Write each mutant of a table, pattern or limit into a copy of the sources, and test it."""
    places = [place for module in modules() for place in places_of(module)]
    benches = [Bench(STAGE / f"outside-{number}") for number in range(jobs)]
    for bench in benches:
        bench.prove_itself()
    free = list(benches)

    def judge(place: Place) -> Mutant:
        bench = free.pop()
        try:
            killed = bench.kills(place)
        finally:
            free.append(bench)
        diff = "" if killed else f"(survived)\n{place.diff}"
        return Mutant(place.module, f"line {place.line}", killed, diff)

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(judge, places))


def places_of(module: str) -> Iterator[Place]:
    """Every mutant of the module that mutmut's operators make, but does not put into a function."""
    making = import_module("mutmut.mutation.file_mutation")
    nodes = import_module("libcst")
    original = source_of(module)
    of_types = set(lines_of_types(ast.parse(original)))
    tree, mutations, *_ = making.create_mutations(module, original)
    for mutation in mutations:
        if isinstance(mutation.contained_by_top_level_function, nodes.FunctionDef):
            continue
        changed: str = making.deep_replace(tree, mutation.original_node, mutation.mutated_node).code
        before, after = original.splitlines(), changed.splitlines()
        pairs = enumerate(zip(before, after, strict=False), 1)
        line = next((number for number, (old, new) in pairs if old != new), 1)
        if line not in of_types:
            diff = f"- {before[line - 1].strip()}\n+ {after[line - 1].strip()}"
            yield Place(module, line, changed, diff)


def lines_of_types(tree: ast.Module) -> Iterator[int]:
    """The lines that name a type for annotations alone: the type checker's business, not a test's.

    A type whose members are read when the module is loaded (`get_args`) is none of these.
    """
    read = {
        argument.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "get_args"
        for argument in node.args
        if isinstance(argument, ast.Name)
    }
    for statement in tree.body:
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Subscript(value=ast.Name(id="Literal" | "Callable"))
                | ast.BinOp(op=ast.BitOr())
                | ast.Call(func=ast.Name(id="TypeVar")),
            ) if name not in read:
                yield from range(statement.lineno, (statement.end_lineno or 0) + 1)
            case _:
                pass


class Bench:
    """A copy of the sources on which one mutant at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for package, root in PACKAGES.items():
            copy = folder / "src" / package
            shutil.copytree(root / package, copy, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "actors").mkdir()
        for name in ("tests", "pyproject.toml", "actors/README.md"):
            (folder / name).symlink_to(ROOT / name)

    def prove_itself(self) -> None:
        """Raise where the tests fail without a mutant, or where a ruined module goes unnoticed."""
        module = modules()[0]
        if self._run(module) != 0:
            raise RuntimeError("the selected tests fail on the sources as they are")
        ruin = Place(module, 1, "raise RuntimeError\n", "")
        if not self.kills(ruin):
            raise RuntimeError("the tests do not run on the copy of the sources")

    def kills(self, place: Place) -> bool:
        """Whether a test notices the mutant."""
        file = self._folder / "src" / place.module
        file.write_text(place.source)
        try:
            code = self._run(place.module)
        except subprocess.TimeoutExpired:
            return True
        finally:
            file.write_text(source_of(place.module))
        if code not in NOTICED | {0}:
            raise RuntimeError(f"pytest ended with {code} on line {place.line} of {place.module}")
        return code != 0

    def _run(self, module: str) -> int:
        tests = next(tests for modules, tests in GROUPS.values() if module in modules)
        rest = [each for each in selected() if each not in tests]
        options = ["-x", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests, *rest],
            cwd=self._folder,
            # No byte code is kept: a mutant of the same second and size would not be looked at.
            env={**os.environ, "PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=RUN_S_MAX,
            check=False,
        )
        return finished.returncode


# ------------------------------------------------------------------ what came of it


def report(within: list[Mutant], outside: list[Mutant]) -> int:
    """Print every survivor and the table of groups; 1 where one kills too few."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for mutant in (*within, *outside):
        if not mutant.killed:
            console.print(f"{mutant.module} {mutant.name} {mutant.diff}\n")
    table = Table("group", "in functions", "outside", "killed", "survived", "share")
    everything = [*within, *outside]
    enough = True
    for group, (of_group, _) in [*GROUPS.items(), ("all", (tuple(modules()), ()))]:
        made = [mutant for mutant in everything if mutant.module in of_group]
        killed = sum(mutant.killed for mutant in made)
        enough = enough and killed >= KILLED_MIN * len(made)
        table.add_row(
            group,
            str(sum(mutant.module in of_group for mutant in within)),
            str(sum(mutant.module in of_group for mutant in outside)),
            str(killed),
            str(len(made) - killed),
            f"{killed / len(made):.1%}",
        )
    console.print(table)
    return 0 if enough else 1


def changed_lines(diff: str) -> str:
    """The lines of a unified diff that differ, without its head."""
    return "\n".join(
        line
        for line in diff.splitlines()
        if line.startswith(("-", "+")) and not line.startswith(("---", "+++"))
    )


def modules() -> list[str]:
    """The mutated modules, by their path under a source root."""
    return [module for of_group, _ in GROUPS.values() for module in of_group]


def source_of(module: str) -> str:
    """The module's text as it stands in the repository."""
    return (PACKAGES[module.partition("/")[0]] / module).read_text()


if __name__ == "__main__":
    sys.exit(main())
