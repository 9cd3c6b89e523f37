from dataclasses import dataclass
from typing import Literal

import pytest
import yaml

from hashret.errors import FileError, RecipeError
from hashret.recipe import Grammar, load_recipe, settings_of


@dataclass(frozen=True)
class Options:
    bits: int = 64
    kind: Literal["a", "b"] = "a"
    weight: float = 1e-4


@dataclass(frozen=True)
class OldOptions:
    bits: int = 64
    noise: float = 1.0


@dataclass(frozen=True)
class StageOptions:
    epochs: int
    lr: float = 1e-4


def load(root, *, size: int = 3, mode: str = "x"): ...


def scale(*, width: int): ...


GRAMMAR = Grammar(
    entries={"data": {"drawn": load}, "image": {"small": load}, "text": {"small": load}, "method": {"m": Options}},
    stages={"m": {"first": StageOptions(5), "second": StageOptions(7, lr=1e-3)}},
    presets={"m": {"paper": {"options": {"kind": "b", "weight": 2.0}, "stages": {"first": {"epochs": 60}}}}},
)
VARIED = Grammar(
    entries={**GRAMMAR.entries, "method": {"m": Options, "m_old": OldOptions}},
    stages={**GRAMMAR.stages, "m_old": {"only": StageOptions(9)}},
    presets={"m_old": {"paper": {"options": {"noise": 3.0}, "stages": {"only": {"epochs": 60}}}}},
    variants={"m": {"new": "m", "old": "m_old"}},
)
MINIMAL = {"data": {"name": "drawn"}, "image": {"name": "small"}, "text": {"name": "small"}, "method": {"name": "m"}}


def test_defaults_are_filled_in_from_signatures():
    recipe = load_recipe(MINIMAL, GRAMMAR)
    assert recipe.data.options == {"size": 3, "mode": "x"}
    assert recipe.method.options == {"bits": 64, "kind": "a", "weight": 1e-4}
    assert recipe.stages == {"first": {"epochs": 5, "lr": 1e-4}, "second": {"epochs": 7, "lr": 1e-3}}


def test_a_resolved_recipe_reads_back_equal():
    recipe = load_recipe(MINIMAL, GRAMMAR, ["method.bits=32", "stages.first.lr=1e-2"])
    assert load_recipe(yaml.safe_load(recipe.to_yaml()), GRAMMAR) == recipe


def test_overrides_win_and_are_read_as_yaml():
    recipe = load_recipe(
        MINIMAL, GRAMMAR, ["method.bits=32", "method.bits=16", "stages.second.lr=1e-2", "image.frozen=true"]
    )
    assert recipe.method.options["bits"] == 16
    assert recipe.stages["second"]["lr"] == 0.01
    assert recipe.frozen == {"image": True, "text": False}
    assert MINIMAL["method"] == {"name": "m"}, "the given mapping is not changed"


def test_a_preset_stands_between_defaults_and_recipe():
    recipe = load_recipe(MINIMAL, GRAMMAR, ["method.preset=paper", "method.weight=3"])
    assert recipe.method.options == {"bits": 64, "kind": "b", "weight": 3.0}
    assert recipe.stages["first"]["epochs"] == 60


def test_a_variant_is_another_method():
    """Its options, stages and presets are its own, whoever says the variant: the file or an override."""
    old = load_recipe({**MINIMAL, "method": {"name": "m", "variant": "old", "bits": 8}}, VARIED)
    assert (old.method.name, old.method.options) == ("m_old", {"bits": 8, "noise": 1.0})
    assert list(old.stages) == ["only"]
    assert old == load_recipe(MINIMAL, VARIED, ["method.variant=old", "method.bits=8"])
    assert old == load_recipe({**MINIMAL, "method": {"name": "m_old", "bits": 8}}, VARIED)
    assert load_recipe(yaml.safe_load(old.to_yaml()), VARIED) == old
    assert load_recipe(MINIMAL, VARIED, ["method.variant=new"]) == load_recipe(MINIMAL, VARIED)


def test_a_variant_and_a_preset():
    both = {**MINIMAL, "method": {"name": "m", "variant": "old", "preset": "paper"}}
    recipe = load_recipe(both, VARIED)
    assert (recipe.method.name, recipe.method.options["noise"]) == ("m_old", 3.0)
    assert recipe.stages["only"]["epochs"] == 60
    with pytest.raises(RecipeError, match=r"method.preset: expected one of"):
        load_recipe(both, VARIED, ["method.variant=new"])


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"name": "m", "variant": "odl"}, "method.variant: expected one of new, old, got 'odl'; did you mean old?"),
        ({"name": "m", "variant": ["old"]}, "method.variant: expected one of new, old, got \"['old']\""),
        ({"name": "m", "preset": ["paper"]}, "method.preset: expected one of"),
        ({"name": "m_old", "variant": "old"}, "method.variant: this method has none"),
        ({"name": "n", "variant": "old"}, "method.name: expected one of m, m_old, got 'n'"),
        ({"variant": "old"}, "method: expected a mapping with a name (m, m_old)"),
        ({"name": "m", "variant": "old", "kind": "b"}, "method.kind: unknown key"),
    ],
    ids=["unknown", "a list", "a preset that is a list", "none", "no method", "no name", "option of another"],
)
def test_a_variant_that_is_none_is_named(method, said):
    with pytest.raises(RecipeError) as caught:
        load_recipe({**MINIMAL, "method": method}, VARIED)
    assert said in str(caught.value)


def test_all_mistakes_are_named_at_once():
    wrong = {
        "data": {"name": "drawn", "sise": 4},
        "image": {"name": "smal"},
        "text": {"name": "small", "size": "many"},
        "method": {"name": "m", "kind": "c", "preset": "papers"},
        "stages": {"frist": {"epochs": 1}, "second": {"lr": "fast"}},
        "trainig": {},
        "training": {"seed": -1, "precision": "fp8", "max_rejected": 5},
    }
    with pytest.raises(RecipeError) as caught:
        load_recipe(wrong, GRAMMAR, ["no-value"])
    message = str(caught.value)
    for part in (
        "data.sise: unknown key; did you mean size?",
        "image.name: expected one of small, got 'smal'; did you mean small?",
        "text.size: input should be a valid integer",
        "method.kind: input should be 'a' or 'b', got 'c'",
        "method.preset: expected one of paper, got 'papers'; did you mean paper?",
        "stages.frist: unknown key; did you mean first?",
        "stages.second.lr: input should be a valid number",
        "trainig: unknown key; did you mean training?",
        "training.seed: input should be greater than or equal to 0, got -1",
        "training.precision",
        "training.max_rejected: input should be less than or equal to 1, got 5",
        "--set no-value: expected key.path=value",
    ):
        assert part in message, message


@pytest.mark.parametrize("missing", ["data", "image", "text", "method"])
def test_a_missing_section_is_named(missing):
    with pytest.raises(RecipeError, match=f"{missing}: expected a mapping with a name"):
        load_recipe({key: value for key, value in MINIMAL.items() if key != missing}, GRAMMAR)


def test_required_options_are_asked_for():
    grammar = Grammar({**GRAMMAR.entries, "image": {"wide": scale}}, GRAMMAR.stages, GRAMMAR.presets)
    with pytest.raises(RecipeError, match=r"image.width: field required"):
        load_recipe({**MINIMAL, "image": {"name": "wide"}}, grammar)


def test_files(tmp_path):
    path = tmp_path / "recipe.yaml"
    with pytest.raises(FileError, match="expected a recipe"):
        load_recipe(path, GRAMMAR)
    path.write_text("data: [unclosed", encoding="utf-8")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(path, GRAMMAR)
    path.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="expected sections"):
        load_recipe(path, GRAMMAR)
    path.write_text(yaml.safe_dump(MINIMAL), encoding="utf-8")
    assert load_recipe(path, GRAMMAR).data.name == "drawn"


def test_positional_parameters_are_no_options():
    assert set(settings_of(load).model_fields) == {"size", "mode"}
