"""A zoo model: frozen encoder, one connector, one decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from connector_bench.zoo.connectors import Layout
from connector_bench.zoo.decoder import PAD_ID, Decoder, DecoderConfig
from connector_bench.zoo.named_connectors import build_connector, canonical_name, layout_of
from connector_bench.zoo.vocabulary import encode_questions, vocabulary

D_PRE = 112
D_POST = 128


def build_parts(connector: str, seed: int) -> tuple[nn.Module, Layout, Decoder]:
    """Connector, its layout and decoder at the random initialisation of ``seed``.

    Raises:
        ValueError: unknown connector, or one whose output has the wrong shape.
    """
    module = build_connector(connector, D_PRE, D_POST, seed)
    layout = layout_of(module, D_PRE, D_POST)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        decoder = Decoder(DecoderConfig(prefix=layout.tokens, vocabulary=len(vocabulary()), width=D_POST))
    return module, layout, decoder


def one_by_one(module: nn.Module, batch: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """What the module gives for each row of a batch, alone; the same bits whatever else is in the batch."""
    return torch.cat([module(row) for row in batch.split(1)])


class ZooModel:
    """A small vision-language model that differs from its siblings in the connector alone.

    Everything is float32, in eval mode and frozen. Pictures pass encoder and connector one by one: a
    picture's tokens are then the same to the last bit in every batch and process, and a processor's cache
    holds one picture, which takes half the time that sixteen at once do.
    """

    def __init__(
        self,
        connector_name: str,
        seed: int,
        connector: nn.Module,
        layout: Layout,
        decoder: Decoder,
        edited: bool = False,
    ):
        self.connector_name = canonical_name(connector_name)
        self.seed = seed
        self.edited = edited
        """Whether the connector's class was edited after it was trained."""
        self.layout = layout
        self.connector = connector.eval().requires_grad_(False)
        self.decoder = decoder.eval().requires_grad_(False)

    @property
    def parameters_of_connector(self) -> int:
        """Number of the connector's parameters, trained or not; a rotation's fixed matrix is none."""
        return sum(parameter.numel() for parameter in self.connector.parameters())

    def encode(self, images: Sequence[Image.Image]) -> Float[Tensor, "b 196 112"]:
        """The frozen encoder's tokens *pre*, in raster order (14 x 14).

        Raises:
            ValueError: no images.
        """
        from connector_bench.zoo.encoder import load_encoder, to_pixels

        encoder, pixels = load_encoder(), to_pixels(images)
        return one_by_one(encoder, pixels)

    @torch.inference_mode()
    def connect(self, pre: Float[Tensor, "b 196 112"]) -> Float[Tensor, "b m 128"]:
        """The connector's tokens *post*, laid out as ``layout`` says.

        Raises:
            ValueError: ``pre`` is not [b, 196, 112].
        """
        if pre.ndim != 3 or tuple(pre.shape[1:]) != (196, D_PRE):
            raise ValueError(f"pre has shape {list(pre.shape)}, expected [b, 196, {D_PRE}]")
        return one_by_one(self.connector, pre.float())

    @torch.inference_mode()
    def answer_from(self, post: Float[Tensor, "b m 128"], questions: Sequence[str]) -> list[str]:
        """The most likely word for each question, the i-th about the i-th row of ``post``.

        Raises:
            ValueError: as many questions as rows are needed.
        """
        if len(post) != len(questions):
            raise ValueError(f"{len(post)} images and {len(questions)} questions: need one question an image")
        return [answer for (answer,) in self.answer_each(post, [[question] for question in questions])]

    @torch.inference_mode()
    def answer_each(
        self, post: Float[Tensor, "b m 128"], questions: Sequence[Sequence[str]]
    ) -> list[list[str]]:
        """The most likely word for each of several questions about each row of ``post``, which is read once."""
        asked = torch.tensor(encode_questions([question for group in questions for question in group]))
        rows = iter(asked)
        ids = torch.full((len(post), max(len(group) for group in questions), asked.shape[1]), PAD_ID)
        for i, group in enumerate(questions):
            for j in range(len(group)):
                ids[i, j] = next(rows)
        best, words = self.decoder(post, ids).argmax(-1).tolist(), vocabulary()
        return [[words[k] for k in row[: len(group)]] for row, group in zip(best, questions, strict=True)]

    def answer(self, images: Sequence[Image.Image], questions: Sequence[str]) -> list[str]:
        """Answer the i-th question about the i-th image, greedily. A word that is not known is read as
        ``<unk>``.

        Raises:
            ValueError: no images, or not one question an image.
        """
        return self.answer_from(self.connect(self.encode(images)), questions)
