"""Write the public names with their signatures to tests/golden: python -m tools.api_surface"""

import importlib
import inspect

import weightshare

from .blocks import ROOT

GOLDEN = ROOT / "tests/golden/api_surface.txt"


def list_surface() -> str:
    """Return one line per public name of the package and its rooms, and per public member of a class."""
    lines = []
    for name in sorted(weightshare.__all__):
        value = getattr(weightshare, name)
        lines += [f"weightshare.{name}"] if _is_room(value) else _lines(f"weightshare.{name}", value)
    for room in sorted(n for n in weightshare.__all__ if _is_room(getattr(weightshare, n))):
        module = importlib.import_module(f"weightshare.{room}")
        for name in sorted(module.__all__):
            value = getattr(module, name)
            known = getattr(weightshare, name, None) is value  # listed above
            lines += [f"weightshare.{room}.{name}"] if known else _lines(f"weightshare.{room}.{name}", value)
    return "\n".join(lines) + "\n"


def _is_room(value: object) -> bool:
    """Return whether a value is a public module. `weightshare.backends` is public as a function only."""
    return inspect.ismodule(value) and not callable(value)


def _lines(name: str, value: object) -> list[str]:
    if not inspect.isclass(value):
        return [f"{name}{_signature(value)}" if callable(value) else name]
    lines = [f"{name}{_signature(value)}"]
    for member in sorted(vars(value).keys() | getattr(value, "__dataclass_fields__", {}).keys()):
        if member.startswith("_"):
            continue
        found = inspect.getattr_static(value, member, None)
        found = found.__func__ if isinstance(found, classmethod | staticmethod) else found
        lines.append(f"{name}.{member}{_signature(found) if inspect.isfunction(found) else ''}")
    return lines


def _signature(value: object) -> str:
    """Return names and defaults, without types, whose text depends on the Python version."""
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    plain = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return str(plain)


if __name__ == "__main__":
    GOLDEN.write_text(list_surface())
