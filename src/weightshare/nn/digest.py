"""Store integers in a state dict so that they survive what is done to weights: casts and averages.

A program that handles a state dict often treats all entries as weights: it casts them to half precision, or
averages those of several checkpoints and possibly casts the result back to integers. Therefore each integer
is stored as digits in base 32, and each digit as a small number with a margin. 16-bit floating-point types
represent these numbers exactly, and a number that rounding has changed by 1 is still read as the same digit.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

#: Each symbol is a digit below 32, plus 32 unless it is the last one of its number. Symbol s is stored as
#: 4 * s + 2, the center of the values from 4 * s to 4 * s + 3, which are all read as s.
_BASE = 32
_STEP = 4
#: Stored values below this limit are those of the first format, which stored the integers themselves.
_LEAST = 1.5
#: Maximum number of rounding errors in a value of the first format that was cast or averaged.
_ROUNDINGS = 8


def pack(numbers: Sequence[int]) -> list[int]:
    """Return integers of at least -1 in their stored form, as integers below 256.

    >>> pack([-1, 1, 40])
    [2, 10, 166, 6]
    """
    symbols: list[int] = []
    for number in numbers:
        rest = number + 1
        while rest >= _BASE:
            symbols.append(rest % _BASE + _BASE)
            rest //= _BASE
        symbols.append(rest)
    return [_STEP * symbol + _STEP // 2 for symbol in symbols]


def unpack(stored: Any) -> list[int] | None:
    """Return the integers that a tensor stores, or None if it does not store integers.

    Tensors of the first format hold the integers themselves, the first of which is 1.

    >>> unpack(torch.tensor(pack([-1, 1, 40])).to(torch.bfloat16))
    [-1, 1, 40]
    """
    if not isinstance(stored, Tensor) or stored.dim() != 1 or stored.is_complex() or not len(stored):
        return None
    if stored.is_floating_point() and not bool(stored.isfinite().all()):
        return None
    if float(stored[0]) < _LEAST:
        return None if stored.is_floating_point() else stored.tolist()
    numbers, number, place = [], 0, 1
    for value in stored.tolist():
        more, digit = divmod(int(value // _STEP), _BASE)
        if more not in (0, 1):
            return None
        number, place = number + digit * place, place * _BASE
        if not more:
            numbers.append(number - 1)
            number, place = 0, 1
    return numbers if place == 1 else None


def matches(stored: Any, numbers: Sequence[int]) -> bool:
    """Return whether a tensor stores these integers, in this format or in the first one.

    Floating-point tensors of the first format match if they are equal up to rounding.
    """
    if not isinstance(stored, Tensor) or stored.dim() != 1 or stored.is_complex():
        return False
    if unpack(stored) == list(numbers):
        return True
    if not stored.is_floating_point():
        return stored.tolist() == list(numbers)
    exact = torch.tensor(numbers, dtype=torch.float64, device=stored.device).to(stored.dtype)
    rounding = _ROUNDINGS * torch.finfo(stored.dtype).eps
    return stored.shape == exact.shape and torch.allclose(stored, exact, rtol=rounding, atol=0)
