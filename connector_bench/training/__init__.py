"""A connector's overlap, linear R2 and loss on fixed pictures while it is trained, and training none the wiser.

`probe.ConnectorProbe` is what is used: it measures every so many steps and keeps one curve. `tokens_of_probe` gives the
tokens, from the tower only where the tower has changed; `undisturbed` puts back whatever a measurement could leave
behind; `probe_figures` makes figures of the tokens; `curve_folder` holds what a killed run goes on from; `trackers`
hands scalars to TensorBoard and wandb. `trainer_callback` and `lightning_callback` import what they are named after,
and are imported late.
"""
