"""Names that hold markup, formulas, control characters or paths do no harm wherever they are shown."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from connector_bench.leaderboard.data_files import csv_file, json_file
from connector_bench.leaderboard.diff import table_diff
from connector_bench.leaderboard.markdown import TOPICS, markdown, published_page, topic_tables
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.table import Table
from connector_bench.leaderboard.text import in_markdown, in_spreadsheet
from tests.leaderboard.runs import a_connector, a_run, answers, preservation

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a|b|c",
    "line\n# heading\n\n- item",
    "[text](https://evil.example) ![x](y)",
    "`code` **bold** __bold__ ~~gone~~",
    "@everyone see #1 or https://evil.example www.evil.example",
    "\u202eltr\u0000\u0007\x1b[31m\u200b",
    "../../etc/passwd",
    '=HYPERLINK("https://evil.example")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    " =1+1",
    "＝1+1",
    "&lt;b&gt; \\| \\",
)


OUR_LINK = re.compile(r"\[[A-Za-z ]+\]\((?:tables/[a-z]+|[.][.]/LEADERBOARD)[.]md\)")
"""Links between the board's own pages."""


def hostile_table(name: str) -> Table:
    run = a_run(name, **{name: preservation(0.5), f"{name}2": answers(0.4)})
    connector = a_connector(name, family=name, connector=name, dtype=name)
    task = run.tasks[f"{name}2"]
    figures = {**task.figures, name: task.figures["accuracy"]}
    tasks = {**run.tasks, f"{name}2": task.model_copy(update={"figures": figures})}
    return merge(
        [run.model_copy(update={"connector": connector, "tasks": tasks}), a_run("other", t=answers(0.1))]
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_hostile_names_as_text(name: str) -> None:
    table = hostile_table(name)
    topics = (topic_tables(topic)(table) for topic in TOPICS.values())
    for page in (markdown(table), published_page(table), *topics, table_diff(merge([]), table)):
        tokens = MarkdownIt("gfm-like").disable("linkify").parse(OUR_LINK.sub("", page))
        kinds = {child.type for token in tokens for child in token.children or ()}
        emphasis = {"em_open", "em_close", "strong_open", "strong_close"}
        assert kinds <= {"text", "code_inline", "softbreak", *emphasis}
        assert not any(token.type.startswith("html") for token in tokens)
        assert all(sign.isprintable() or sign in "\n\u2060" for sign in page)
        assert not re.search(r"@\w|#\d|://|www[.]", page)


@pytest.mark.parametrize("name", HOSTILE)
def test_every_row_of_markdown_has_the_cells_of_its_heading(name: str) -> None:
    tokens = MarkdownIt("gfm-like").disable("linkify").parse(markdown(hostile_table(name)))
    headings = [token for token in tokens if token.type == "heading_open" and token.tag == "h1"]
    assert len(headings) == 1
    for start, token in enumerate(tokens):
        if token.type == "table_open":
            end = next(i for i in range(start, len(tokens)) if tokens[i].type == "table_close")
            rows = sum(t.type == "tr_open" for t in tokens[start:end])
            cells = sum(t.type in ("td_open", "th_open") for t in tokens[start:end])
            columns = sum(t.type == "th_open" for t in tokens[start:end])
            assert cells == rows * columns


@given(st.text(min_size=1, max_size=40).filter(lambda name: name.isprintable() and name.strip() == name))
@settings(max_examples=200, deadline=None)
def test_a_printable_name_reads_in_markdown_as_it_is(name: str) -> None:
    (_, _, _, _, cell, *_) = [
        token
        for token in MarkdownIt("gfm-like").disable("linkify").parse(f"| {in_markdown(name)} |\n|-|\n")
        if token.type in ("table_open", "thead_open", "tr_open", "th_open", "inline", "th_close")
    ]
    shown = "".join(child.content for child in cell.children or ())
    assert shown.replace("\u2060", "") == name.replace("\u2060", "")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_cell_of_csv_is_a_formula(name: str) -> None:
    text = csv_file(hostile_table(name))
    for line in csv.reader(io.StringIO(text)):
        for cell in line:
            if not cell.replace(".", "").replace("-", "").replace("e", "").isdigit():
                assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"))
    assert len({len(line) for line in csv.reader(io.StringIO(text))}) == 1


@given(st.text(max_size=30))
def test_spreadsheet_text_begins_with_no_sign_of_a_formula(name: str) -> None:
    assert not in_spreadsheet(name).lstrip().startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("name", HOSTILE)
def test_json_is_ascii_and_keeps_the_name(name: str) -> None:
    text = json_file(hostile_table(name))
    assert text.isascii()
    assert name in {row["model"] for row in json.loads(text)["rows"]}


def test_a_negative_figure_stays_a_number_in_csv() -> None:
    table = merge([a_run("m", knn_preservation=preservation(-0.01))])
    (line, *_) = csv.DictReader(io.StringIO(csv_file(table)))
    assert line["knn_preservation/knor_adj_10"] == "-0.01"
