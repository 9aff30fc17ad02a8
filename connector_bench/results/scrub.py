"""What must not reach a committed file: secrets and the folders of somebody's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from connector_bench.results.names import without_folders

SECRETS = {
    "an access token": re.compile(
        r"\b(hf_[A-Za-z0-9]{8,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{8,}"
        r"|eyJ[\w-]{8,}\.[\w-]{8,})"
    ),
    "an API key": re.compile(r"\b(sk-[\w-]{8,}|AKIA[0-9A-Z]{12,}|AIza[\w-]{20,})"),
    "credentials in a URL": re.compile(r"://[^/\s@]+@"),
    "a named secret": re.compile(
        r"(api[_-]?key|access[_-]?key|token|secret|passw(or)?d|authorization|bearer)[\"']?\s*[=:]\s*[\"']?[^\s\"',}]{4,}",
        re.IGNORECASE,
    ),
}
MACHINE_PATH = re.compile(r"(?:^|(?<=[\s=:,;'\"(\[]))(?:~|[A-Za-z]:\\|/[\w.@-]+/)\S*|file://\S+")


def secret_in(text: str) -> str | None:
    """What kind of secret a text seems to hold, None where it holds none."""
    return next((kind for kind, pattern in SECRETS.items() if pattern.search(text)), None)


def cleaned(value: Any) -> Any:
    """Options as they are recorded, with the folders of a machine taken out of every text in them."""
    if isinstance(value, str):
        return MACHINE_PATH.sub(lambda found: without_folders(found[0]), value)
    if isinstance(value, Mapping):
        return {str(key): cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, list | tuple) else value


def secrets_below(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Place and kind of every secret in a JSON value; the secret itself is never repeated."""
    if isinstance(value, str):
        if kind := secret_in(value):
            yield where, kind
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if kind := secret_in(str(key)):
                yield f"{where}, a name", kind
            else:
                yield from secrets_below(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_below(item, where)
