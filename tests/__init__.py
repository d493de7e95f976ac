"""The tests; `helpers` has what several of them share."""
