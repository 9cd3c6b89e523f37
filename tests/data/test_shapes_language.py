"""Captions and edit sentences are read back by a small parser of our own and compared with what they are about."""

import random
import re
from dataclasses import replace

import pytest

from hashret.data.shapes_edits import KINDS, apply, families, sample_edit, say
from hashret.data.shapes_language import (
    BACKGROUND_PHRASES,
    COLOUR_WORDS,
    PLACE_PHRASES,
    SHAPE_WORDS,
    SIZE_WORDS,
    TEXTURE_WORDS,
    captions,
    plural,
    with_article,
)
from hashret.data.shapes_scene import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES, Scene, Thing, scenes

COUNTS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4}
SHAPE_OF = {form: shape for shape, words in SHAPE_WORDS.items() for word in words for form in (word, plural(word))}
SINGULAR = {word for words in SHAPE_WORDS.values() for word in words}
ADJECTIVES = {
    word: (name, value)
    for name, table in (("size", SIZE_WORDS), ("texture", TEXTURE_WORDS), ("colour", COLOUR_WORDS))
    for value, words in table.items()
    for word in words
}
PLACES = {phrase: cell for cell, phrases in enumerate(PLACE_PHRASES) for phrase in phrases}
SETTINGS = {phrase: name for name, phrases in BACKGROUND_PHRASES.items() for phrase in phrases}
RELATIONS = {
    "left of": (-1, 0), "to the left of": (-1, 0), "right of": (1, 0), "to the right of": (1, 0),
    "above": (0, -1), "over": (0, -1), "below": (0, 1), "under": (0, 1), "beneath": (0, 1),
}  # fmt: skip


def any_of(words):
    return "(?:" + "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) + ")"


NOUN = rf"(?:{any_of(ADJECTIVES)} )*{any_of(SHAPE_OF)}"
COUNTED = rf"(?:{any_of(COUNTS)}) {NOUN}"
RELATED = rf" {any_of(RELATIONS)} {COUNTED}(?:, with {COUNTED}(?: and {COUNTED})?)?"
BODY = rf"{COUNTED}(?: {any_of(PLACES)}|{RELATED}|(?:, {COUNTED})* and {COUNTED})?"
CAPTION = re.compile(
    rf"(?:(?P<front>{any_of(SETTINGS)}) )?(?P<opening>a picture of |a scene with |there is |there are )?"
    rf"(?P<body>{BODY})(?:,? (?P<back>{any_of(SETTINGS)}))?"
)


def read_noun(phrase):
    """Return shape, named attributes, and whether the noun is a singular form."""
    noun = max((form for form in SHAPE_OF if phrase == form or phrase.endswith(f" {form}")), key=len)
    words = phrase[: len(phrase) - len(noun)].split()
    return SHAPE_OF[noun], dict(ADJECTIVES[word] for word in words), noun in SINGULAR


def matching(scene, phrase):
    shape, named, _ = read_noun(phrase)
    return [
        thing
        for thing in scene.things
        if thing.shape == shape and all(getattr(thing, name) == value for name, value in named.items())
    ]


@pytest.fixture(scope="module")
def told():
    chance = random.Random(5)
    return [(scene, captions(scene, chance)) for scene in scenes("train", 1500, seed=3)]


def test_captions_are_five_different_repeatable_sentences(told):
    chance = random.Random(5)
    assert [captions(scene, chance) for scene, _ in told] == [texts for _, texts in told]
    assert all(len(set(texts)) == 5 for _, texts in told)
    assert len({text for _, texts in told for text in texts}) > 4500


def test_captions_are_grammatical(told):
    for _, texts in told:
        for text in texts:
            assert text == text.lower().strip()
            found = CAPTION.fullmatch(text)
            assert found, text
            for article, following in re.findall(r"\b(an?) (\w)", text):
                assert (article == "an") == (following in "aeiou"), text
            phrases = re.findall(rf"({any_of(COUNTS)}) ({NOUN})", found["body"])
            for count, phrase in phrases:
                singular = read_noun(phrase)[2]
                assert singular == (COUNTS[count] == 1) or phrase.endswith("fish"), text
            if found["opening"] in ("there is ", "there are "):
                assert (found["opening"] == "there is ") == (COUNTS[phrases[0][0]] == 1), text


def test_captions_are_true(told):
    for scene, texts in told:
        for text in texts:
            found = CAPTION.fullmatch(text)
            for setting in (found["front"], found["back"]):
                assert setting is None or SETTINGS[setting] == scene.background, text
            groups = [
                (COUNTS[count], matching(scene, phrase))
                for count, phrase in re.findall(rf"({any_of(COUNTS)}) ({NOUN})", found["body"])
            ]
            assert all(len(things) >= count for count, things in groups), text
            placed = re.search(rf"{NOUN} ({any_of(PLACES)})$", found["body"])
            if placed:
                assert PLACES[placed[1]] in {thing.cell for thing in groups[0][1]}, text
            related = re.match(rf"{COUNTED} ({any_of(RELATIONS)}) ", found["body"])
            if related:
                across, down = RELATIONS[related[1]]
                ways = [
                    (one.cell % 3 - two.cell % 3, one.cell // 3 - two.cell // 3)
                    for one in groups[0][1]
                    for two in groups[1][1]
                ]
                held = [right * across + low * down >= max(1, abs(right), abs(low)) for right, low in ways]
                exact = all(len(things) == count for count, things in groups[:2])
                assert all(held) if exact else any(held), text


def test_captions_leave_things_unsaid_but_not_most(told):
    texts = [(scene, CAPTION.fullmatch(text)) for scene, some in told for text in some]
    named = [
        len({SHAPE_OF[noun] for noun in re.findall(rf"\b{any_of(SHAPE_OF)}\b", found["body"])}) for _, found in texts
    ]
    shapes = [len({thing.shape for thing in scene.things}) for scene, _ in texts]
    assert 0.75 < sum(named) / sum(shapes) < 0.95
    settings = [bool(found["front"] or found["back"]) for scene, found in texts if BACKGROUNDS[scene.background]]
    assert 0.5 < sum(settings) / len(settings) < 0.8


def test_vocabulary_is_complete_and_without_double_meanings():
    assert set(SHAPE_WORDS) == set(SHAPES)
    assert set(COLOUR_WORDS) == set(COLOURS)
    assert set(SIZE_WORDS) == set(SIZES)
    assert set(TEXTURE_WORDS) == set(TEXTURES)
    assert set(BACKGROUND_PHRASES) == set(BACKGROUNDS)
    every = [{*words} for table in (SHAPE_WORDS, COLOUR_WORDS, SIZE_WORDS, TEXTURE_WORDS) for words in table.values()]
    every += [{*words} for words in (*BACKGROUND_PHRASES.values(), *PLACE_PHRASES)]
    assert sum(map(len, every)) == len(set().union(*every))
    for phrase in (*SETTINGS, *PLACES):  # no background may sound like a thing
        assert not re.search(rf"\b{any_of(SHAPE_OF)}\b", phrase), phrase


@pytest.mark.parametrize(("noun", "many"), [("star", "stars"), ("cross", "crosses"), ("rhombus", "rhombuses")])
def test_plural(noun, many):
    assert plural(noun) == many


def test_articles():
    assert with_article("emerald ring") == "an emerald ring"
    assert with_article("jet-black ring") == "a jet-black ring"


# Each kind with its sentences, as a reader would take them.
THE, NEW_WORD = rf"the (?P<noun>{NOUN})(?: (?P<at>{any_of(PLACES)}))?", rf"(?P<word>{any_of(ADJECTIVES)})"
TO = rf"(?P<to>{any_of(PLACES)})"
WHERE = rf"(?P<where>{any_of(SETTINGS)})"
SENTENCES = [
    ("value", rf"(?:make|paint) {THE} {NEW_WORD}(?: instead)?"),
    ("value", rf"change the colour of {THE} to {NEW_WORD}"),
    ("value", rf"{THE} should be {NEW_WORD}"),
    ("value", rf"now {THE} is {NEW_WORD}"),
    ("shape", rf"(?:replace|turn|swap|change) {THE} (?:with|into|for) an? (?P<shape>{any_of(SINGULAR)})"),
    ("move", rf"move {THE} so that it is {TO}"),
    ("move", rf"(?:let )?{THE} (?:should )?be {TO}"),
    ("remove", rf"(?:remove|take away|the same without|delete) {THE}"),
    ("add", rf"(?:add|put|there is also|the same with) an? (?P<new>{NOUN}) {TO}"),
    ("background", rf"(?:put everything|the same|change the background, now|show it) {WHERE}"),
]


def obey(scene, text):
    """Do what a sentence says to a scene; the one reading it has, else fail."""
    readings = [(kind, found) for kind, pattern in SENTENCES if (found := re.fullmatch(pattern, text))]
    assert len(readings) == 1, (text, readings)
    kind, found = readings[0]
    if kind == "background":
        return Scene(scene.things, SETTINGS[found["where"]])
    if kind == "add":
        shape, named, _ = read_noun(found["new"])
        usual = {"size": "medium", "texture": "plain"}
        new = Thing(cell=PLACES[found["to"]], shape=shape, **{**usual, **named})
        return Scene.of([*scene.things, new], scene.background)
    meant = [t for t in matching(scene, found["noun"]) if found["at"] is None or t.cell == PLACES[found["at"]]]
    assert len(meant) == 1, (text, scene)
    others = [thing for thing in scene.things if thing != meant[0]]
    if kind == "remove":
        return Scene.of(others, scene.background)
    if kind == "move":
        changed = replace(meant[0], cell=PLACES[found["to"]])
    elif kind == "shape":
        changed = replace(meant[0], shape=SHAPE_OF[found["shape"]])
    else:
        name, value = ADJECTIVES[found["word"]]
        changed = replace(meant[0], **{name: value})
    return Scene.of([*others, changed], scene.background)


def test_edit_sentences_say_what_leads_to_the_target():
    chance, seen = random.Random(8), set()
    for scene in scenes("train", 2000, seed=2):
        edit = sample_edit(scene, chance)
        seen.add(edit.kind)
        assert obey(scene, say(scene, edit, chance)) == apply(scene, edit) != scene
    assert seen == set(KINDS)


def test_family_sentences_say_what_leads_to_the_target():
    for family in families("test", 800, seed=4):
        for text, target in family.edits:
            assert obey(family.reference, text) == target
