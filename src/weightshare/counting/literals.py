"""From text to a call's name and literal arguments, by Python's parser; nothing is ever evaluated."""

import ast
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from .._args import did_you_mean
from ..errors import SpecError
from ..sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled
from .sizes import MAX_NUMBER

MAX_TEXT = 1000
MAX_ENTRIES = 64
_SHARINGS: dict[str, Callable[..., Sharing]] = {
    cls.__name__: cls for cls in (Full, Tiled, Regional, SharedAlong, Mapped, LowRank, Local)
}
EXAMPLE = 'write it as in "Conv2d(3, 96, 11, stride=4)"'


@dataclass(frozen=True)
class Call:
    """`name(*args, **kwargs)` as it was written."""

    name: str
    args: tuple[ast.expr, ...]
    kwargs: tuple[tuple[str, ast.expr], ...]


def read_call(text: object) -> Call:
    """The call that `text` is.

    Raises:
        SpecError: text that is too long, not Python, or anything but one call of a (dotted) name.

    Example:
        >>> read_call("nn.Linear(10, 2)").name
        'nn.Linear'
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        got = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
        raise SpecError("layer", f"must be text of at most {MAX_TEXT:,} characters", got, EXAMPLE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError("layer", "must be one call in Python's notation", shown(text), EXAMPLE) from None
    if not isinstance(body, ast.Call):
        raise SpecError("layer", "must be one call with its arguments", shown(text), EXAMPLE)
    name = _dotted(body.func)
    if name is None:
        raise SpecError("layer", "must be the call of a layer by its name", shown(text), EXAMPLE)
    starred = [a for a in body.args if isinstance(a, ast.Starred)]
    if starred or any(k.arg is None for k in body.keywords):
        raise SpecError(name, "must have its arguments written out", "* or **", EXAMPLE)
    return Call(name, tuple(body.args), tuple((str(k.arg), k.value) for k in body.keywords))


def literal(where: str, word: str, node: ast.expr) -> object:
    """The number, text, True, False, None or tuple that `node` is written as.

    Raises:
        SpecError: anything else (a name, a call, a sum), a number beyond `MAX_NUMBER`, or a long tuple.
    """
    if isinstance(node, ast.Tuple | ast.List):
        if len(node.elts) > MAX_ENTRIES:
            got = f"{len(node.elts)} entries"
            raise SpecError(where, f"{word} must have at most {MAX_ENTRIES} entries", got, "give one an axis")
        return tuple(literal(where, word, item) for item in node.elts)
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    constant = node.operand if negative else node  # type: ignore[union-attr]
    value = constant.value if isinstance(constant, ast.Constant) else ...
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and abs(value) > MAX_NUMBER:  # type: ignore[arg-type]
        raise SpecError(
            where, f"{word} must be at most {MAX_NUMBER:,}", "a larger number", "use a smaller one"
        )
    if number:
        return -value if negative else value  # type: ignore[operator]
    if negative or not (value is None or isinstance(value, bool | str)):
        raise SpecError(
            where,
            f"{word} must be written out as a number, a tuple of numbers, text, True, False or None",
            _kind(node),
            "expressions are not evaluated: put in the value itself",
        )
    return value


def read_sharing(where: str, word: str, node: ast.expr) -> object:
    """A sharing written as a call, such as `Tiled(2)`; else the literal that `node` is."""
    if not isinstance(node, ast.Call):
        return literal(where, word, node)
    name = _dotted(node.func)
    cls = _SHARINGS.get((name or "").rpartition(".")[2])
    if name is None or cls is None or name.rpartition(".")[0] not in ("", "ws", "weightshare"):
        raise SpecError(
            where,
            f"{word} must be text or one of {', '.join(sorted(_SHARINGS))}",
            shown(name) if name else _kind(node),
            did_you_mean(name, _SHARINGS, f"write it as in {word}=Tiled(2) or {word}='tiled:2'"),
        )
    values = [literal(where, word, item) for item in node.args]
    named = {str(k.arg): literal(where, word, k.value) for k in node.keywords}
    try:
        return cls(*values, **named)
    except TypeError:
        got = f"{len(values)} by place and {', '.join(map(shown, named)) or 'none'} by name"
        hint = f"write it as in {word}=Tiled(2), LowRank(4, coefficients='free') or Local()"
        raise SpecError(f"{where}: {word}={name}", "must have its own arguments", got, hint) from None


def shown(text: str) -> str:
    """Text from outside, with control characters escaped and not longer than a line."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _dotted(node: ast.expr) -> str | None:
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else None


def _kind(node: ast.expr) -> str:
    kinds = {
        ast.Call: "a call",
        ast.Name: "a name",
        ast.Attribute: "a dotted name",
        ast.BinOp: "a sum or product",
        ast.JoinedStr: "an f-string",
        ast.UnaryOp: "a signed expression",
        ast.Constant: "a constant of another kind",
    }
    return kinds.get(type(node), f"an expression ({type(node).__name__})")
