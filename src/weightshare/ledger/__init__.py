"""The ledger of a live model: which parameters it has, where their counts come from, and who shares them."""

from .reconcile import Reconciliation
from .result import Note, Summary
from .rows import Part, Row
from .summarize import summary
from .totals import Totals

__all__ = ["Note", "Part", "Reconciliation", "Row", "Summary", "Totals", "summary"]
