"""What a class of somebody's own rests on, as one hash: its source, and whatever of their own code that names."""

from __future__ import annotations

import ast
import hashlib
import sys
import tokenize
from collections.abc import Callable, Iterator
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType

from connector_bench.imported import imported_factory

WHOLE = "*"
"""In a name's place: everything in the module."""
OURS = "connector_bench"

Near = Callable[[str], bool]
Wanted = tuple[str, str]
"""A module, and a name at its top."""


def source_sha256(path: str) -> str | None:
    """SHA-256 of the source behind an import path `module:name`; None where there is none to be read.

    Of its module, and of others in the same package or folder, it covers the statements that the name leads to, one
    from the other. Comments, blank lines and other classes of the file change nothing.

    Raises:
        ValueError: the path leads nowhere.
    """
    imported_factory(path)
    module, _, name = path.partition(":")
    try:
        found = dict(_followed(module, name))
    except (OSError, SyntaxError, ValueError):
        return None
    text = "\n".join(f"{where}\n{source}" for where, source in sorted(found.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _followed(module: str, name: str) -> Iterator[tuple[Wanted, str]]:
    """Each name that the first one leads to, with the source of what gives it its value."""
    near = _near(module)
    tops: dict[str, list[ast.stmt]] = {}
    asked: list[Wanted] = [(module, name)]
    met: set[Wanted] = set()
    while asked:
        wanted = asked.pop()
        if wanted in met:
            continue
        met.add(wanted)
        where, name = wanted
        if where not in tops:
            tops[where] = _statements(sys.modules[where])
        sources = []
        for statement in tops[where]:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for target, theirs, ours in _imports(statement, sys.modules[where]):
                    if name in (WHOLE, ours) or ours == WHOLE:
                        sources.append(f"{target}:{theirs}")
                        asked += [one for one in _leads(target, theirs) if near(one[0])]
            elif name == WHOLE or name in _bound(statement):
                sources.append(ast.unparse(statement))
                used = (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))
                asked += [(where, other) for other in used]
        if sources:
            yield wanted, "\n".join(sources)


def _near(first: str) -> Near:
    """Whether a module is of the same package as the first one, or lies in its folder."""
    package = first.split(".")[0]
    folder = Path(_file(sys.modules[first])).parent

    def near(name: str) -> bool:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None or not file.endswith(".py"):
            return False
        return (package != OURS and name.split(".")[0] == package) or Path(file).parent == folder

    return near


def _file(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    if file is None:
        raise OSError(f"{module.__name__} lies in no file")
    return str(file)


def _statements(module: ModuleType) -> list[ast.stmt]:
    with tokenize.open(_file(module)) as file:
        return ast.parse(file.read()).body


def _imports(statement: ast.Import | ast.ImportFrom, module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """From which module, what of it, and under which name here."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.name, WHOLE, alias.asname or alias.name.split(".")[0]
        return
    package = getattr(module, "__package__", None) or ""
    target = resolve_name("." * statement.level + (statement.module or ""), package)
    for alias in statement.names:
        yield target, alias.name, alias.asname or alias.name


def _leads(target: str, name: str) -> list[Wanted]:
    """A name of a module, which may be a module itself."""
    inner = f"{target}.{name}"
    return [(target, name), *([(inner, WHOLE)] if inner in sys.modules else [])]


def _bound(statement: ast.stmt) -> set[str]:
    """Names at the top of a module that a statement gives a value, or a part of it."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(getattr(node, "ctx", None), ast.Store):
            while isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            if isinstance(node, ast.Name):
                found.add(node.id)
    return found
