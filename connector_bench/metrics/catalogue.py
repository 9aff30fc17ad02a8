"""The catalogue: every figure that our tasks report or record, and every control that is measured beside.

A new metric is an entry here and its formula in its measure. In names `{k}` stands for a number of neighbours, `{kind}`
for a kind of question.
"""

from __future__ import annotations

from functools import partial

from connector_bench.metrics.entries import Control, Metric

CONTROLS = (
    Control("identity", "identity", "oracle", "what enters the connector on both sides", keeps="all"),
    Control("rotation", "random rotation", "oracle", "a random rotation of what enters", keeps="all"),
    Control("random_linear", "random linear map", "random", "a random linear map of the connector's shape"),
    Control("rank{k}", "random projection, rank {k}", "random", "a random projection to k dimensions"),
    Control(
        "untrained", "same architecture, untrained", "untrained", "the connector at fresh initialisations"
    ),
    Control("shuffled", "shuffled pairs", "oracle", "the two sides of different images", keeps="nothing"),
)
KEEP_ALL = tuple(control.key for control in CONTROLS if control.keeps == "all")
"""Controls that lose nothing, so that their figures must say so."""

PAPER = "Lost in Embeddings (arXiv 2509.11986)"
READER, USABLE = "two cross-attention layers", "Xu et al. 2020"
_OF_OVERLAP = ("identity", "rotation", "random_linear", "shuffled", "untrained")

_of_vectors = partial(Metric, measure="knn_preservation", of="image", higher_is_better=True)
_neighbours = partial(_of_vectors, neighbours=True)
_geometry = partial(_of_vectors, family="geometry", of="set", higher_is_better=None)
_retrieval = partial(
    _neighbours, family="retrieval", source="information retrieval", chance="by class sizes", needs="labels"
)
_gain = partial(
    _neighbours,
    family="reference",
    source="overlap with an independent space",
    higher_is_better=None,
    chance="0",
    needs="reference",
)
_beside_text = partial(_of_vectors, family="text", higher_is_better=None, controls=("untrained",))
_sharing = partial(_neighbours, family="sharing", source="", higher_is_better=None)
_patches = partial(Metric, measure="patch_reconstruction", of="image", higher_is_better=True)
_answer = partial(_patches, family="answer", source=PAPER, of="question")
_stage = partial(Metric, measure="connector_stages", family="stage", of="question", higher_is_better=True)
_further = partial(_stage, reported=False)
_noted = partial(Metric, measure=None, higher_is_better=None)

METRICS = (
    _neighbours("knor_{k}", "kept, k = {k}", "share of an image's k nearest before that are among its k nearest after",
                "overlap", PAPER, chance="k / (N - 1)", controls=_OF_OVERLAP, loss="one minus",
                loss_label="share of the {k} nearest neighbours that is lost",
                effect=("keeps more of its images' {k} nearest neighbours",
                        "keeps fewer of its images' {k} nearest neighbours")),
    _neighbours("knor_adj_{k}", "kept beyond chance, k = {k}",
                "share of an image's k nearest before that are among its k nearest after, chance taken off: 0 is "
                "chance, 1 is all",
                "overlap", "(knor - c) / (1 - c), c = k / (N - 1)", chance="0", controls=_OF_OVERLAP, loss="one minus",
                corrects="knor_{k}"),
    _gain("gain_{k}", "gain, k = {k}", "agreement with the reference after less that before, chance taken off; "
          "above 0 neighbourhoods move towards it", higher_is_better=True, controls=("random_linear", "untrained"),
          effect=("moves neighbourhoods more towards the reference",
                  "moves neighbourhoods less towards the reference")),
    _gain("agreement_pre_{k}", "agreement before, k = {k}", "share of an image's k nearest in the reference that are "
          "so before, chance taken off", reported=False),
    _gain("agreement_post_{k}", "agreement after, k = {k}", "share of an image's k nearest in the reference that are "
          "so after, chance taken off", reported=False),
    Metric("knor_adj_10_tenfold", "kept beyond chance, k = 10, ten times the images",
           "extrapolated, not measured: the overlap along smaller galleries prolonged by one decade", "gallery",
           "logit over log N", "knn_preservation", "set", None, chance="0"),
    _beside_text("text_norm_ratio", "norm beside words'", "mean norm of the connector's tokens over that of the "
                 "language model's word embeddings", source="norms"),
    _beside_text("text_frechet", "distance from words", "squared Frechet distance of tokens and words over the words' "
                 "variance", of="set", source="Dowson and Landau 1982"),
    _beside_text("text_frechet_floor", "distance between words",
                 "squared Frechet distance between two halves of the words over their variance: what the size of "
                 "the sample gives", of="set", source="Dowson and Landau 1982", controls=(),
                 reported=False),
    _beside_text("text_near", "tokens among words", "share of tokens whose nearest word is closer than two words are "
                 "in the median", source="nearest neighbour"),
    _beside_text("token_erank_pre", "effective rank of tokens before",
            "effective rank of a sample of tokens before: exp "
                 "of the entropy of their spectrum", of="set", source="Roy and Vetterli 2007", controls=()),
    _beside_text("token_erank_post", "effective rank of tokens after",
            "effective rank of a sample of tokens after: exp of "
                 "the entropy of their spectrum", of="set", source="Roy and Vetterli 2007", controls=()),
    _neighbours("trustworthiness", "trustworthiness",
                "new neighbours were near before too; 1 is best, by rank within the 10 nearest", "ranks",
                "Venna and Kaski 2001", loss="one minus"),
    _neighbours("continuity", "continuity", "old neighbours stay near; 1 is best, by rank within the 10 nearest",
                "ranks", "Venna and Kaski 2001", loss="one minus"),
    _neighbours("imbalance_pre_post", "imbalance, before to after", "information imbalance: rank after of the nearest "
                "before; 0 predicts it, 1 is chance", "ranks", "Glielmo et al. 2022", higher_is_better=False,
                chance="1", loss="itself"),
    _neighbours("imbalance_post_pre", "imbalance, after to before",
                "information imbalance: rank before of the nearest after; 0 predicts it, 1 is chance", "ranks",
                "Glielmo et al. 2022", higher_is_better=False, chance="1", loss="itself"),
    _geometry("cka", "CKA",
              "debiased linear centred kernel alignment; 1 is the same geometry up to rotation and scale",
              source="Kornblith et al. 2019, debiased", higher_is_better=True, loss="one minus"),
    _geometry("procrustes", "Procrustes", "similarity after the best rotation and scale; 1 is the same",
              source="orthogonal Procrustes", higher_is_better=True, loss="one minus"),
    _geometry("procrustes_paper", "Procrustes residual of the paper",
              "the paper's residual, PCA of the side behind first; smaller is "
              "closer, no fixed scale", source=PAPER),
    _geometry("erank_pre", "effective rank before", "effective rank before: how many directions hold the variance",
              source="Roy and Vetterli 2007"),
    _geometry("erank_post", "effective rank after", "effective rank after: how many directions hold the variance",
              source="Roy and Vetterli 2007"),
    _geometry("top1_energy_pre", "energy in one direction, before",
              "share of the energy in one direction, before", source="PCA"),
    _geometry("top1_energy_post", "energy in one direction, after",
              "share of the energy in one direction, after", source="PCA"),
    _geometry("hubness_pre", "hubness before", "skewness of how often an image is another's neighbour, before; "
              "0 has no hubs", source="Radovanović et al. 2010", neighbours=True),
    _geometry("hubness_post", "hubness after", "skewness of how often an image is another's neighbour, after; "
              "0 has no hubs", source="Radovanović et al. 2010", neighbours=True),
    _sharing("purity_pre", "label shared before", "share of an image's 10 nearest that have its label, before",
             chance="by class sizes", needs="labels"),
    _sharing("purity_post", "label shared after", "share of an image's 10 nearest that have its label, after",
             chance="by class sizes", needs="labels"),
    _sharing("purity_diff", "label shared, after less before", "paired difference", chance="0", needs="labels",
             reported=False),
    _sharing("caption_pre", "captions' likeness before", "likeness (cosine of weighted words) of an image's captions "
             "to those of its 10 nearest, before", chance="mean over all other images", needs="captions"),
    _sharing("caption_post", "captions' likeness after", "likeness (cosine of weighted words) of an image's captions "
             "to those of its 10 nearest, after", chance="mean over all other images", needs="captions"),
    _retrieval("recall_pre_1", "recall at 1 before", "share of images whose nearest has their label, before"),
    _retrieval("recall_post_1", "recall at 1 after", "share of images whose nearest has their label, after",
               effect=("finds more images' label at their nearest", "finds fewer images' label at their nearest")),
    _retrieval("recall_pre_5", "recall at 5 before", "share of images with their label among the 5 nearest, before"),
    _retrieval("recall_post_5", "recall at 5 after", "share of images with their label among the 5 nearest, after",
               effect=("finds more images' label among their 5 nearest",
                       "finds fewer images' label among their 5 nearest")),
    _retrieval("map_pre", "mAP before", "mean average precision of the label over all other images, before"),
    _retrieval("map_post", "mAP after", "mean average precision of the label over all other images, after",
               effect=("ranks images of one label nearer to each other",
                       "ranks images of one label farther from each other")),
    _retrieval("recall_diff_1", "recall at 1, after less before", "paired difference", reported=False),
    _retrieval("recall_diff_5", "recall at 5, after less before", "paired difference", reported=False),
    _retrieval("map_diff", "mAP, after less before", "paired difference", reported=False),
    _retrieval("spearman_knor_10_recall_post_5", "overlap with recall after", "rank correlation, by image, of "
               "overlap at k = 10 with R@5 after", of="set", reported=False, needs=None),
    _neighbours("paper_knor_{k}", "published procedure, k = {k}",
                "the published procedure, which counts the image itself as its neighbour", "published", PAPER),
    _patches("r2_ridge", "R² linear", "share of the patches' variance that a linear probe rebuilds", "probe",
             "ridge regression", chance="0", loss="one minus",
             controls=("identity", "rotation", "rank{k}", "untrained", "shuffled")),
    _patches("r2_pooled", "R² linear from the mean token",
             "share of the patches' variance that a linear probe rebuilds from the mean of the connector's "
             "tokens", "probe", "ridge regression", chance="0", loss="one minus", controls=("untrained", "shuffled")),
    _patches("r2_mlp", "R² MLP", "share that an MLP rebuilds, which starts at the linear solution", "probe", PAPER,
             chance="0", loss="one minus", controls=("identity", "rotation", "shuffled")),
    _patches("r2_attention", "R² attention", "share that cross-attention rebuilds from tokens without places",
             "probe", PAPER, chance="0", loss="one minus"),
    _patches("r2_best", "R² of the best probe", "variance of the patches that the best probe rebuilds, pooled over "
             "patches and dimensions", "probe", "best of the ladder", chance="0", bound="at least"),
    _patches("lost", "lost", "1 − R² of the best probe: lost to every probe tried", "probe", "1 - r2_best",
             higher_is_better=False, chance="1", loss="itself", sums=("sse", "sst"), bound="at most",
             loss_label="share of the patches' variance that no probe recovers",
             effect=("loses more of the patches' variance", "loses less of the patches' variance")),
    _patches("lost_floor", "lost by size alone", "what the best linear map of a cell to as many numbers as the "
             "connector has for it loses: its principal components", "size", "PCA", higher_is_better=None),
    _patches("excess", "lost beyond the floor", "lost less what is lost by size alone: what a connector of this size "
             "need not lose; below 0 it keeps more than any linear one", "size", "lost - lost_floor",
             higher_is_better=False, chance="1 - lost by size alone", controls=("untrained",),
             sums=("excess_sse", "sst"), bound="at most",
             effect=("loses more than a connector of its size must", "loses less beyond what its size costs")),
    _patches("lost_average", "lost by average pooling", "what the mean of each cell loses to a ridge, which is as many "
             "tokens and nothing learnt", "size", "ridge regression", chance="1", higher_is_better=None),
    _patches("nonlinear", "kept but not linear", "R² of the MLP less that of the ridge: kept, but not linearly "
             "readable", "probe", "r2_mlp - r2_ridge", higher_is_better=None, loss="itself"),
    _patches("nmse", "error of a patch", "squared error over the mean variance of a training patch; the mean patch "
             "gets about 1 over all, more where patches vary more", "error", PAPER, higher_is_better=False, chance="1",
             loss="itself", bound="at most"),
    _patches("cosine", "cosine", "cosine of patch and prediction, both less the training mean", "error", PAPER,
             loss="one minus", bound="at least"),
    _answer("loss_inside", "error inside the answer", "error of a patch inside the answer's region, mean over "
            "questions that have one", higher_is_better=False, loss="itself"),
    _answer("loss_outside", "error outside the answer", "error of a patch outside the answer's region",
            higher_is_better=False, loss="itself"),
    _answer("cosine_inside", "cosine inside the answer", "cosine inside the answer's region", loss="one minus"),
    _answer("cosine_outside", "cosine outside the answer", "cosine outside the answer's region", loss="one minus"),
    _answer("norm_inside", "norms' difference inside the answer",
            "difference of norms inside the answer's region, over a patch's usual "
            "norm", higher_is_better=None, loss="itself"),
    _answer("norm_outside", "norms' difference outside the answer",
            "difference of norms outside the answer's region, over a patch's usual norm", higher_is_better=None,
            loss="itself"),
    _answer("mask_area", "area of the answer", "share of the picture that the answer covers", higher_is_better=None),
    _patches("paper_mse", "error of the paper", "the paper's error on standardised embeddings; 1 is what the mean gets",
             "published", PAPER, higher_is_better=False, chance="1"),
    _patches("paper_r2", "R² of the paper", "share of the variance that the paper's probe rebuilds",
             "published", PAPER),
    _stage("acc_pre_{kind}", "read before, {kind}", "share of the {kind} questions that a reader of fixed size answers "
           "from what enters the connector", source=READER, chance="the most frequent answer"),
    _stage("acc_post_{kind}", "read after, {kind}", "share of the {kind} questions that a reader of fixed size answers "
           "from what leaves the connector", source=READER,
           chance="the most frequent answer"),
    _stage("lost_encoder_{kind}", "lost to the encoder, {kind}", "1 less what is read before the connector",
           source="1 - acc_pre", higher_is_better=False, chance="1 - the most frequent answer"),
    _stage("lost_connector_{kind}", "lost in the connector, {kind}", "share of the {kind} questions that is read "
           "before, less that which is read after, paired; below 0 the reader is too weak before the connector",
           source="acc_pre - acc_post", higher_is_better=False, chance="read before - the most frequent answer"),
    _stage("lost_language_model_{kind}", "lost in the language model, {kind}", "share of the {kind} questions "
           "that is read after, less that which the model itself answers, paired; below 0 the model reads "
           "better than the reader", source="acc_post - acc_model", higher_is_better=False,
           chance="read after - the most frequent answer"),
    _stage("acc_model_{kind}", "the model's answers, {kind}", "share of the {kind} questions that the model itself "
           "answers rightly", source="the task of answered_by", chance="the most frequent answer"),
    _stage("bits_pre_{kind}", "bits before, {kind}", "usable information on the answer: bits that the reader of what "
           "enters saves beside the question alone", source=USABLE, chance="0"),
    _stage("bits_post_{kind}", "bits after, {kind}", "usable information on the answer: bits that the reader of what "
           "leaves saves beside the question alone", source=USABLE, chance="0"),
    _stage("bits_lost_{kind}", "bits lost in the connector, {kind}", "bits before less bits after, paired",
           source="bits_pre - bits_post", higher_is_better=False, chance="bits before"),
    _further("acc_linear_pre_{kind}", "read linearly before, {kind}", "as acc_pre, by a reader that is linear in the "
             "tokens", source="", chance="the most frequent answer"),
    _further("acc_linear_post_{kind}", "read linearly after, {kind}", "as acc_post, by a reader that is linear in the "
             "tokens", source="",
             chance="the most frequent answer"),
    _further("bits_linear_pre_{kind}", "linear bits before, {kind}", "as bits_pre, by the linear reader",
             source=USABLE, chance="0"),
    _further("bits_linear_post_{kind}", "linear bits after, {kind}", "as bits_post, by the linear reader",
             source=USABLE, chance="0"),
    _further("reader_gap_{kind}", "beyond the readers, {kind}", "what the model answers beyond the better of both "
             "readers, paired; above 0 they are too weak: the encoder loses at most what the model answers wrongly",
             source="acc_model - max(acc_pre, acc_post)", higher_is_better=None),
    _further("answer_bits_{kind}", "bits of an answer, {kind}", "what an answer costs who hears the question alone",
             source=USABLE, higher_is_better=None),
    _noted("entropy", "entropy", "Shannon entropy of the picture's greys, in bits", "baseline", "Shannon 1948",
           of="image", reported=False),
    _noted("encoder_norm", "norm of the encoder's tokens", "mean Euclidean norm of the encoder's tokens", "baseline",
           "", of="image", reported=False),
    _noted("drawn_group", "images drawn with", "number of the images that it was drawn with, such as views of one "
           "object", "baseline", "", of="image", reported=False),
    _noted("n_images", "images", "different images that were measured", "count", "", of="set"),
)  # fmt: skip
