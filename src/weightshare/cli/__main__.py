"""`python -m weightshare.cli`."""

from . import main

main()
