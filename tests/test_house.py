"""The house rules that no linter knows: the map tells the truth, and rooms stay small."""

import ast
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import pytest

from streams.control.metrics import ControlMetrics
from streams.ops.crew_pages import crew_families
from streams.ops.lag_metrics import LagMetrics
from streams.runtime.metrics import Metrics

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "streams"
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {
    path: path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / ".docs").glob("*.md")))
}
FILES = sorted(SOURCE.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef

LONGEST_MODULE = 500
LONGEST_CLI_MODULE = 300
MEDIAN_MODULE = 250
MEDIAN_FUNCTION = 10
LONG_FUNCTION = 30
IGNORES = 12
CLI_PERCENT = 15
METRIC = re.compile(r"\b(?:streams|kafka_consumergroup|kafka_partition)_[a-z0-9_]+\b")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def code_lines(path: Path) -> int:
    """Return the lines that hold code: neither blank nor only a comment or docstring."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    skipped |= {tokenize.ENCODING, tokenize.ENDMARKER}
    lines: set[int] = set()
    before = tokenize.NEWLINE
    for token in tokens:
        docstring = token.type == tokenize.STRING and before in skipped
        if token.type not in skipped and not docstring:
            lines.update(range(token.start[0], token.end[0] + 1))
        before = token.type
    return len(lines)


def functions() -> Iterator[tuple[str, Function]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{name_of(path)}:{node.name}", node


def length_of(function: Function) -> int:
    """Return the lines of a function, its docstring left out."""
    assert function.end_lineno is not None
    docstring = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - len((docstring or "").splitlines())


def classes() -> Mapping[str, list[str]]:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name_of(path))
    return homes


def test_no_module_is_too_long() -> None:
    longest = {name_of(path): lines_of(path) for path in FILES}
    cli = {name: lines for name, lines in longest.items() if name.startswith("streams/cli/")}
    assert not {name: lines for name, lines in longest.items() if lines > LONGEST_MODULE}
    assert not {name: lines for name, lines in cli.items() if lines > LONGEST_CLI_MODULE}
    assert median(longest.values()) <= MEDIAN_MODULE


def test_functions_are_short() -> None:
    lengths = {name: length_of(function) for name, function in functions()}
    long = [name for name, lines in lengths.items() if lines > LONG_FUNCTION]
    assert median(lengths.values()) <= MEDIAN_FUNCTION
    assert len(long) * 10 <= len(lengths), long


def test_no_class_name_has_two_homes() -> None:
    assert not {name: homes for name, homes in classes().items() if len(homes) > 1}


def test_the_command_line_only_parses_calls_and_prints() -> None:
    sizes = {path: code_lines(path) for path in FILES}
    cli = sum(size for path, size in sizes.items() if path.is_relative_to(SOURCE / "cli"))
    assert cli * 100 <= CLI_PERCENT * sum(sizes.values()), f"{cli} of {sum(sizes.values())}"


def test_types_are_ignored_seldom() -> None:
    ignores = Counter[str]()
    for path in FILES:
        ignores[name_of(path)] += path.read_text(encoding="utf-8").count("# type: ignore")
    assert ignores.total() < IGNORES, +ignores


def test_the_readme_maps_every_room() -> None:
    tree = re.search(r"^streams/\n((?:  .*\n)+)", README, re.MULTILINE)
    assert tree is not None
    mapped = {line.split("/")[0].strip() for line in tree[1].splitlines() if "/" in line[:14]}
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert mapped == rooms


def anchors(text: str) -> set[str]:
    """Return what links may point to within a page: its headings, as hosts spell them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_every_link_of_the_texts_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(TEXTS[target]), link


def test_the_reading_order_and_every_path_of_the_texts_exist() -> None:
    paths = re.findall(
        r"`((?:streams|tests|config|core|runtime)/[A-Za-z0-9_./-]+)`", "\n".join(TEXTS.values())
    )
    assert paths
    for path in paths:
        assert (ROOT / path).exists() or (SOURCE / path).exists(), path


@pytest.mark.parametrize("room", sorted(p.parent for p in SOURCE.rglob("__init__.py")), ids=name_of)
def test_every_room_says_what_it_is_for(room: Path) -> None:
    module = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(module)


def test_every_metric_that_is_named_exists() -> None:
    metrics = Metrics()
    ControlMetrics(metrics.registry)
    families = [*metrics.registry.collect(), *LagMetrics("kafka").collect(), *crew_families()]
    defined = {family.name for family in families}
    assert len(defined) > 20
    named = set(METRIC.findall("\n".join(TEXTS.values())))
    for path in (ROOT / "config").rglob("*"):
        if path.is_file():
            named |= set(METRIC.findall(path.read_text(encoding="utf-8")))
    assert named
    endings = ("", "_total", "_bucket", "_count", "_sum")
    assert not {name for name in named if not defined & {name.removesuffix(e) for e in endings}}
