"""How much should the weights of a layer be shared? Layers, counts and studies for every degree of sharing.

`__init__.pyi` lists the public names, for type checkers and at run time. Importing the package loads neither
torch nor numpy, since each name loads its module on first use (PEP 562).
"""

import lazy_loader

from ._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
