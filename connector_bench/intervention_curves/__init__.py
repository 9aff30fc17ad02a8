"""`intervene`: answers over the strength of an intervention, each point a process of lmms-eval, paired by document."""
