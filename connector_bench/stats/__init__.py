"""Which statistic gets which error.

| statistic | error | where |
|---|---|---|
| mean over images, share of sums | percentile bootstrap over images or clusters | `intervals.bootstrap` |
| share whose variance is known | Wilson's score interval | `intervals.wilson` |
| rank correlation of two values per image | percentile bootstrap over images | `correlation` |
| rank correlations, partial ones, AUROCs | percentile bootstrap over images; t for p | `cluster_bootstrap` |
| rank correlation over few connectors | all orders of them for p | `exact_spearman` |
| difference of two models, images apart from each other | bootstrap of pairs; exchange test | `paired.difference` |
| difference of two models, images each other's neighbours | t over halvings | `paired.halved_difference` |
| many p-values of a kind | Benjamini and Hochberg | `paired.false_discovery_rate` |

All percentiles are expanded to a t interval's width; all draws are seeded; overlaps have jackknives (`preservation`).
"""
