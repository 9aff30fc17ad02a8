"""Reads files that anybody may have written: JSON within limits, and files that lie where they seem to lie."""

from __future__ import annotations

import json
import re
import reprlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

DEEPEST = 64
"""Objects and lists within each other; lmms-eval's files have about ten."""
MOST_DIGITS = 300
"""Of a whole number: a longer one is no float."""
LONGEST_MESSAGE = 1500
"""Characters of a message; below a screen, whatever the file holds."""
MOST_BYTES = 2**31
"""Of one file that is read whole."""

_SHORT = reprlib.Repr()
"""Values in a sentence: what is left out of one is marked, and its quotes and brackets close."""
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxlevel = 2

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text; bytes are UTF-8 or UTF-16, with or without a byte-order mark.

    Raises ValueError, saying what is wrong, for anything else, and for what is legal JSON that no program writes: whole
    numbers of more than 300 digits, nesting beyond 64, halves of characters (lone surrogates).
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    try:
        value = json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError(f"nested far deeper than {DEEPEST}") from None
    if text.count("{") + text.count("[") > DEEPEST and (depth := _depth(value)) > DEEPEST:
        raise ValueError(f"nested {depth} deep, at most {DEEPEST} is read")
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"a text in it holds half a character (\\u{ord(error.object[error.start]):x})"
            ) from None
    return value


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises OSError as reading does, ValueError as `parsed` and for what is no file."""
    return parsed(regular_file(path).read_bytes())


def file_inside(folder: Path, *parts: str) -> Path:
    """A file below a folder, by the names of folders and file, none of which may lead elsewhere.

    Raises FileNotFoundError where there is none, ValueError for a name that is no plain one, and for a link.
    """
    path = folder
    for part in parts:
        if not part or part.strip(".") == "" or re.search(r"[/\\\0]", part):
            raise ValueError(f"{part!r:.80} is no name of a file in {folder}")
        path = path / part
        if path.is_symlink():
            raise ValueError(f"{path} is a link; links are not followed")
    return regular_file(path)


def regular_file(path: Path) -> Path:
    """The path again. FileNotFoundError where nothing is there, ValueError for a folder, pipe or device or too much."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is no file")
    if found.st_size > MOST_BYTES:
        raise ValueError(f"{path} has {found.st_size:,} bytes, at most {MOST_BYTES:,} are read")
    return path


def printable(message: str) -> str:
    """A message at most 1,500 characters long in which nothing can steer a terminal."""
    plain = "".join(
        sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}"
        for sign in without_colours(message)
    )
    return plain if len(plain) <= LONGEST_MESSAGE else f"{plain[:LONGEST_MESSAGE]} ..."


def without_colours(text: str) -> str:
    """A text without what torch, rich and others put into their messages to colour them on a terminal."""
    return _COLOURS.sub("", text)


def first_line(error: BaseException, longest: int = 300) -> str:
    """The first line of an error's message, without colours; its kind where it says nothing."""
    lines = without_colours(str(error)).strip().splitlines()
    return lines[0].strip()[:longest] if lines else type(error).__name__


def first_error(error: ValidationError) -> str:
    """The first of a validation's errors as one sentence: where, what stands there, what is wanted."""
    found = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in found["loc"]) or "the whole"
    said = found["msg"].removeprefix("Value error, ")
    told = found["type"] == "missing" or (said != found["msg"] and isinstance(found["input"], dict))
    held = "" if told else f" is {_SHORT.repr(found['input'])}"
    return f"{where:.300}{held}: {said:.300}"


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits.lstrip('-'))} digits")
    return int(digits)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth
