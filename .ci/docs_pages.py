"""Pages of the documentation that do not lie in docs/, and links between pages wherever their files lie."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "connector_bench/zoo/README.md": "ZOO.md",
    "leaderboard/LEADERBOARD.md": "BOARD.md",
    **{
        f"leaderboard/tables/{name}.md": f"BOARD_{name.upper()}.md"
        for name in ("neighbours", "patches", "stages", "tasks", "published")
    },
    "examples": "EXAMPLES.md",
}


def reference() -> str:
    """The public names with their docstrings, as `import connector_bench as cb` offers them."""
    from connector_bench import _LAZY

    lines = ["# Names in Python", "", "All of them are names of `import connector_bench as cb`.", ""]
    return "\n".join([*lines, *(f"::: {module}.{name}\n" for name, module in _LAZY.items())])


def examples() -> str:
    """Every worked example as it lies in the repository."""
    found = [f"## {path.name}\n\n```python\n{path.read_text('utf-8')}```\n" for path in example_files()]
    return "\n".join(["# Examples", "", "They lie in `examples/`, and the tests run them.", "", *found])


def example_files() -> list[Path]:
    """In alphabetical order."""
    return sorted((ROOT / "examples").glob("*.py"))


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are elsewhere or made here."""
    texts = {
        page: (ROOT / path).read_text("utf-8") for path, page in ELSEWHERE.items() if path.endswith(".md")
    }
    for page, text in {**texts, "EXAMPLES.md": examples(), "PYTHON.md": reference()}.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between files of the repository become links between pages; code is left as it is."""
    written = {made: path for path, made in ELSEWHERE.items()}
    source = written.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def link(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        path = normpath(f"{dirname(source)}/{target}".lstrip("/"))
        return f"]({ELSEWHERE.get(path, path.removeprefix('docs/'))}{anchor})"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)
    inside = r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)"
    return "".join(part if part.startswith("```") else re.sub(inside, link, part) for part in parts)
