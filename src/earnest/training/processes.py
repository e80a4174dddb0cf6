"""Many processes as one: what torchrun sets up, the one all-reduce a step, and how they decide alike.

Each process does what the others do. What could differ between them (times, scores, signals) is decided by process 0,
or by any of them, and the others follow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """This process's number, 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started (NCCL on GPUs, gloo on CPUs); nothing when it did not."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    # Its functions' defaults hold the world's group as it is when they are first imported, which an optimiser may do in
    # mid-training: the group would outlive its destruction, and gloo's threads abort the process as Python ends.
    import torch.distributed.nn.functional

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group(backend)
    try:
        yield
        wait()  # gloo aborts a process whose peer has left while it still holds a connection
    finally:
        dist.destroy_process_group()


def sum_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one flat all-reduce."""
    if world() == 1:
        return
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, summed in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(summed.view_as(tensor))


@torch.no_grad()
def same_everywhere(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by that of process 0, in place, in one flat broadcast of bytes."""
    if world() == 1 or not tensors:
        return
    parts = [tensor.detach().reshape(-1).view(torch.uint8) for tensor in tensors]
    flat = torch.cat(parts)
    dist.broadcast(flat, 0)
    for tensor, content in zip(tensors, flat.split([len(part) for part in parts]), strict=True):
        tensor.copy_(content.clone().view(tensor.dtype).view_as(tensor))


def of_first(value: Any) -> Any:
    """The `value` that process 0 has; plain JSON."""
    if world() == 1:
        return value
    content = json.dumps(value).encode()
    length = torch.tensor(len(content))
    dist.broadcast(length, 0)
    text = torch.frombuffer(bytearray(content if rank() == 0 else int(length)), dtype=torch.uint8)
    dist.broadcast(text, 0)
    return json.loads(text.numpy().tobytes())


def anywhere(flag: bool) -> bool:
    """Whether `flag` is true in any process."""
    if world() == 1:
        return flag
    word = torch.tensor(float(flag))
    dist.all_reduce(word, dist.ReduceOp.MAX)
    return bool(word)


def wait() -> None:
    """Go on when every process has come this far."""
    if world() > 1:
        anywhere(False)
