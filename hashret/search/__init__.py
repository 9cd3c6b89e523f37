"""Exact search: codes by Hamming distance, embeddings by similarity, and a second look by embeddings or tokens."""

from hashret.search.embedding_store import EmbeddingStore
from hashret.search.hits import Hits, merge
from hashret.search.index import HammingIndex
from hashret.search.late import exhaustive, late_scores, rerank_tokens
from hashret.search.nearest import nearest
from hashret.search.rerank import Scored, rerank
from hashret.search.token_store import TokenStore
from hashret.search.tokens import Tokens

__all__ = [
    "EmbeddingStore", "HammingIndex", "Hits", "Scored", "TokenStore", "Tokens", "exhaustive", "late_scores", "merge",
    "nearest", "rerank", "rerank_tokens",
]  # fmt: skip
