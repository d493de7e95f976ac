"""The ledger of a live model: which parameters it has, where their numbers come from, who shares them."""

from .forward import raised_in
from .groups import DECLARED, REFERENCES, Group, Name, Reference, chain_of, groups_of
from .memory import overlap, storage_of
from .modules import declared_name, joined
from .reconcile import Reconciliation
from .result import Note, Summary
from .rows import Part, Row
from .summarise import summary
from .totals import Totals

__all__ = [
    "DECLARED",
    "REFERENCES",
    "Group",
    "Name",
    "Note",
    "Part",
    "Reconciliation",
    "Reference",
    "Row",
    "Summary",
    "Totals",
    "chain_of",
    "declared_name",
    "groups_of",
    "joined",
    "overlap",
    "raised_in",
    "storage_of",
    "summary",
]
