"""The shape of the house: which way imports point, what the wheel holds, what importing costs."""

import ast
import configparser
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "connector_bench"
HARNESS = "lmms_eval"
NUMERICS = [
    *("types", "protocol"),
    *(
        path.relative_to(PACKAGE).with_suffix("").as_posix()
        for folder in ("interventions", "preservation", "processes", "reconstruction", "stages", "stats")
        for path in (PACKAGE / folder).rglob("*.py")
    ),
]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
    return found


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_one_room_imports_the_harness() -> None:
    importing = {
        path.parent.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*.py")
        if HARNESS in top(imports_of(path))
    }
    assert importing == {"connector_bench/plugin"}


@pytest.mark.parametrize("name", NUMERICS)
def test_numerics_know_neither_models_nor_harness(name: str) -> None:
    imported = imports_of(PACKAGE / f"{name}.py")
    assert not top(imported) & {HARNESS, "transformers", "datasets", "timm"}
    assert not {
        other for other in imported if other.startswith(("connector_bench.connectors", "connector_bench.zoo"))
    }


def maps_of(path: Path) -> set[str]:
    """What reads the loss maps that a run has left in files."""
    modules = {"types", "reconstruction.artefacts", "reconstruction.lossmaps", "reconstruction.patch_boxes"}
    return {f"connector_bench.{name}" for name in modules} if path.name == "loss_maps.py" else set()


def test_the_leaderboard_needs_files_alone() -> None:
    for path in (PACKAGE / "leaderboard").glob("*.py"):
        imported = imports_of(path)
        assert not top(imported) & {HARNESS, "torch", "transformers", "datasets"}, path
        ours = {name for name in imported if name.startswith("connector_bench.")} - maps_of(path)
        rooms = (
            *("foreign_files", "headlines", "leaderboard", "metrics", "number_style", "protocol", "results"),
            "stats",
        )
        allowed = tuple(f"connector_bench.{room}" for room in rooms)
        assert all(name.startswith(allowed) for name in ours), path


def test_the_analysis_needs_files_alone() -> None:
    rooms = (
        "association",
        "atomic_files",
        "foreign_files",
        "headlines",
        "leaderboard",
        "metrics",
        "number_style",
        "results",
        "stats",
        "_version",
    )
    for path in (PACKAGE / "association").glob("*.py"):
        imported = imports_of(path)
        assert not top(imported) & {HARNESS, "torch", "transformers", "datasets"}, path
        ours = {name for name in imported if name.startswith("connector_bench.")} - maps_of(path)
        assert {name.split(".")[1] for name in ours} <= set(rooms), path


def test_a_report_needs_files_alone() -> None:
    for path in (PACKAGE / "report").glob("*.py"):
        imported = imports_of(path)
        assert not top(imported) & {HARNESS, "torch", "transformers", "datasets"}, path
        ours = {name.split(".")[1] for name in imported if name.startswith("connector_bench.")}
        assert not ours & {"plugin", "connectors", "capture", "run", "zoo"}, path


def test_a_comparison_needs_files_alone() -> None:
    for path in (PACKAGE / "comparison").glob("*.py"):
        assert not top(imports_of(path)) & {HARNESS, "torch", "transformers", "datasets"}, path


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_data_passes_between_rooms_one_way() -> None:
    """No room imports one that, by whatever way, imports it."""
    above: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        above.setdefault(own, set()).update(room_of(n) for n in names if n.startswith("connector_bench."))
    TopologicalSorter({room: others - {room} for room, others in above.items()}).prepare()


def test_a_space_is_searched_and_ranked_in_one_place() -> None:
    """`Side`: a gallery of controls searches its own vectors, shuffled pairs theirs, a reference its own, `knn` any."""
    users: dict[str, set[str]] = {"neighbours": set(), "read_rankings": set()}
    for path in (PACKAGE / "preservation").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in users:
                users[node.func.id].add(path.name)
    assert users == {
        "neighbours": {"side.py", "searched_gallery.py", "random_orders.py", "knn.py", "reference.py"},
        "read_rankings": {"side.py"},
    }


def test_setup_cfg_lists_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    folders = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("__init__.py")}
    elsewhere = {"connector_bench.tasks", "connector_bench.board.results", "connector_bench.examples"}
    expected = {folder.as_posix().replace("/", ".") for folder in folders} | elsewhere
    assert set(config["options"]["packages"].split()) == expected


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import connector_bench, sys; print(sorted({'torch', 'transformers', 'faiss', 'pandas'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_name_is_one_idea() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if "families" not in path.parts]
    shared = {"__init__", "cli", "figures"}
    named = Counter(path.stem for path in files if path.stem not in shared)
    assert [name for name, count in named.items() if count > 1] == []
    classes = Counter(
        node.name
        for path in files
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in classes.items() if count > 1] == []
