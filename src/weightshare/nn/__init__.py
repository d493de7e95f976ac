"""Layers: convolutions with any degree of weight sharing, tied decoders, pattern layers and blur pooling.

The public names are in `__init__.pyi`. Each layer loads its module on first use, because `SharedLinear` needs
scipy, which takes longer to import than all other layers. Importing this package registers the operators that
programs from `torch.export` call.
"""

import lazy_loader

from ..backends import operators as _operators  # noqa: F401  # pyright: ignore[reportUnusedImport]

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
