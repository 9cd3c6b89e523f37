"""Vocabularies and bags of words, against counting by hand."""

import pickle
import random
import re
from collections import Counter

import pytest
import torch

from hashret.errors import FileError, FormatError, InputError, TextError
from hashret.models.bag_of_words import STOP_WORDS, Bags, Vocabulary, WordNumbers


def corpus(seed: int) -> list[str]:
    chance = random.Random(seed)
    words = ["dog", "Cat", "the", "a", "naïve", "Straße", "犬", "x1", "a_b", "RED", "and", "t", "2"]
    joins = [" ", ", ", "-", "... ", "\n", "'"]
    return [
        "".join(chance.choice(words) + chance.choice(joins) for _ in range(chance.randint(1, 9))) for _ in range(40)
    ]


def split(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@pytest.mark.parametrize("stop_words", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_commonest_words_by_number_of_texts_then_alphabet(seed: int, stop_words: bool) -> None:
    texts = corpus(seed)
    counts = Counter(word for text in texts for word in set(split(text)) if not (stop_words and word in STOP_WORDS))
    expected = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
    for size in (1, 5, 100):
        assert Vocabulary.fit(texts, size, stop_words=stop_words).words == expected[:size]


@pytest.mark.parametrize("seed", range(4))
def test_bags_and_numbers_follow_the_words(seed: int) -> None:
    texts = corpus(seed)
    vocabulary = Vocabulary.fit(texts[:20], 6)
    bags = vocabulary(texts)
    assert bags.dtype == torch.float32
    assert bags.tolist() == [[float(word in split(text)) for word in vocabulary.words] for text in texts]
    for text in texts:
        expected = [vocabulary.words.index(word) + 2 if word in vocabulary.words else 1 for word in split(text)]
        assert vocabulary.numbers(text) == expected


def test_a_text_without_words_is_an_empty_bag_and_one_unknown_word() -> None:
    vocabulary = Vocabulary(("dog",))
    assert vocabulary(["?!", "a dog"]).tolist() == [[0.0], [1.0]]
    ids, mask = WordNumbers(vocabulary, 5)(["?!", "dog dog cat"])
    assert mask is not None
    assert ids.tolist() == [[1, 0, 0, 0, 0], [2, 2, 1, 0, 0]]
    assert mask.tolist() == [[True] + [False] * 4, [True] * 3 + [False] * 2]


def test_word_numbers_are_cut_and_widened_in_steps() -> None:
    numbers = WordNumbers(Vocabulary(("dog",)), 40)
    for words, width in ((1, 16), (16, 16), (17, 32), (33, 40), (90, 40)):
        ids, mask = numbers(["dog " * words, "dog"])
        assert mask is not None
        assert ids.shape == mask.shape == (2, width)
        assert mask.sum(1).tolist() == [min(words, 40), 1]


def test_stop_words_leave_content_in() -> None:
    texts = ["two red balls on the left of a fire system and one on top"]
    assert set(Vocabulary.fit(texts, 99).words) == {"two", "red", "balls", "left", "fire", "system", "one", "top"}
    assert all(word == word.lower() for word in STOP_WORDS)


def test_a_vocabulary_survives_files_and_processes(tmp_path) -> None:
    vocabulary = Vocabulary.fit(corpus(0), 8)
    vocabulary(["dog"])  # what is made on demand must not get in the way
    vocabulary.numbers("dog")
    vocabulary.save(tmp_path / "words.json")
    for copy in (Vocabulary.load(tmp_path / "words.json"), pickle.loads(pickle.dumps(vocabulary))):
        assert copy == vocabulary
        assert torch.equal(copy(corpus(1)), vocabulary(corpus(1)))
    assert Bags(vocabulary).fingerprint() != Bags(Vocabulary(("dog",))).fingerprint()


def test_mistakes_are_named(tmp_path) -> None:
    for texts in ([], ["the and a"], ["?!"]):
        with pytest.raises(TextError, match=f"words to fit a vocabulary to, got none in {len(texts)} texts"):
            Vocabulary.fit(texts, 5)
    with pytest.raises(InputError, match="size: expected >= 1, got 0"):
        Vocabulary.fit(["dog"], 0)
    for words in ((), ("a", "a")):
        with pytest.raises(InputError, match="expected distinct words"):
            Vocabulary(words)
    with pytest.raises(FileError, match="expected a vocabulary"):
        Vocabulary.load(tmp_path / "none.json")
    for content in ("no json", "{}", "[]", '["a", "a"]', "[1]"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(FormatError, match=r"bad\.json"):
            Vocabulary.load(tmp_path / "bad.json")
