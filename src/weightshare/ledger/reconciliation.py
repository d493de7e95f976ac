"""Explain a differing count by counting conventions whose amounts add up exactly to the difference.

With enough conventions, any number can be explained. An explanation is therefore accepted only if it is
plausible by itself, or if few other numbers have an explanation that is as plausible.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from .._args import check_integer

#: Maximum number of conventions per explanation.
MAX_CONVENTIONS = 3
#: Explanations whose rarities add up to at most this number are always accepted.
_PLAUSIBLE = 2
#: Any other explanation is accepted if at most one in this many differences, up to the size of the one to
#: explain, has an explanation that is as plausible.
_ONE_IN = 20
#: Maximum number of alternatives.
_MAX_ALTERNATIVES = 2

#: Rarities of the numbers of classes of well-known data sets, and of small ones.
_KNOWN_CLASSES = {
    **dict.fromkeys(range(1, 21), 2),
    **dict.fromkeys((21, 26, 37, 43, 47, 62, 80, 81, 91, 101, 102, 120, 150, 196, 200, 256, 257, 365), 2),
    **dict.fromkeys((397, 400, 600, 700, 1001, 8142, 10_000, 10_450, 11_221, 11_821, 21_841, 21_843), 2),
    **dict.fromkeys((1, 2, 10, 100, 1000), 1),
}
#: With fewer elements per class or embedding, too many differences are divisible by chance.
_FEW_PER_ITEM = 16
#: Largest factor by which a vocabulary may be smaller.
_LARGEST_CUT = 8


@dataclass(frozen=True)
class Convention:
    """Something that a count may include or leave out.

    Args:
        label: Name of what is included or left out.
        amount: Elements that the convention adds; negative if it leaves elements out.
        about: Names of those elements. Two conventions about the same name cannot be combined.
        rarity: 1 for a common convention, more for a rarer one.
    """

    label: str
    amount: int
    about: frozenset[str]
    rarity: int = 1


@dataclass(frozen=True)
class Resizable:
    """Layers that another version of the model has with another number of classes or embeddings.

    Args:
        name: Names of the layers.
        noun: "classes" or "embeddings".
        size: Number of classes or embeddings.
        per_item: Elements per class or embedding.
        about: Names of the parameters, as in `Convention`.
    """

    name: str
    noun: str
    size: int
    per_item: int
    about: frozenset[str]

    def resize(self, size: int) -> Convention:
        """Return the convention that counts the layers with another size."""
        change = abs(size - self.size)
        noun = {"classes": "class", "embeddings": "embedding"}[self.noun] if size == 1 else self.noun
        label = (
            f"for {size:,} {noun} instead of {self.size:,} in {self.name} ({change:,} * {self.per_item:,})"
        )
        return Convention(label, (size - self.size) * self.per_item, self.about, self.get_rarity(size))

    @property
    def least(self) -> int:
        """Smallest size that is considered."""
        return 1 if self.noun == "classes" else max(1, self.size // _LARGEST_CUT)

    def get_rarity(self, size: int) -> int:
        """Return the rarity of another size."""
        known = _KNOWN_CLASSES if self.noun == "classes" else {}
        return known.get(size, 2 if self.per_item >= _FEW_PER_ITEM else 4)

    def count_sizes(self, before: int, limit: int, rarity: int) -> int:
        """Count the sizes of at most this rarity for which `before + amount` is between -limit and limit."""
        least = max(self.least, self.size - (limit + before) // self.per_item)
        most = self.size + (limit - before) // self.per_item
        if rarity >= self.get_rarity(0):
            return max(0, most - least + 1)
        return sum(least <= n <= most and self.get_rarity(n) <= rarity for n in _KNOWN_CLASSES)


@dataclass(frozen=True)
class Reconciliation:
    """An explanation of a count; `str` is the equation, with one more line for each alternative.

    Args:
        number: Count to explain.
        unique: The model's unique elements.
        terms: Conventions that add up to the difference, in the most plausible explanation; None if no
            explanation was found.
        alternatives: Other explanations that are equally plausible.
    """

    number: int
    unique: int
    terms: tuple[Convention, ...] | None
    alternatives: tuple[tuple[Convention, ...], ...] = ()

    def __str__(self) -> str:
        if self.terms is None:
            difference = self.number - self.unique
            return f"{self.number:,} = {self.unique:,} {_format_signed(difference)}: no explanation found"
        lines = [self._format(terms) for terms in (self.terms, *self.alternatives)]
        return "\nor ".join(lines)

    def _format(self, terms: Sequence[Convention]) -> str:
        text = "".join(f" {_format_signed(term.amount)} {term.label}" for term in terms)
        return f"{self.number:,} = {self.unique:,}{text}"


def reconcile(
    number: int, unique: int, conventions: Iterable[Convention], resizables: Iterable[Resizable] = ()
) -> Reconciliation:
    """Find the most plausible conventions that turn the unique elements into another count."""
    number = check_integer("reconcile", "number", number, least=0)
    difference, resizables = number - unique, tuple(resizables)
    if not difference:
        return Reconciliation(number, unique, ())
    bases = list(_combine(tuple(conventions)))
    accepted: list[tuple[Convention, ...]] = []
    for terms in sorted(_explain(difference, bases, resizables), key=_sum_rarities):
        if accepted and _sum_rarities(terms) > _sum_rarities(accepted[0]):
            break
        if any(set(other) < set(terms) for other in accepted):
            continue
        if _sum_rarities(terms) > _PLAUSIBLE and _is_common(terms, difference, bases, resizables):
            break
        accepted.append(terms)
    if not accepted:
        return Reconciliation(number, unique, None)
    return Reconciliation(number, unique, accepted[0], tuple(accepted[1 : 1 + _MAX_ALTERNATIVES]))


def _combine(known: Sequence[Convention]) -> Iterator[tuple[Convention, ...]]:
    """Yield the conventions that can be combined, none included, up to `MAX_CONVENTIONS`."""
    for count in range(MAX_CONVENTIONS + 1):
        yield from filter(_can_combine, combinations(known, count))


def _explain(
    difference: int, bases: Sequence[tuple[Convention, ...]], resizables: Sequence[Resizable]
) -> Iterator[tuple[Convention, ...]]:
    """Yield every explanation of a difference, those without another size and with fewer terms first."""
    yield from (terms for terms in bases if _sum_amounts(terms) == difference)
    for terms in bases:
        for layers in resizables if len(terms) < MAX_CONVENTIONS else ():
            change, remainder = divmod(difference - _sum_amounts(terms), layers.per_item)
            if change and not remainder and layers.size + change >= layers.least:
                resized = (*terms, layers.resize(layers.size + change))
                if _can_combine(resized):
                    yield resized


def _is_common(
    terms: Sequence[Convention],
    difference: int,
    bases: Iterable[Sequence[Convention]],
    resizables: Sequence[Resizable],
) -> bool:
    """Return whether so many differences have an explanation as plausible as `terms` that it may be chance.

    Differences up to the size of `difference` are considered; each explanation counts as one of them.
    """
    limit, rarity, explained = abs(difference), _sum_rarities(terms), 0
    for base in bases:
        amount, rest = _sum_amounts(base), rarity - _sum_rarities(base)
        explained += rest >= 0 and abs(amount) <= limit
        if rest > 0 and len(base) < MAX_CONVENTIONS:
            explained += sum(layers.count_sizes(amount, limit, rest) for layers in resizables)
    return explained * _ONE_IN > 2 * limit + 1


def _sum_amounts(terms: Sequence[Convention]) -> int:
    return sum(term.amount for term in terms)


def _sum_rarities(terms: Sequence[Convention]) -> int:
    return sum(term.rarity for term in terms)


def _can_combine(terms: Sequence[Convention]) -> bool:
    return len(frozenset().union(*(t.about for t in terms))) == sum(len(t.about) for t in terms)


def _format_signed(n: int) -> str:
    return f"{'+' if n >= 0 else '-'} {abs(n):,}"
