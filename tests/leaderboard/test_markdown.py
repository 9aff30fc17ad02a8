"""The table as Markdown."""

from connector_bench.leaderboard.markdown import markdown
from connector_bench.leaderboard.merge import merge
from tests.leaderboard.runs import a_run, preservation


def test_markup_in_a_name_is_inert() -> None:
    page = markdown(merge([a_run("<script>alert(1)</script>|x|[l](u)\n# h", knn=preservation(0.5))]))
    assert "<script>" not in page
    assert "\n# h" not in page
    assert "\\|x\\|\\[l\\](u)" in page
