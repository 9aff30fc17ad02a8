"""Damages one file of a folder as a crash, a disk, a careless hand or an enemy would; the same for every seed."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

DEEP = "\0nested"
"""Stands for 200,000 lists within each other, which no writer can write."""
RAW = {
    json.dumps(DEEP): "[" * 200_000 + "]" * 200_000,
    json.dumps("\0huge"): "1e400",
    json.dumps("\0digits"): "9" * 5000,
}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 2**31, 2**63, 10**400, -(10**299), 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), DEEP, "\0huge", "\0digits"),
    *(
        "",
        "x",
        "0.5",
        "nan",
        "1e999",
        "../../../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "\ud800",
        "\u202e",
        "\x1b[2J",
    ),
    *("x" * 100_000, "<script>alert(1)</script>", "[" * 3000, "hf_" + "a" * 30),
    *(
        [],
        [[]],
        [None],
        ["x"],
        [1e308] * 3,
        [0] * 2000,
        {},
        {"a": {}},
        {"": None},
        {"value": "x"},
        {"x" * 5000: 1},
    ),
)


def mutate(folder: Path, random: Random) -> str:
    """Damage one file below a folder and say how."""
    path = random.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))
    kinds: dict[str, list[Callable[[Path, Random], str]]] = {
        ".json": [json_value, json_value, json_value, json_value, json_key, bytes_changed, replaced],
        ".jsonl": [line_value, line_value, line_value, lines_moved, bytes_changed, replaced],
        ".npz": [arrays, arrays, bytes_changed, replaced],
        ".safetensors": [header, header, bytes_changed, replaced],
        ".webp": [picture, bytes_changed, replaced],
        ".png": [picture, bytes_changed, replaced],
    }
    damage = random.choice(kinds.get(path.suffix, [bytes_changed, replaced]))
    return f"{path.relative_to(folder)}: {damage.__name__}: {damage(path, random)}"


def json_value(path: Path, random: Random) -> str:
    """Any value in any place; in our records more often, since they are read more closely."""
    content = json.loads(path.read_text())
    found = list(places(content))
    ours = [where for where in found if "connector_bench" in where]
    where = random.choice(ours if ours and random.random() < 0.5 else found)
    value = random.choice(VALUES)
    path.write_text(written(put(content, where, value)))
    return f"{'.'.join(map(str, where))} = {value!r:.60}"


def json_key(path: Path, random: Random) -> str:
    """A name that is missing, another or too long, an entry twice."""
    content = json.loads(path.read_text())
    holders = [
        held for where in places(content) if isinstance(held := at(content, where), dict | list) and held
    ]
    if not holders:
        return json_value(path, random)
    holder = random.choice(holders)
    if isinstance(holder, list):
        holder.append(random.choice(holder))
        said = f"an entry twice of {len(holder)}"
    else:
        key = random.choice(sorted(holder))
        value = holder.pop(key)
        other = random.choice([None, None, "", "x" * 5000, "\ud800", "__class__", "../x", key + "\0"])
        if other is not None:
            holder[other] = value
        said = f"{key} called {other!r:.40}"
    path.write_text(written(content))
    return said


def line_value(path: Path, random: Random) -> str:
    """Any value in any place of one row, within its answer as well."""
    lines = path.read_text().splitlines()
    number = random.randrange(len(lines))
    row = json.loads(lines[number])
    answer = row.get("filtered_resps")
    if random.random() < 0.5 and isinstance(answer, str) and answer.startswith("{"):
        inner = json.loads(answer)
        where, value = random.choice(list(places(inner))), random.choice(VALUES)
        row["filtered_resps"] = written(put(inner, where, value))
    else:
        where, value = random.choice(list(places(row))), random.choice(VALUES)
        row = put(row, where, value)
    lines[number] = written(row)
    path.write_text("\n".join(lines))
    return f"row {number}, {'.'.join(map(str, where))} = {value!r:.60}"


def lines_moved(path: Path, random: Random) -> str:
    """Rows that are missing, twice, in another order, or no rows."""
    lines = path.read_text().splitlines()
    number = random.randrange(len(lines))
    change = random.choice(("dropped", "twice", "reversed", "cut", "no object", "blank", "one alone"))
    match change:
        case "dropped":
            del lines[number]
        case "twice":
            lines.insert(number, lines[number])
        case "reversed":
            lines.reverse()
        case "cut":
            lines[number] = lines[number][: random.randrange(len(lines[number]))]
        case "no object":
            lines[number] = random.choice(["[]", "1", "null", '"x"', "{}", "nonsense"])
        case "blank":
            lines.insert(number, "  ")
        case "one alone":
            lines = [lines[number]]
    path.write_text("\n".join(lines))
    return f"row {number} {change}"


def arrays(path: Path, random: Random) -> str:
    """Arrays of another shape, type or content, a missing one, or one that claims to be huge."""
    with np.load(path) as stored:
        held = {name: stored[name] for name in stored.files}
    name = random.choice(sorted(held))
    array = held[name]
    change = random.choice(
        ("missing", "float", "negative", "too large", "transposed", "short", "text", "object", "huge")
    )
    others: dict[str, Callable[[], np.ndarray]] = {
        "float": lambda: np.full(array.shape, np.nan),
        "negative": lambda: np.full(array.shape, -1),
        "too large": lambda: np.full(array.shape, 2**30),
        "transposed": lambda: array.T[None],
        "short": lambda: array[:-1],
        "text": lambda: np.full(array.shape, "\ud800x"),
        "object": lambda: np.array([{}] * len(array), dtype=object),
    }
    if change == "huge":
        claim = io.BytesIO()
        np.lib.format.write_array_header_2_0(
            claim, {"descr": "<i4", "fortran_order": False, "shape": (10**12, 10)}
        )
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"{name}.npy", claim.getvalue())
    else:
        held.pop(name)
        np.savez(path, **held | ({name: others[change]()} if change != "missing" else {}), allow_pickle=True)
    return f"{name} {change}"


def header(path: Path, random: Random) -> str:
    """What stands before the numbers of a safetensors file: sizes, types, and our values in it."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    values = json.loads(head.get("__metadata__", {}).get("json", "null"))
    if values is not None and random.random() < 0.7:
        where, value = random.choice(list(places(values))), random.choice(VALUES)
        head["__metadata__"]["json"] = written(put(values, where, value))
    elif random.random() < 0.2:
        path.write_bytes(struct.pack("<Q", 2**63 - 1) + content[8:])
        return "a header of 2**63 bytes"
    else:
        where, value = random.choice(list(places(head))), random.choice(VALUES)
        head = put(head, where, value)
    encoded = written(head).encode("utf-8", "surrogatepass")
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + rest)
    return f"{'.'.join(map(str, where))} = {value!r:.60}"


def picture(path: Path, random: Random) -> str:
    """A picture of another kind, size or mode, or one that unpacks to far more."""
    change = random.choice(("another kind", "one pixel", "large", "bomb", "no picture"))
    match change:
        case "another kind":
            Image.new("RGB", (20, 20)).save(path, random.choice(["GIF", "BMP", "TIFF", "JPEG", "EPS", "PDF"]))
        case "one pixel":
            Image.new("RGB", (1, 1)).save(path, path.suffix[1:])
        case "large":
            Image.new("1", (3000, 3000)).save(path, path.suffix[1:])
        case "bomb":
            Image.new("1", (14000, 14000)).save(path, "PNG")
        case "no picture":
            path.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>")
    return change


def bytes_changed(path: Path, random: Random) -> str:
    """Bytes that a disk or a transfer has lost or turned."""
    content = bytearray(path.read_bytes())
    change = random.choice(("cut", "turned", "zeros", "mark", "UTF-16", "twice", "rubbish"))
    place = random.randrange(len(content))
    match change:
        case "cut":
            content = content[:place]
        case "turned":
            for _ in range(random.randrange(1, 9)):
                content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        case "zeros":
            content[place : place + 4096] = bytes(len(content[place : place + 4096]))
        case "mark":
            content = bytearray(b"\xef\xbb\xbf") + content
        case "UTF-16":
            content = bytearray(bytes(content).decode("latin-1").encode("utf-16"))
        case "twice":
            content = content * 2
        case "rubbish":
            content = bytearray(random.randbytes(len(content)))
    path.write_bytes(content)
    return f"{change} at {place} of {len(content)}"


def replaced(path: Path, random: Random) -> str:
    """Something else under its name: nothing, a folder, a pipe, a link out of the folder, a link to itself."""
    change = random.choice(
        ("missing", "empty", "folder", "pipe", "link to a secret", "link to itself", "unreadable")
    )
    if change == "unreadable":
        path.chmod(0)
        return change
    path.unlink()
    match change:
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
            (path / "inside").write_text("x")
        case "pipe":
            os.mkfifo(path)
        case "link to a secret":
            path.symlink_to("/etc/passwd")
        case "link to itself":
            path.symlink_to(path.name)
    return change


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield where
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*where, key))


def at(value: Any, where: tuple[Any, ...]) -> Any:
    """What stands in a place."""
    for key in where:
        value = value[key]
    return value


def put(value: Any, where: tuple[Any, ...], new: Any) -> Any:
    """The value with something else in one place."""
    if not where:
        return new
    at(value, where[:-1])[where[-1]] = new
    return value


def written(value: Any) -> str:
    """JSON text, and what is no value of Python in it."""
    text = json.dumps(value)
    for mark, raw in RAW.items():
        text = text.replace(mark, raw)
    return text


def restore(folder: Path, original: Path) -> None:
    """The folder as it was, whatever lies there now."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
