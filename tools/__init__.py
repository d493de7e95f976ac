"""Scripts that write figures into the pages: `python -m tools.NAME`; the Makefile calls them."""
