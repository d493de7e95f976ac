"""Commands that refuse an option that is given twice."""

from typing import Any

from typer.core import TyperCommand


class OnceCommand(TyperCommand):
    """A command that refuses an option that is given twice, instead of ignoring the first value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for param in order:
            if order.count(param) > 1 and not param.multiple:
                ctx.fail(f"Option {param.opts[0]!r} must be given only once.")
        return super().parse_args(ctx, args)
