"""Examples of Hypothesis strategies outside of a property test."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st


def draw_many(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    """Return examples of a strategy, the same in each run."""
    drawn = []

    @settings(
        max_examples=number,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example):
        drawn.append(example)

    collect()
    return drawn
