"""The images of a probe: named by what they hold, equal ones once, in an order and in groups that names decide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector_bench.api.given_pictures import GivenPictures, refuse_one, rgb_of
from connector_bench.api.spoken import say
from connector_bench.pictures import images_fingerprint, picture_hash, reason
from connector_bench.reconstruction.folds import image_key
from connector_bench.training.probe_figures import Half, halves
from connector_bench.training.tokens_of_probe import Group

SUCH_AS = 'such as processor(images=pictures, return_tensors="pt")["pixel_values"]'


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """Images, and which of them pass together for what."""

    images: tuple[tuple[str, Any], ...]
    groups: tuple[Group, ...]
    use: tuple[Half, ...]
    """What each group is for."""
    fingerprint: str

    @classmethod
    def of_tensors(cls, images: Iterable[Any], batch_size: int) -> ProbeSet:
        """Of what an encoder takes, one entry an image. TypeError for anything else."""
        if isinstance(images, (str, Path, Mapping)) or not (
            isinstance(images, Iterable)
            or hasattr(images, "__getitem__")  # a Dataset of torch has that alone
        ):
            raise TypeError(
                f"for a bare pair images are tensors as the encoder takes them, got {type(images).__name__}; {SUCH_AS}"
            )
        return cls._of(dict(map(_named_tensor, images)), batch_size)

    @classmethod
    def of_pictures(cls, images: Iterable[Any], batch_size: int) -> ProbeSet:
        """Of pictures of Pillow, arrays, tensors of uint8, paths or a folder. TypeError for anything else.

        Warns:
            UserWarning: files that cannot be read, which are left out.
        """
        return cls._of(dict(map(_named_picture, _pictures(images))), batch_size)

    @classmethod
    def _of(cls, named: dict[str, Any], batch_size: int) -> ProbeSet:
        ordered = sorted(named.items(), key=lambda item: image_key(item[0], salt="probe"))
        of_image = halves(len(named))
        groups: list[Group] = []
        use: list[Half] = []
        alike: dict[tuple[Half, Any], list[int]] = {}
        for half in dict.fromkeys(of_image):
            for place, (_, image) in enumerate(ordered):
                if of_image[place] == half:  # tensors of one shape alone can be stacked
                    alike.setdefault((half, getattr(image, "shape", None)), []).append(place)
        for (half, _), places in alike.items():
            for start in range(0, len(places), batch_size):
                groups.append(tuple(places[start : start + batch_size]))
                use.append(half)
        return cls(tuple(ordered), tuple(groups), tuple(use), images_fingerprint(named))

    def __len__(self) -> int:
        return len(self.images)


def _named_tensor(image: Any) -> tuple[str, Any]:
    import torch

    try:
        tensor = torch.as_tensor(image)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"for a bare pair an image is a tensor as the encoder takes it, got {type(image).__name__}; {SUCH_AS}"
        ) from None
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(str((tensor.dtype, tuple(tensor.shape))).encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest(), tensor


def _pictures(images: Iterable[Any]) -> Iterator[Any]:
    """Pictures as they were given, and those of files."""
    import torch

    if not isinstance(images, (str, Path, Iterable)) or isinstance(images, Mapping):
        raise TypeError(
            f"images is {type(images).__name__}; a folder, or pictures or paths in a list are needed"
        )
    if not (
        isinstance(images, torch.Tensor) and images.is_floating_point()
    ):  # of those each is refused below
        refuse_one(images)
    left_out: list[str] = []
    for one in [images] if isinstance(images, (str, Path)) else images:
        if not isinstance(one, (str, Path)):
            yield one
            continue
        given = GivenPictures.of(one)
        for document, path in zip(given.documents, given.paths, strict=True):
            try:
                picture = document.load()
            except Exception as error:  # decoders raise whatever they like
                left_out.append(f"{path}: {reason(error)}")
                continue
            yield picture
    if left_out:
        say([f"{len(left_out)} of the probe's pictures left out, the first is {left_out[0]}"])


def _named_picture(image: Any) -> tuple[str, Any]:
    rgb = rgb_of(image)
    return picture_hash(rgb), rgb
