"""Read a call and its literal arguments. Nothing is ever evaluated, except sums and products of integers."""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass

from .._args import did_you_mean
from ..errors import SpecError
from ..sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled
from .sizes import MAX_NUMBER
from .statements import HINT, quote, read_dotted_name

MAX_ENTRIES = 64
MAX_EXPONENT = 30
_SHARINGS: dict[str, Callable[..., Sharing]] = {
    cls.__name__: cls for cls in (Full, Tiled, Regional, SharedAlong, Mapped, LowRank, Local)
}
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: int.__floordiv__,
    ast.Mod: int.__mod__,
    ast.Pow: pow,
}


@dataclass(frozen=True)
class Call:
    """A call `name(*args, **kwargs)` as written."""

    name: str
    args: tuple[ast.expr, ...]
    kwargs: tuple[tuple[str, ast.expr], ...]


def read_call(node: ast.expr) -> Call:
    """Return an expression as a call.

    Raises:
        SpecError: If the expression is anything but a call of a (dotted) name, or has starred arguments.

    Example:
        >>> read_call(ast.parse("nn.Linear(10, 2)", mode="eval").body).name
        'nn.Linear'
    """
    if not isinstance(node, ast.Call):
        raise SpecError("layer", "must be a call with arguments", _describe(node), HINT)
    name = read_dotted_name(node.func)
    if name is None:
        raise SpecError("layer", "must call a layer class by its name", _describe(node.func), HINT)
    is_starred = any(isinstance(argument, ast.Starred) for argument in node.args)
    if is_starred or any(keyword.arg is None for keyword in node.keywords):
        raise SpecError(name, "must list its arguments explicitly", "* or **", HINT)
    return Call(name, tuple(node.args), tuple((str(k.arg), k.value) for k in node.keywords))


def read_literal(where: str, word: str, node: ast.expr) -> object:
    """Return the value of a literal: a number, string, True, False, None or tuple, or integer arithmetic.

    Raises:
        SpecError: If it is anything else (such as a name or a call), a number beyond `MAX_NUMBER`, or a long
            tuple.

    >>> read_literal("Linear", "in_features", ast.parse("28 * 28", mode="eval").body)
    784
    """
    if isinstance(node, ast.Tuple | ast.List):
        if len(node.elts) > MAX_ENTRIES:
            got = f"{len(node.elts)} entries"
            raise SpecError(where, f"{word} must have at most {MAX_ENTRIES} entries", got)
        return tuple(read_literal(where, word, item) for item in node.elts)
    try:
        value = _calculate(node) if isinstance(node, ast.BinOp | ast.UnaryOp) else _read_constant(node)
    except OverflowError:
        value = MAX_NUMBER + 1
    except (ValueError, ZeroDivisionError):
        raise SpecError(
            where,
            f"{word} must be a literal number, tuple of numbers, string, True, False or None",
            _describe(node),
            "write the value itself; only integers with +, -, *, //, % and ** are calculated",
        ) from None
    if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        raise SpecError(where, f"{word} must be at most {MAX_NUMBER:,}", "a larger number")
    return value


def read_sharing(where: str, word: str, node: ast.expr) -> object:
    """Return the sharing of a call such as `Tiled(2)`, or the value of a literal."""
    if not isinstance(node, ast.Call):
        return read_literal(where, word, node)
    name = read_dotted_name(node.func)
    prefix, _, class_name = (name or "").rpartition(".")
    cls = _SHARINGS.get(class_name)
    if name is None or cls is None or prefix not in ("", "ws", "weightshare"):
        raise SpecError(
            where,
            f"{word} must be text or one of {', '.join(sorted(_SHARINGS))}",
            quote(name) if name else _describe(node),
            did_you_mean(name, _SHARINGS, f"use e.g. {word}=Tiled(2) or {word}='tiled:2'"),
        )
    values = [read_literal(where, word, item) for item in node.args]
    named = {str(k.arg): read_literal(where, word, k.value) for k in node.keywords}
    try:
        return cls(*values, **named)
    except TypeError:
        got = f"{len(values)} positional and {', '.join(map(quote, named)) or 'none'} by keyword"
        hint = f"use e.g. {word}=Tiled(2), LowRank(4, coefficients='free') or Local()"
        raise SpecError(f"{where}: {word}={name}", "must have valid arguments", got, hint) from None


def _read_constant(node: ast.expr) -> bool | str | int | float | None:
    value = node.value if isinstance(node, ast.Constant) else ...
    if value is None or isinstance(value, bool | str | int | float):
        return value
    raise ValueError


def _calculate(node: ast.expr) -> int | float:
    """Return the value of integer arithmetic or of a signed number.

    Raises:
        ValueError: If it is anything else, or too long.
        OverflowError: If a value is too large.
    """
    if sum(1 for _ in ast.walk(node)) > 4 * MAX_ENTRIES:
        raise ValueError
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_calculate(node.operand)
    if not isinstance(node, ast.BinOp):
        value = _read_constant(node)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        raise ValueError
    left, right = _calculate(node.left), _calculate(node.right)
    if type(node.op) not in _OPERATORS or not isinstance(left, int) or not isinstance(right, int):
        raise ValueError
    is_power = isinstance(node.op, ast.Pow)
    if is_power and right < 0:
        raise ValueError
    if max(abs(left), abs(right)) > MAX_NUMBER or (is_power and right > MAX_EXPONENT):
        raise OverflowError
    return _OPERATORS[type(node.op)](left, right)


def _describe(node: ast.expr) -> str:
    name = read_dotted_name(node)
    if name is not None:
        return f"the name {quote(name)}"
    kinds: dict[type[ast.expr], str] = {
        ast.Call: "a call",
        ast.Attribute: "a dotted name",
        ast.BinOp: "an arithmetic expression",
        ast.JoinedStr: "an f-string",
        ast.UnaryOp: "a signed expression",
        ast.Constant: "a constant of another type",
    }
    return kinds.get(type(node), f"an expression ({type(node).__name__})")
