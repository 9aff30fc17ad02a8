"""BLIP-2 and InstructBLIP: the connector is the Q-Former *and* the projection behind it."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import grid

BLIP_2 = Family(
    model_types=("blip_2", "blip-2"),
    connector="q-former",
    modules=("qformer", "language_projection"),
    pre_argument="encoder_hidden_states",
    learnt_arguments=("query_embeds",),
    learnt_parameters=("query_tokens",),
    place=grid(skip_pre=1, resampler=True),
    resamples=True,
    dropped="CLS, which the Q-Former does receive",
)

INSTRUCTBLIP = Family(
    model_types=("instructblip",),
    connector="q-former",
    modules=("qformer", "language_projection"),
    pre_argument="encoder_hidden_states",
    learnt_arguments=("query_embeds",),
    learnt_parameters=("query_tokens",),
    place=grid(skip_pre=1, resampler=True),
    resamples=True,
    prompted=True,
    dropped="CLS, which the Q-Former does receive; text positions of the Q-Former's output",
    note="the Q-Former also reads the instruction; it is given the empty one",
)

FAMILIES = (BLIP_2, INSTRUCTBLIP)
