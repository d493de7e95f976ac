"""Commands that refuse an option that is given twice, and quote a value that they cannot read."""

from typing import Any

from typer import BadParameter
from typer.core import TyperCommand

from ..views.escape import quote


class OnceCommand(TyperCommand):
    """A command that refuses an option that is given twice, instead of ignoring the first value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given, _, order = self.make_parser(ctx).parse_args(list(args))
        for param in order:
            if order.count(param) > 1 and not param.multiple:
                ctx.fail(f"Option {param.opts[0]!r} must be given only once.")
        try:
            return super().parse_args(ctx, args)
        except BadParameter as error:
            value = None if error.param is None else given.get(str(error.param.name))
            if isinstance(value, str) and error.message.startswith("Input should"):
                expected = error.message.partition(", unable")[0].replace("Input should", "must")
                error.message = f"{expected}, got {quote(value)}."
            raise
