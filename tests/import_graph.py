"""The imports among this repository's packages, read from the source: ``python -m tests.import_graph``.

A node is a sub-package or module right under one of the five packages, such as ``m3e_runtime.backends``. What
is printed: who imports whom, and the cycles.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGES", "Import", "between", "cycles", "imports"]

_ROOT = Path(__file__).resolve().parents[1]
_PLACES = {
    "m3e_runtime": "runtime",
    "m3e_corpora": "runtime",
    "m3e_serve": "runtime",
    "m3e_export": "export",
    "m3e_eval": "export",
}
PACKAGES = {name: _ROOT / place / name for name, place in _PLACES.items() if (_ROOT / place / name).is_dir()}
"""The folders of the packages that exist, lowest first."""

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Import:
    """``module`` imports ``target``; ``lazy``: only inside a function; ``typing``: only for type checkers."""

    module: str
    target: str
    lazy: bool
    typing: bool


def imports(package: str) -> Iterator[Import]:
    """Every import statement of ``package``, one for each name of ``from x import a, b``."""
    folder = PACKAGES[package]
    for file in sorted(folder.rglob("*.py")):
        parts = (package, *file.relative_to(folder).with_suffix("").parts)
        module = ".".join(parts).removesuffix(".__init__")
        yield from _statements(ast.parse(file.read_text(encoding="utf-8")), module, lazy=False, typing=False)


def between(depth: int) -> dict[str, set[str]]:
    """Who imports whom, by the first ``depth`` parts of the names; no node imports itself."""
    graph: dict[str, set[str]] = {}
    for package in PACKAGES:
        for each in imports(package):
            if each.typing or each.target.partition(".")[0] not in PACKAGES:
                continue
            source, target = _cut(each.module, depth), _cut(_module_of(each.target), depth)
            if source != target:
                graph.setdefault(source, set()).add(target)
    return graph


def cycles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that import each other, directly or around a corner."""
    reached = {node: _reachable(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reached[node] if node in reached.get(other, ()))) for node in graph
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def _statements(tree: ast.AST, module: str, *, lazy: bool, typing: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(module, name.name, lazy, typing) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(module, f"{node.module}.{name.name}", lazy, typing) for name in node.names)
        else:
            inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            yield from _statements(node, module, lazy=lazy or inside, typing=typing or checking)


def _module_of(target: str) -> str:
    """The module that ``from x import y`` reads: ``x.y`` where that is one, else ``x``."""
    package, *rest = target.split(".")
    path = PACKAGES[package].joinpath(*rest)
    if path.is_dir() or any(path.with_suffix(ending).is_file() for ending in (".py", ".pyi")):
        return target
    return target.rpartition(".")[0]


def _cut(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for node in graph.get(waiting.pop(), ()):
            if node not in found:
                found.add(node)
                waiting.append(node)
    return found


def _print(title: str, graph: Graph) -> None:
    print(f"{title}\n")
    for node in sorted(graph):
        print(f"  {node} → {', '.join(sorted(graph[node]))}")
    print()


def main() -> int:
    """Print the graph; returns 1 where there is a cycle."""
    _print("packages", between(1))
    inner = between(2)
    for package in PACKAGES:
        own = {node: {to for to in inner[node] if _cut(to, 1) == package} for node in inner}
        _print(f"inside {package}", {node: to for node, to in own.items() if to and _cut(node, 1) == package})
    found = cycles(inner)
    print("cycles\n")
    print("\n".join(f"  {' ↔ '.join(group)}" for group in found) or "  none")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
