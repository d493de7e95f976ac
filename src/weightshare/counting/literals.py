"""Read a call and its literal arguments from text with Python's parser. Nothing is ever evaluated."""

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
_HINT = 'use e.g. "Conv2d(3, 96, 11, stride=4)"'


@dataclass(frozen=True)
class Call:
    """A call `name(*args, **kwargs)` as written."""

    name: str
    args: tuple[ast.expr, ...]
    kwargs: tuple[tuple[str, ast.expr], ...]


def read_call(text: object) -> Call:
    """Parse text that consists of a single call.

    Raises:
        SpecError: If the text is too long, is not valid Python, or is anything but one call of a (dotted)
            name.

    Example:
        >>> read_call("nn.Linear(10, 2)").name
        'nn.Linear'
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        got = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
        raise SpecError("layer", f"must be text of at most {MAX_TEXT:,} characters", got, _HINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError("layer", "must be one call in Python syntax", quote(text), _HINT) from None
    if not isinstance(body, ast.Call):
        raise SpecError("layer", "must be a call with arguments", quote(text), _HINT)
    name = _read_dotted_name(body.func)
    if name is None:
        raise SpecError("layer", "must call a layer class by its name", quote(text), _HINT)
    is_starred = any(isinstance(argument, ast.Starred) for argument in body.args)
    if is_starred or any(keyword.arg is None for keyword in body.keywords):
        raise SpecError(name, "must list its arguments explicitly", "* or **", _HINT)
    return Call(name, tuple(body.args), tuple((str(k.arg), k.value) for k in body.keywords))


def read_literal(where: str, word: str, node: ast.expr) -> object:
    """Return the value of a literal: a number, string, True, False, None or tuple.

    Raises:
        SpecError: If it is anything else (such as a name, a call or a sum), a number beyond `MAX_NUMBER`, or
            a long tuple.
    """
    if isinstance(node, ast.Tuple | ast.List):
        if len(node.elts) > MAX_ENTRIES:
            got = f"{len(node.elts)} entries"
            raise SpecError(where, f"{word} must have at most {MAX_ENTRIES} entries", got)
        return tuple(read_literal(where, word, item) for item in node.elts)
    negated = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else None
    is_negative, constant = negated is not None, node if negated is None else negated
    value = constant.value if isinstance(constant, ast.Constant) else ...
    if isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) > MAX_NUMBER:
            raise SpecError(where, f"{word} must be at most {MAX_NUMBER:,}", "a larger number")
        return -value if is_negative else value
    if is_negative or not (value is None or isinstance(value, bool | str)):
        raise SpecError(
            where,
            f"{word} must be a literal number, tuple of numbers, string, True, False or None",
            _describe(node),
            "write the value itself, since expressions are not evaluated",
        )
    return value


def read_sharing(where: str, word: str, node: ast.expr) -> object:
    """Return the sharing of a call such as `Tiled(2)`, or the value of a literal."""
    if not isinstance(node, ast.Call):
        return read_literal(where, word, node)
    name = _read_dotted_name(node.func)
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


def quote(text: str) -> str:
    """Quote text from outside, shortened to one line and with control characters escaped."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _read_dotted_name(node: ast.expr) -> str | None:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else None


def _describe(node: ast.expr) -> str:
    kinds: dict[type[ast.expr], str] = {
        ast.Call: "a call",
        ast.Name: "a name",
        ast.Attribute: "a dotted name",
        ast.BinOp: "an arithmetic expression",
        ast.JoinedStr: "an f-string",
        ast.UnaryOp: "a signed expression",
        ast.Constant: "a constant of another type",
    }
    return kinds.get(type(node), f"an expression ({type(node).__name__})")
