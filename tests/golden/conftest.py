"""Keep pytest from collecting the script that writes the files, since it needs Keras and Flax."""

collect_ignore = ["make_golden.py"]
