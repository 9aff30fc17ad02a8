"""Values between ranks. Tensors and arrays cross as they are, from device to device where the process group can."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from connector_bench.processes.group import (
    MeasurementFailed,
    connected,
    cpu_group,
    error_text,
    patiently,
    rank_and_size,
)
from connector_bench.processes.meeting import meet

if TYPE_CHECKING:
    from torch import Tensor

    from connector_bench.processes.packing import Packed, Shape

T = TypeVar("T")
R = TypeVar("R")

PIECE = 2**28
"""Bytes that cross at a time."""
Shown = Callable[[str], AbstractContextManager[None]]
"""Shows whoever waits what is being worked on, such as `progress.doing`."""


def unshown(title: str) -> AbstractContextManager[None]:
    """Shows nothing: of values that cross at once."""
    del title
    return nullcontext()


def gather_all(value: T) -> list[T]:
    """Every rank's value, in rank order, on every rank; for small values."""
    import torch.distributed as dist

    _, size = rank_and_size()
    if size == 1:
        return [value]
    meet()
    received: list[T | None] = [None] * size
    patiently(lambda: dist.all_gather_object(received, value, group=cpu_group()))
    return received  # type: ignore[return-value]


def on_first_rank(combine: Callable[[list[T]], R], value: T, shown: Shown = unshown) -> R:
    """`combine` of all ranks' values, computed on rank 0 alone and handed to all.

    An error on rank 0 is raised on every rank, so that none waits for an answer that never comes.
    """
    return first_rank_takes_in_turn(value, lambda parts: combine(list(parts)), shown)


def first_rank_takes_in_turn(value: T, combine: Callable[[Iterator[T]], R], shown: Shown = unshown) -> R:
    """As `on_first_rank`, for values so large that rank 0 should hold one other rank's at a time.

    Values come in the order of ranks, whichever is ready first.
    """
    rank, size = rank_and_size()
    if size == 1:
        return combine(iter([value]))
    with shown("waiting for the other ranks"):
        meet()
    if rank != 0:
        _wait_for_turn()
        _send(value, 0)
        return _handed_to_all(None, shown)

    waiting = deque(range(1, size))

    def all_of_them() -> R:
        def own_first() -> Iterator[T]:
            yield value
            while waiting:
                with shown(f"taking in what rank {waiting[0]} of {size} has gathered"):
                    received = _receive(waiting.popleft())
                yield received

        try:
            return combine(own_first())
        finally:
            while waiting:  # whoever an error has left waiting for its turn would wait for ever
                _drain(waiting.popleft())

    return _handed_to_all(all_of_them, shown)


def _wait_for_turn() -> None:
    import torch
    import torch.distributed as dist

    patiently(lambda: dist.recv(torch.zeros(1), 0, group=cpu_group()))


def _give_turn(rank: int) -> None:
    import torch
    import torch.distributed as dist

    with connected():
        dist.send(torch.zeros(1), rank, group=cpu_group())


def _send(value: object, rank: int) -> None:
    import torch.distributed as dist

    from connector_bench.processes.packing import Packed

    packed = Packed.of(value)
    with connected():
        dist.send_object_list([packed.structure, packed.shapes], dst=rank, group=cpu_group())
        direct = _any_carried(packed.shapes) and _answer_of(rank)
        for tensor in packed.tensors:
            _carried(tensor, lambda piece, group: dist.send(piece, rank, group=group), direct)


def _receive(rank: int) -> Any:
    """What a rank sends once it is its turn, on this process's device of the sender's kind, or on the CPU.

    All of a value's tensors are on the CPU where the device has no room for each.
    """
    import torch.distributed as dist

    _give_turn(rank)
    with connected():
        structure, shapes = _head_from(rank)
        tensors = _room_for(shapes)
        direct = _any_carried(shapes) and tensors is not None
        if _any_carried(shapes):
            _answer(rank, direct)
        tensors = tensors or [_empty(shape, "cpu") for shape in shapes]
        for tensor in tensors:
            _filled(tensor, lambda piece, group: dist.recv(piece, rank, group=group), direct)
    return _there(structure, shapes, tensors)


def _drain(rank: int) -> None:
    """Let a rank send what nobody wants any more, one tensor at a time."""
    import torch.distributed as dist

    _give_turn(rank)
    with connected():
        _, shapes = _head_from(rank)
        if _any_carried(shapes):
            _answer(rank, False)
        for shape in shapes:
            _filled(_empty(shape, "cpu"), lambda piece, group: dist.recv(piece, rank, group=group), False)


def _head_from(rank: int) -> tuple[bytes, Sequence[Shape]]:
    import torch.distributed as dist

    head: list[Any] = [None, None]
    dist.recv_object_list(head, src=rank, group=cpu_group())
    return head[0], head[1]


def _answer(rank: int, direct: bool) -> None:
    """Tell the sender, before it sends, whether there is room on the device that its group carries to."""
    import torch
    import torch.distributed as dist

    dist.send(torch.tensor([float(direct)]), rank, group=cpu_group())


def _answer_of(rank: int) -> bool:
    import torch
    import torch.distributed as dist

    said = torch.zeros(1)
    dist.recv(said, rank, group=cpu_group())
    return bool(said)


def _there(structure: bytes, shapes: Sequence[Shape], tensors: Sequence[Tensor]) -> Any:
    """The value, its tensors on this process's device of the sender's kind; all on the CPU where that has no room."""
    import torch

    from connector_bench.processes.packing import Packed

    try:
        placed = [tensor.to(shape.device) for shape, tensor in zip(shapes, tensors, strict=True)]
    except torch.OutOfMemoryError:
        placed = [tensor.cpu() for tensor in tensors]
    return Packed(structure, placed).value()


def _handed_to_all(work: Callable[[], R] | None, shown: Shown) -> R:
    """What `work` gives on rank 0, or its error, on every rank."""
    from connector_bench.processes.packing import Packed

    head: list[Any] = [None]
    result: Any = None
    packed: Packed | None = None
    if work is not None:
        try:
            result = work()
            packed = Packed.of(result)
            head = [(packed.structure, packed.shapes, None)]
        except Exception as error:
            packed, head = None, [(b"", [], error_text(error))]
    with shown("handing what was found to the other ranks"):
        found = _spread(head, packed)
    return found if packed is None else result


def _spread(head: list[Any], packed: Packed | None) -> Any:
    """Rank 0's value, put together on the others. MeasurementFailed where it sends an error instead."""
    import torch.distributed as dist

    def spread(piece: Tensor, group: Any) -> None:
        dist.broadcast(piece, 0, group=group)

    patiently(lambda: dist.broadcast_object_list(head, src=0, group=cpu_group()))
    structure, shapes, message = head[0]
    if message is not None:
        raise MeasurementFailed(message)
    with connected():
        tensors = packed.tensors if packed is not None else _room_for(shapes)
        direct = _any_carried(shapes) and _all_have_room(tensors is not None)
        if packed is not None:
            for tensor in packed.tensors:
                _carried(tensor, spread, direct)
            return None
        if tensors is None or not direct:
            tensors = [_empty(shape, "cpu") for shape in shapes]
        for tensor in tensors:
            _filled(tensor, spread, direct)
    return _there(structure, shapes, tensors)


def _all_have_room(mine: bool) -> bool:
    import torch
    import torch.distributed as dist

    room = torch.tensor([float(mine)])
    dist.all_reduce(room, dist.ReduceOp.MIN, group=cpu_group())
    return bool(room)


Carry = Callable[["Tensor", Any], object]
"""Moves one piece of a tensor's bytes through a group."""


def _carried(tensor: Tensor, carry: Carry, direct: bool) -> None:
    """Every piece of a tensor, from its own device where the group can and the receivers have room, else by the CPU."""
    import torch

    there = direct and _carries(tensor.device.type)
    values = tensor.reshape(-1).view(torch.uint8)
    for piece in values.split(PIECE) if len(values) else ():
        carry(piece if there else piece.cpu(), None if there else cpu_group())


def _filled(tensor: Tensor, carry: Carry, direct: bool) -> None:
    """Write what comes in over a tensor that `_room_for` or `_empty` has made, piece by piece."""
    import torch

    there = direct and _carries(tensor.device.type)
    values = tensor.reshape(-1).view(torch.uint8)
    for piece in values.split(PIECE) if len(values) else ():
        carry(piece, None if there else cpu_group())


def _room_for(shapes: Sequence[Shape]) -> list[Tensor] | None:
    """Tensors to be filled, each where the group carries it to; None where a device has no room for them all."""
    import torch

    try:
        return [_empty(shape, shape.device if _carries(shape.device) else "cpu") for shape in shapes]
    except torch.OutOfMemoryError:
        return None


def _empty(shape: Shape, device: str) -> Tensor:
    import torch

    return torch.empty(shape.sizes, dtype=shape.dtype, device=device)


def _any_carried(shapes: Sequence[Shape]) -> bool:
    return any(_carries(shape.device) for shape in shapes)


def _carries(device: str) -> bool:
    """Whether the run's own group carries tensors of this device without a way through the CPU."""
    import torch.distributed as dist

    if device == "cpu":
        return False
    config = dist.get_backend_config().split(",")
    return f"{device}:nccl" in config
