"""Exact Hamming search over codes: the index, hits that merge, and a second look at them by their embeddings."""

from hashret.search.embedding_store import EmbeddingStore
from hashret.search.hits import Hits, merge
from hashret.search.index import HammingIndex
from hashret.search.rerank import Scored, rerank

__all__ = ["EmbeddingStore", "HammingIndex", "Hits", "Scored", "merge", "rerank"]
