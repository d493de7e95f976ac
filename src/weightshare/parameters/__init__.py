"""The parameters of a live model: storages, groups of shared elements, and references between modules."""
