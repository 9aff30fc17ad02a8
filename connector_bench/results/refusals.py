"""How a command that reads files ends where they cannot be taken: one sentence, and status 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from connector_bench.foreign_files import printable


@contextmanager
def refusals(begin: str, *others: type[Exception]) -> Iterator[None]:
    """End the command with `begin` and the reason where files are unusable or cannot be read or written.

    An error of one of the `others` ends it alike.
    """
    expected: tuple[type[Exception], ...] = (ValueError, OSError, *others)
    try:
        yield
    except expected as error:
        refuse(f"{begin}: {error}")


def refuse(why: str) -> NoReturn:
    """End the command with this sentence."""
    typer.secho(printable(why), fg="red", err=True)
    raise typer.Exit(1)
