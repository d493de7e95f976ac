"""The script that makes the files needs Keras and Flax, which the tests do without."""

collect_ignore = ["make_golden.py"]
