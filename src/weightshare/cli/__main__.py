"""Run the command line as `python -m weightshare.cli`."""

from . import main

main()
