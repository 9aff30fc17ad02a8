"""Models whose code lies beside their checkpoints, or in a package of its own, rebuilt small with random weights.

Modules, attributes and methods have the published names, and the way from a picture to the language model is the
published one, since hooks and wrappers go by them. The towers and language models are small ones of transformers.
"""
