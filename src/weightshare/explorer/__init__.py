"""The explorer: an interactive page that shows what sharing weights means.

The page is one file that loads nothing. Its source is in `web/`; the built script and style sheet are part of
the package. This package takes data and returns HTML; it does not depend on the layers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
