"""Models, data and functions that several tests use."""
