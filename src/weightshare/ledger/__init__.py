"""Parameter summaries of live models: owners and shared names, derivations of the counts, and totals."""

from .notes import Note
from .reconciliation import Reconciliation
from .result import Summary
from .rows import Part, Row
from .summarize import summary
from .totals import Totals

__all__ = ["Note", "Part", "Reconciliation", "Row", "Summary", "Totals", "summary"]
