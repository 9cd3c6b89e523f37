"""Words: a vocabulary fitted to texts, the bags of words it makes, and word numbers for a small transformer.

Hashing papers describe a text by which of 1,000 to 2,000 frequent words it holds; CRCGS's generators generate that. A
word is a run of letters, digits and underscores of any script, lower-cased. There is no stemming and no weighting.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hashret.arrayfile import replace_file
from hashret.errors import FileError, FormatError, InputError, TextError
from hashret.models.features import TOKEN_STEP, Encoder, Features

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import CountVectorizer

__all__ = ["STOP_WORDS", "BagOfWords", "Bags", "Vocabulary", "WordNumbers", "bag_of_words"]

_GRAMMAR = (
    "a an the this that these those i me my mine we us our ours you your yours he him his she her hers it "
    "its they them their theirs who whom whose which what and or but nor if than then so as while because "
    "although of at by for with about to from in into on onto upon up out off over under through between "
    "among during before after within without is are was were be been being am do does did doing done has "
    "have had having can could will would shall should may might must not no there here when where how "
    "why also just very too such some any each every both either neither other another own same only s t "
)
STOP_WORDS = frozenset(_GRAMMAR.split())
"""English words that carry grammar rather than content; numbers, colours and words like "left" are not among them."""

_WORD = r"\w+"


def _word_counter(**options: Any) -> CountVectorizer:
    """What finds words; imported when it is needed, since many a process counts none."""
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(token_pattern=_WORD, binary=True, **options)


@dataclass(frozen=True)
class Vocabulary:
    """Words in a fixed order.

    Attributes:
        words: Distinct lower-case words; a word's place is its column.

    Raises:
        InputError: No words, or one twice.

    Example:
        >>> vocabulary = Vocabulary.fit(["A red dog runs.", "The dog sleeps", "red red car"], size=3)
        >>> vocabulary.words
        ('dog', 'red', 'car')
        >>> vocabulary(["A DOG, a dog and a cat"]).tolist()
        [[1.0, 0.0, 0.0]]
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that there are words and none comes twice."""
        if not self.words or len(set(self.words)) != len(self.words):
            got = f"{len(self.words)} words, {len(set(self.words))} distinct"
            raise InputError(
                "vocabulary", expected="distinct words, at least one", got=got, remedy="Fit it to real texts."
            )

    @classmethod
    def fit(cls, texts: Sequence[str], size: int, *, stop_words: bool = True) -> Vocabulary:
        """Take the ``size`` words that the most texts hold; among equals the alphabet decides.

        Args:
            texts: Training texts; never those of a test split.
            size: Words at most.
            stop_words: Leave out STOP_WORDS.

        Raises:
            InputError: ``size`` is below 1.
            TextError: The texts hold no words.
        """
        if size < 1:
            raise InputError("size", expected=">= 1", got=str(size), remedy="1,000 to 2,000 words are usual.")
        counter = _word_counter(stop_words=sorted(STOP_WORDS) if stop_words else None)
        try:
            counts = np.asarray(counter.fit_transform(texts).sum(axis=0)).ravel()
        except ValueError as error:
            raise TextError(
                "texts", expected="words to fit a vocabulary to", got=f"none in {len(texts)} texts",
                remedy="Check that the training texts are sentences or tags, or switch stop_words off.",
            ) from error  # fmt: skip
        names = counter.get_feature_names_out()  # in alphabetical order, which the stable sort keeps
        return cls(tuple(str(names[place]) for place in np.argsort(-counts, kind="stable")[:size]))

    def __len__(self) -> int:
        """Number of words."""
        return len(self.words)

    @cached_property
    def _counter(self) -> CountVectorizer:
        return _word_counter(vocabulary=list(self.words), dtype=np.float32)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Make bags of words: float32 (B, len(self)), 1 where the text holds the word."""
        return torch.from_numpy(self._counter.transform(texts).toarray())

    def numbers(self, text: str) -> list[int]:
        """The text's words in order: 2 + place in the vocabulary, 1 for a word that is not in it."""
        return [self._place.get(word, -1) + 2 for word in self._split(text)]

    @cached_property
    def _split(self) -> Any:
        return self._counter.build_analyzer()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again; the splitter cannot be pickled."""
        return {"words": self.words}

    def save(self, path: str | Path) -> None:
        """Write the words as a JSON list.

        Raises:
            FileError: The place cannot be written.
        """
        replace_file(path, json.dumps(self.words, ensure_ascii=False, indent=0).encode())

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read what :meth:`save` wrote.

        Raises:
            FileError: There is no such file.
            FormatError: It is no JSON list of distinct words.
        """
        remedy = "Take the file that was saved with the run."
        try:
            words = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(
                str(path), expected="a vocabulary", got=error.strerror or str(error), remedy=remedy
            ) from error
        except ValueError as error:
            raise FormatError(str(path), expected="a JSON list of words", got="no JSON", remedy=remedy) from error
        listed = isinstance(words, list) and all(isinstance(word, str) for word in words)
        if not listed or not words or len(set(words)) != len(words):
            raise FormatError(str(path), expected="a list of distinct words", got=repr(words)[:60], remedy=remedy)
        return cls(tuple(words))


@dataclass(frozen=True)
class Bags:
    """Texts to bags of words: what a processor does for :class:`BagOfWords`."""

    vocabulary: Vocabulary

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Float32 (B, V) and no mask."""
        return self.vocabulary(texts), None

    def config(self) -> dict[str, Any]:
        """What rebuilds it beside the vocabulary."""
        return {"kind": "bags"}

    def fingerprint(self) -> str:
        """What tells it from others."""
        return repr(self)


@dataclass(frozen=True)
class WordNumbers:
    """Texts to word numbers: what a processor does for :class:`~hashret.models.text.SmallTransformer`.

    Attributes:
        vocabulary: The words; number 0 fills up, 1 is any other word.
        length: Words kept of a text; the rest is cut off.
    """

    vocabulary: Vocabulary
    length: int

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Word numbers int64 (B, T) and their mask bool (B, T); a text without words is one unknown word."""
        return as_rows([self.vocabulary.numbers(text)[: self.length] or [1] for text in texts], self.length)

    def config(self) -> dict[str, Any]:
        """What rebuilds it beside the vocabulary."""
        return {"kind": "word_numbers", "length": self.length}

    def fingerprint(self) -> str:
        """What tells it from others."""
        return repr(self)


def as_rows(
    numbers: Sequence[Sequence[int]], length: int, fill: int = 0, *, full: bool = False
) -> tuple[Tensor, Tensor]:
    """Put lists of token ids into one tensor as wide as the longest asks, in steps of TOKEN_STEP.

    Args:
        numbers: Token ids of each text, none longer than ``length``.
        length: Largest width.
        fill: Id that fills up.
        full: Make every row ``length`` wide and let the filling count as tokens, as SigLIP was trained.

    Returns:
        Ids int64 (B, T) and mask bool (B, T).
    """
    longest = max(len(row) for row in numbers)
    width = length if full else min(length, -(-longest // TOKEN_STEP) * TOKEN_STEP)
    ids = torch.full((len(numbers), width), fill, dtype=torch.int64)
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for place, row in enumerate(numbers):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[place, : len(row)] = True
    return ids, mask | full


class BagOfWords(Encoder):
    """A bag of words as it is; the methods' own layers make something of it.

    Args:
        dimension: Number of words.
    """

    nonnegative = True

    def __init__(self, dimension: int) -> None:
        """Keep the width."""
        super().__init__()
        self.dimension = dimension

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Refuse pixels and token ids."""
        raise self.refuse(x, "bags of words")

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"encoder": "BagOfWords", "dimension": self.dimension}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BagOfWords:
        """Build it from :meth:`config`."""
        return cls(config["dimension"])


def bag_of_words(vocabulary: Vocabulary, /, *, size: int = 1500, stop_words: bool = True) -> BagOfWords:
    """Describe a text by the words it holds.

    Args:
        vocabulary: Fitted by :func:`hashret.models.fit_vocabulary` to the training texts.
        size: Words the vocabulary is fitted to, at most.
        stop_words: Whether it leaves English stop words out.

    Raises:
        InputError: The vocabulary has more than ``size`` words.
    """
    check_size(vocabulary, size)
    encoder = BagOfWords(len(vocabulary))
    encoder.transform = Bags(vocabulary)
    return encoder


def check_size(vocabulary: Vocabulary, size: int) -> None:
    """Refuse a vocabulary that was fitted with another size."""
    if len(vocabulary) > size:
        raise InputError(
            "vocabulary", expected=f"at most {size} words, the encoder's size", got=str(len(vocabulary)),
            remedy="Fit it with the encoder's options (hashret.models.fit_vocabulary).",
        )  # fmt: skip
