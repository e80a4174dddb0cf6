"""Tensors out of the files that PyTorch wrote before 1.6, read as data: nothing in them is run.

Such a file is five pickles and then the numbers: two marks, what machine wrote it, the names and shapes of the tensors,
and the keys of their storages in the order in which those follow. A pickle is a program for a stack machine, which may
call anything; this one knows a tensor, an ordered dictionary and plain values, and turns away whatever else is asked
for. The layout is that of `torch/serialization.py`, `_legacy_save`; the operations are `pickletools`'.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from earnest.core.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {
    "torch FloatStorage": "float32",
    "torch DoubleStorage": "float64",
    "torch HalfStorage": "float16",
    "torch LongStorage": "int64",
}
PLAIN = ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1")
"""Operations that push what is written after them."""
CONSTANTS = {"NONE": None, "NEWFALSE": False, "NEWTRUE": True, "EMPTY_TUPLE": ()}


@dataclass(frozen=True, slots=True)
class Named:
    """Something that the program names and this reader does not look up."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that follow further down in the file."""

    dtype: str
    key: str


@dataclass(frozen=True, slots=True)
class Strided:
    """A tensor: a view into a storage, counted in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the file by their names, on the CPU.

    Raises:
        RunError: the file is not one that PyTorch wrote before 1.6, holds something other than tensors, or is cut off.
    """
    import torch

    try:
        with path.open("rb") as file:
            if (_value(file), _value(file)) != (MAGIC, PROTOCOL) or not _value(file)["little_endian"]:
                raise ValueError("its marks are others")
            described, keys = _value(file), _value(file)
            if not all(isinstance(tensor, Strided) for tensor in described.values()):
                raise ValueError("not all that it names are tensors")
            dtypes = {tensor.storage.key: getattr(torch, tensor.storage.dtype) for tensor in described.values()}
            storages = {key: _numbers(file, dtypes[key]) for key in keys}
        return {
            name: storages[its.storage.key].as_strided(its.size, its.stride, its.offset).clone()
            for name, its in described.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError) as error:
        raise RunError(f"{path} is no file of tensors as PyTorch wrote them before 1.6: {error}.") from error


def _numbers(file: BinaryIO, dtype: Any) -> Tensor:
    """The next storage: how many elements, and these."""
    import torch

    count = int.from_bytes(_exactly(file, 8), "little")
    return torch.frombuffer(bytearray(_exactly(file, count * dtype.itemsize)), dtype=dtype)


def _exactly(file: BinaryIO, num_bytes: int) -> bytes:
    content = file.read(num_bytes)
    if len(content) < num_bytes:
        raise ValueError("it ends too early")
    return content


def _value(file: BinaryIO) -> Any:
    """What the next pickle of the file describes."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    for operation, argument, _ in pickletools.genops(file):
        name = operation.name
        if name in PLAIN:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]  # type: ignore[index]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])  # type: ignore[index]
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "GLOBAL":
            stack.append(Named(str(argument)))
        elif name in _MAKES:
            _MAKES[name](stack, marks)
        elif name not in ("PROTO", "STOP"):
            raise ValueError(f"its program has {name}, which tensors do not need")
    (value,) = stack
    return value


def _since_mark(stack: list[Any], marks: list[int]) -> list[Any]:
    start = marks.pop()
    taken = stack[start:]
    del stack[start:]
    return taken


def _tuple(stack: list[Any], marks: list[int]) -> None:
    stack.append(tuple(_since_mark(stack, marks)))


def _append_all(stack: list[Any], marks: list[int]) -> None:
    taken = _since_mark(stack, marks)
    stack[-1].extend(taken)


def _set_all(stack: list[Any], marks: list[int]) -> None:
    taken = _since_mark(stack, marks)
    stack[-1].update(zip(taken[::2], taken[1::2], strict=True))


def _set(stack: list[Any], marks: list[int]) -> None:
    value, key = stack.pop(), stack.pop()
    stack[-1][key] = value


def _storage(stack: list[Any], marks: list[int]) -> None:
    """("storage", type, key, device, elements, view) to a storage; one that views another is of a still older form."""
    kind, its_type, key, _, _, view = stack.pop()
    if kind != "storage" or view is not None or its_type.name not in DTYPES:
        raise ValueError(f"it holds a {kind} of {its_type}")
    stack.append(Storage(DTYPES[its_type.name], key))


def _call(stack: list[Any], marks: list[int]) -> None:
    """The two calls that a state dictionary is made of, described rather than made."""
    arguments, what = stack.pop(), stack.pop()
    if what == Named("collections OrderedDict") and arguments == ():
        stack.append({})
    elif what == Named("torch._utils _rebuild_tensor_v2") and isinstance(arguments[0], Storage):
        stack.append(Strided(*arguments[:4]))
    else:
        raise ValueError(f"its program calls {what}, which tensors do not need")


_MAKES: dict[str, Callable[[list[Any], list[int]], None]] = {
    "EMPTY_DICT": lambda stack, _: stack.append({}),
    "EMPTY_LIST": lambda stack, _: stack.append([]),
    "TUPLE": _tuple,
    "TUPLE1": lambda stack, _: stack.append((stack.pop(),)),
    "TUPLE2": lambda stack, _: stack.append((stack.pop(-2), stack.pop())),
    "TUPLE3": lambda stack, _: stack.append((stack.pop(-3), stack.pop(-2), stack.pop())),
    "APPENDS": _append_all,
    "SETITEM": _set,
    "SETITEMS": _set_all,
    "BINPERSID": _storage,
    "REDUCE": _call,
    "BUILD": lambda stack, _: stack.pop(),  # attributes of the dictionary: versions of modules, which nothing here uses
}
