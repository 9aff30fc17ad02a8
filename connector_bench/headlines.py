"""Which metrics stand for the others: what is ranked, shown first, and put side by side, in the catalogue's names."""

from __future__ import annotations

from connector_bench.metrics import HEADLINE_K, Measure

RANKED: dict[Measure, str] = {"knn_preservation": "knor_adj_10", "patch_reconstruction": "lost"}
"""The metric of each measure that connectors are ranked by; of stages none, since kinds of questions are not summed."""
SORTED_BY = ("lost", "trustworthiness", "accuracy")
"""What boards sort connectors by: the first of these figures that a board holds, on the measure's own pictures where
it has those; ours among them have ranks. Across 21 connectors of the zoo the first goes with answers. The second was
chosen on ten of them and did not foretell those of the other eleven (`leaderboard/prediction.json`). Bare overlap is
none of them: training lowers it while answers improve."""
STAGE_LOSSES = ("lost_encoder_{kind}", "lost_connector_{kind}", "lost_language_model_{kind}")
"""What is lost where, in the order of the stages."""
READER_GAP = "reader_gap_{kind}"
"""What the model answers beyond the better of both readers."""
STAGE_TABLE = (
    *("acc_pre_{kind}", "acc_post_{kind}", "acc_model_{kind}"),
    *STAGE_LOSSES,
    *("bits_pre_{kind}", "bits_post_{kind}"),
)
"""What a report shows of every kind of question: what is read before, after, and answered comes first."""
HEADLINES: dict[Measure, tuple[str, ...]] = {
    "knn_preservation": (
        *(
            "trustworthiness",
            "knor_adj_10",
            "knor_10",
            "gain_10",
            "purity_pre",
            "knor_adj_50",
            "knor_adj_100",
            "untrained_knor_10",
        ),
        *("random_linear_knor_10", "cka", "recall_pre_5", "recall_post_5", "paper_knor_10"),
    ),
    "patch_reconstruction": (
        *(
            "lost",
            "excess",
            "lost_floor",
            "r2_best",
            "r2_ridge",
            "nonlinear",
            "r2_pooled",
            "cosine",
            "loss_inside",
            "loss_outside",
        ),
        *("untrained_r2_ridge", "untrained_r2_pooled"),
    ),
    "connector_stages": (*STAGE_TABLE,),
}
"""What a table shows first, in this order."""
HEADLINE_LOSSES = ("1 - knor_10", "lost", "loss_inside", "loss_outside", "1 - cosine_inside")
"""Losses that an analysis shows unless all are asked for."""
WHOLE_LOSSES = ("1 - knor_10", "lost")
"""The losses of whole connectors, which the study across connectors sets against each other."""
FURTHER_CANDIDATES = (f"gain_{HEADLINE_K}", "excess", "lost_connector_{kind}")
"""What may predict a connector's answers beside the losses. What is lost to the language model is made of those
answers, and predicts nothing."""
MAIN_LOSSES = ("loss_inside", "lost", "1 - knor_10")
"""The losses that stand for a task's others, first of all the one that knows where the answer lies."""
PRINTED: dict[Measure, tuple[str, ...]] = {
    "knn_preservation": ("n_images", "knor_10", "knor_adj_10", "gain_10", "untrained_knor_10"),
    "patch_reconstruction": ("n_images", "lost", "lost_floor", "excess", "loss_inside", "loss_outside"),
    "connector_stages": ("n_images", "acc_pre_{kind}", "acc_post_{kind}", *STAGE_LOSSES[1:]),
}
"""What lmms-eval prints of a task, unless its YAML's `rows` or CONNECTOR_BENCH_ROWS says `all`."""
SIDE_BY_SIDE: dict[Measure, tuple[str, ...]] = {
    "patch_reconstruction": ("lost", "lost_floor", "excess"),
    "knn_preservation": ("knor_10", "untrained_knor_10", "knor_adj_10", "gain_10", "purity_diff"),
}
"""What a report sets side by side of several models, beside the losses of every kind of question."""
SHOWN = ("knor_10", "untrained_knor_10", "lost", "accuracy")
"""What a terminal shows of a board."""
SWEPT = ("knor_10", "lost", "r2_ridge")
"""What a sweep's table shows of a connector."""
BASELINES = ("mask_area", "entropy", "encoder_norm")
"""What a loss must explain more than: figures of a picture or a question that know nothing of the connector."""
TABLES = {
    "neighbours kept": (
        "trustworthiness",
        "knor_10",
        "knor_adj_10",
        "knor_adj_50",
        "knor_adj_100",
        "purity_pre",
    ),
    "beside a connector that learnt nothing": ("knor_10", "untrained_knor_10", "random_linear_knor_10"),
    "geometry and retrieval": ("cka", "recall_pre_5", "recall_post_5", "paper_knor_10"),
    "lost to the best probe": ("lost", "r2_best", "r2_ridge", "nonlinear"),
    "linear, beside a connector that learnt nothing": (
        *("r2_ridge", "r2_pooled", "untrained_r2_ridge", "untrained_r2_pooled"),
    ),
    "error of a patch": ("cosine", "loss_inside", "loss_outside"),
    "read before the connector": ("acc_pre_{kind}",),
    "read after it": ("acc_post_{kind}",),
    "lost in the connector": ("lost_connector_{kind}",),
    "lost in the language model": ("lost_language_model_{kind}",),
}
"""Narrow tables of connector tasks, by their metrics."""
ESSENTIALS = ("trustworthiness", "knor_10", "untrained_knor_10", "lost", "lost_connector_{kind}")
"""What the page shows before a reader chooses others, beside the first metric of tasks that are not ours; of several
kinds of questions the first."""
MOST_ESSENTIALS = 6
"""Columns of figures that a window of 1,280 pixels holds."""
