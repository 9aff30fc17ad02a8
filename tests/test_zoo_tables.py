"""The zoo's tables in README and docs are those of the committed board."""

import json

import pytest

from benchmarks.zoo_tables import BOARD, TABLES, stands_in


@pytest.fixture(scope="module")
def board() -> dict[str, object]:
    return json.loads(BOARD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_in_a_page_is_the_boards(name: str, board: dict[str, object]) -> None:
    path, made = TABLES[name]
    assert stands_in(name, path.read_text(encoding="utf-8")).strip() == made(board)


def test_a_page_without_the_comments_is_refused() -> None:
    with pytest.raises(ValueError, match="no comments <!-- zoo: a --> and"):
        stands_in("zoo: a", "| a |\n")
