"""Find the layer in a line of code or of a printed model. Nothing is ever evaluated."""

import ast
import re
import warnings

from ..errors import SpecError

MAX_TEXT = 20_000
HINT = 'use e.g. "Conv2d(3, 96, 11, stride=4)"'
#: Methods of a module that return it.
_METHODS = ("to", "cuda", "cpu", "float", "half", "double", "bfloat16", "eval", "train", "requires_grad_")
#: Start of a line of a printed model, such as "  (conv1): Conv2d(".
_PRINTED_NAME = re.compile(r"\s*\(([\w-]+)\): ")


def read_expression(text: object) -> ast.expr:
    """Return the expression of the layer in a text.

    The layer may be assigned to a name, be followed by a comma or a comment, be added to a model, be called
    with the name of its input, and be printed by torch. Only one layer may be in the text, except for a
    `Sequential` to which the following lines add layers.

    Raises:
        SpecError: If the text is too long, or is not one line of code with an expression.

    >>> ast.unparse(read_expression("self.conv = nn.Conv2d(3, 8, 3)  # RGB"))
    'nn.Conv2d(3, 8, 3)'
    >>> ast.unparse(read_expression("(fc): Linear(in_features=784, out_features=10, bias=True)"))
    'Linear(in_features=784, out_features=10, bias=True)'
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        got = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
        raise SpecError("layer", f"must be text of at most {MAX_TEXT:,} characters", got, HINT)
    code = _rewrite_printed(text.strip())
    statements = _parse(code) or (_parse(f"{{{code}}}") if ":" in code else [])  # an entry of a dictionary
    value = _find_value(statements[0]) if len(statements) == 1 else _join_added(statements)
    if value is None:
        raise SpecError("layer", "must be one call in Python syntax", quote(text), HINT)
    return _unwrap(value)


def quote(text: str) -> str:
    """Quote text from outside, shortened to one line and with control characters escaped."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def read_dotted_name(node: ast.expr) -> str | None:
    """Return a name such as "nn.Conv2d", or None for any other expression."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else None


def read_named(node: ast.expr) -> tuple[str | None, ast.expr]:
    """Return the name and the value of a pair such as `("conv1", Conv2d(3, 8, 3))`."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 2:
        name = node.elts[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            return name.value, node.elts[1]
    return None, node


def _parse(code: str) -> list[ast.stmt]:
    """Return the statements of a text; none if it is not valid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _join_added(statements: list[ast.stmt]) -> ast.expr | None:
    """Return `model = Sequential()` and the lines `model.add(...)` after it as one Sequential."""
    values = [_find_value(statement) for statement in statements]
    first = values[0] if values else None
    if not isinstance(first, ast.Call) or not (read_dotted_name(first.func) or "").endswith("Sequential"):
        return None
    added = [None if value is None else _find_added(value) for value in values[1:]]
    known = [layer for layer in added if layer is not None]
    return ast.Call(first.func, [*first.args, *known], first.keywords) if len(known) == len(added) else None


def _find_added(node: ast.expr) -> ast.expr | None:
    """Return the layer in a call such as `model.add(layer)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.keywords:
        return None
    is_added = node.func.attr in ("add", "append") and len(node.args) == 1
    return node.args[0] if is_added and isinstance(node.args[0], ast.Call) else None


def _find_value(statement: ast.stmt) -> ast.expr | None:
    if isinstance(statement, ast.Expr | ast.Assign | ast.Return):
        return statement.value
    if isinstance(statement, ast.AnnAssign):
        return statement.annotation if statement.value is None else statement.value
    return None


def _unwrap(node: ast.expr) -> ast.expr:
    """Return the layer itself without what may surround it in code."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 1:  # a trailing comma
        node = node.elts[0]
    if isinstance(node, ast.Dict) and len(node.values) == 1:
        node = node.values[0]
    node = read_named(node)[1]
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
        node = node.func.value
    added = _find_added(node)
    if added is not None:
        return added
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Call):
        inputs = [read_dotted_name(argument) for argument in node.args]
        if inputs and None not in inputs:  # a layer that is called with its input, as in Keras
            return node.func
    return node


def _rewrite_printed(text: str) -> str:
    """Return a printed model as a call with named layers; other text unchanged.

    >>> print(_rewrite_printed("Sequential(\\n  (0): ReLU()\\n)"))
    Sequential(
    ('0', ReLU()),
    )
    """
    lines = text.splitlines()
    if not any(_PRINTED_NAME.match(line) for line in lines):
        return text
    rewritten: list[str] = []
    closings: list[str] = []
    for line in lines:
        named = _PRINTED_NAME.match(line)
        rest = line[named.end() :] if named else line.strip()
        start, end = (f"({named[1]!r}, ", "),") if named else ("", "")
        if rest.endswith("(") and (named or not rewritten):
            closings.append(end)
            rewritten.append(start + rest)
        elif rest == ")" and closings:
            rewritten.append(rest + closings.pop())
        else:
            rewritten.append(start + rest + end)
    return "\n".join(rewritten)
