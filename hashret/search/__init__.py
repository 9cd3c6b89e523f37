"""Exact Hamming search over codes: the index, and hits that merge."""

from hashret.search.hits import Hits, merge
from hashret.search.index import HammingIndex

__all__ = ["HammingIndex", "Hits", "merge"]
