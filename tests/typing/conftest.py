"""pyright checks this folder; pytest does not run it."""

collect_ignore_glob = ["check_*.py"]
