"""Which statistic gets which error.

| statistic | error | where |
|---|---|---|
| mean over images, ratio of sums | jackknife over images or clusters, t | `jackknife` |
| mean of errors, images very unlike | the same of the logarithm, or of log-normal images | `unlike_images` |
| share whose variance is known | Wilson's score interval | `intervals.wilson` |
| rank correlations, partial ones, AUROCs | jackknife over images or clusters, t, also for p | `cluster_jackknife` |
| the same where losses part failures from successes | no narrower than the numbers of images allow | `separated` |
| rank correlation of a few connectors | Fisher's z; every order for p | `few_connectors`, `exact_spearman` |
| difference of two such | from both of their intervals; exchanges for p | `few_connectors`, `association.contrast` |
| difference of two models, images apart | the same jackknife; exchange test | `paired.difference` |
| difference of two models, images neighbours | t over halvings | `paired.halved_difference` |
| many p-values of a kind | Benjamini and Hochberg | `paired.false_discovery_rate` |

Degrees of freedom are those of the images that carry the spread. Below `floors` there is a sentence instead. All draws
are seeded; overlaps have jackknives corrected in halves (`preservation`).
"""
