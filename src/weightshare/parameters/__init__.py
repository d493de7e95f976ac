"""The parameters of a live model: their storages, their names in groups, and references between modules."""
