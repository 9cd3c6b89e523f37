"""Recipes: YAML and ``--set`` become checked values; all mistakes are reported at once, each with its key path.

This file knows the grammar of a recipe, not what can stand in it. The sections ``data``, ``image``, ``text`` and
``method`` choose an entry of a table by ``name``; the options of an entry are the keyword-only parameters of the
function or the fields of the dataclass behind it, so that a default is written once, beside the code that uses it. The
caller hands those tables in. Nothing heavy is imported, and no key is a Python path.
"""

from __future__ import annotations

import difflib
import inspect
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from hashret.errors import FileError, RecipeError

__all__ = ["EvaluationSettings", "Grammar", "Part", "Recipe", "TrainingSettings", "load_recipe", "settings_of"]

SECTIONS = ("data", "image", "text", "method")


class TrainingSettings(BaseModel):
    """How a run trains, apart from its stages.

    Attributes:
        seed: Of initial weights, orders, dropout.
        device: ``auto``, ``cpu``, ``cuda``, ...
        precision: ``no``, ``bf16`` or ``fp16``.
        workers: Processes that decode images; 0 = none beside the training process.
        checkpoint_steps: Steps between checkpoints within an epoch; 0 = only after each epoch.
        compile: Whether encoders that are trained go through torch.compile; it takes a C++ compiler and some minutes
            first. The codes are those of the same weights without.
        metric: What the validation score is, averaged over the validation tasks.
        max_rejected: Share of the dataset's distinct images, and of its texts, that may be unusable (missing,
            torn, empty) and are left out; with more of either, nothing is trained or measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0)
    device: str = "auto"
    precision: Literal["no", "bf16", "fp16"] = "no"
    workers: int = Field(0, ge=0)
    checkpoint_steps: int = Field(0, ge=0)
    compile: bool = False
    metric: str = "map"
    max_rejected: float = Field(0.05, ge=0, le=1)


class EvaluationSettings(BaseModel):
    """What is reported.

    Attributes:
        metrics: Names as :func:`hashret.evaluation.evaluate` takes them.
        ties: Tie policy.
        seed: Of the random codes that are reported beside the run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: tuple[str, ...] = ("map", "map@1000", "precision@10", "recall@1000")
    ties: Literal["expected", "by-id", "best", "worst"] = "expected"
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Part:
    """One named choice and its options, defaults filled in."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        data: Dataset and its options.
        image: Image encoder; ``frozen`` stands apart.
        text: Text encoder.
        method: Method and its options.
        frozen: For "image" and "text" whether the encoder keeps its weights.
        stages: For each stage of the method its settings as a mapping.
        training: See :class:`TrainingSettings`.
        evaluation: See :class:`EvaluationSettings`.
    """

    data: Part
    image: Part
    text: Part
    method: Part
    frozen: dict[str, bool]
    stages: dict[str, dict[str, Any]]
    training: TrainingSettings
    evaluation: EvaluationSettings

    def to_dict(self) -> dict[str, Any]:
        """Every value, defaults included, in the form a recipe file has."""
        result: dict[str, Any] = {name: {"name": part.name, **part.options} for name, part in self._parts().items()}
        for name, frozen in self.frozen.items():
            result[name]["frozen"] = frozen
        result["stages"] = self.stages
        result["training"] = self.training.model_dump()
        result["evaluation"] = self.evaluation.model_dump(mode="json")
        plain: dict[str, Any] = _plain(result)
        return plain

    def to_yaml(self) -> str:
        """:meth:`to_dict` as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    def _parts(self) -> dict[str, Part]:
        return {"data": self.data, "image": self.image, "text": self.text, "method": self.method}


@dataclass(frozen=True)
class Grammar:
    """What can stand in a recipe: each section's entries and their options, each method's stages and presets.

    Attributes:
        entries: Section -> name -> the callable or dataclass whose keyword-only parameters or fields are the options.
        stages: Method -> stage -> an instance of the dataclass of stage settings, holding the defaults.
        presets: Method -> preset -> ``{"options": {...}, "stages": {...}}``.
        variants: Method -> what ``variant`` may be beside its name -> the method that is meant.
    """

    entries: Mapping[str, Mapping[str, Callable[..., Any]]]
    stages: Mapping[str, Mapping[str, Any]]
    presets: Mapping[str, Mapping[str, Mapping[str, Any]]]
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def settings_of(function: Callable[..., Any]) -> type[BaseModel]:
    """The keyword-only parameters of a function (or the fields of a dataclass) as a pydantic model that forbids others.

    Example:
        >>> def load(root, *, size: int = 64, seed: int = 0): ...
        >>> settings_of(load)(size="32").model_dump()
        {'size': 32, 'seed': 0}
    """
    target = function.__init__ if inspect.isclass(function) else function
    hints = typing.get_type_hints(function if is_dataclass(function) else target, include_extras=True)
    known: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(function) or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            known[name] = (hints[name], default)
    return create_model(
        getattr(function, "__name__", "options"),
        __config__=ConfigDict(extra="forbid", protected_namespaces=()),
        **known,
    )


def load_recipe(
    source: str | os.PathLike[str] | Mapping[str, Any], grammar: Grammar, overrides: Sequence[str] = ()
) -> Recipe:
    """Read, override and check a recipe.

    Args:
        source: A YAML file, or its content as a mapping.
        grammar: What can stand in it.
        overrides: ``key.path=value``, the value read as YAML; later ones win.

    Returns:
        The recipe with all defaults filled in. Relative paths stay as written.

    Raises:
        FileError: There is no such file.
        RecipeError: Unknown keys, wrong values, no YAML; all of them, a line each.
    """
    where = "recipe" if isinstance(source, Mapping) else str(source)
    raw = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    problems: list[str] = []
    for override in overrides:
        _override(raw, override, problems)
    known = (*SECTIONS, "stages", "training", "evaluation")
    problems += [_unknown(key, known) for key in raw if key not in known]
    parts: dict[str, Part] = {}
    method = raw["method"] = _variant(raw.get("method"), grammar, problems)
    preset = _preset(method, grammar, problems)
    frozen: dict[str, bool] = {}
    for section in SECTIONS:
        given = raw.get(section)
        if isinstance(given, Mapping) and section in ("image", "text"):
            given = dict(given)
            value = given.pop("frozen", given.get("name") == "transformers")
            if not isinstance(value, bool):
                problems.append(f"{section}.frozen: expected true or false, got {value!r}")
            frozen[section] = bool(value)
        parts[section] = _part(section, given, grammar.entries[section], preset.get("options", {}), problems)
    stages = _stages(
        raw.get("stages", {}), grammar.stages.get(parts["method"].name, {}), preset.get("stages", {}), problems
    )
    training = _section(TrainingSettings, raw.get("training", {}), "training", problems)
    evaluation = _section(EvaluationSettings, raw.get("evaluation", {}), "evaluation", problems)
    if problems:
        raise RecipeError(f"{where}: " + ("\n  " if len(problems) > 1 else "") + "\n  ".join(problems))
    return Recipe(
        **parts,
        frozen=frozen,
        stages=stages,
        training=TrainingSettings(**training),
        evaluation=EvaluationSettings(**evaluation),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            str(path), expected="a recipe", got=error.strerror or str(error), remedy="Check the path."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: expected sections such as data: and method:, got {type(raw).__name__}")
    return raw


def _override(raw: dict[str, Any], override: str, problems: list[str]) -> None:
    """Set one ``key.path=value`` in ``raw``, copying the mappings on the way."""
    path, equals, value = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        problems.append(f"--set {override}: expected key.path=value")
        return
    place = raw
    for key in keys[:-1]:
        place[key] = dict(place[key]) if isinstance(place.get(key), Mapping) else {}
        place = place[key]
    try:
        place[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError:
        problems.append(f"--set {override}: {value!r} is not YAML")


def _variant(method: Any, grammar: Grammar, problems: list[str]) -> Any:
    """The method's section with its ``variant`` resolved into its name."""
    if not isinstance(method, Mapping) or "variant" not in method:
        return method
    known, variant = grammar.variants.get(str(method.get("name")), {}), str(method["variant"])
    if variant not in known and "name" in method:
        problems.append(f"method.variant: {_choice(variant, known) if known else 'this method has none'}")
    name = known.get(variant, method.get("name"))
    rest = {key: value for key, value in method.items() if key != "variant"}
    return rest if name is None else rest | {"name": name}


def _preset(method: Any, grammar: Grammar, problems: list[str]) -> Mapping[str, Any]:
    name = method.get("preset") if isinstance(method, Mapping) else None
    if name is None:
        return {}
    presets = grammar.presets.get(str(method.get("name")), {})
    if str(name) not in presets:
        problems.append(f"method.preset: {_choice(name, presets)}")
    return presets.get(str(name), {})


def _part(
    section: str, given: Any, entries: Mapping[str, Callable[..., Any]], preset: Mapping[str, Any], problems: list[str]
) -> Part:
    """Check one named section."""
    if not isinstance(given, Mapping) or "name" not in given:
        problems.append(f"{section}: expected a mapping with a name ({', '.join(sorted(entries))}), got {given!r}")
        return Part("", {})
    options = {key: value for key, value in given.items() if key != "name" and (section, key) != ("method", "preset")}
    name = given["name"]
    if name not in entries:
        problems.append(f"{section}.name: {_choice(name, entries)}")
        return Part("", {})
    if section == "method":
        options = {**preset, **options}
    return Part(name, _section(settings_of(entries[name]), options, section, problems))


def _stages(
    given: Any, defaults: Mapping[str, Any], preset: Mapping[str, Mapping[str, Any]], problems: list[str]
) -> dict[str, dict[str, Any]]:
    """Merge stage settings: the recipe's keys over the preset's over the method's."""
    if not isinstance(given, Mapping):
        problems.append(f"stages: expected a mapping of stage names, got {given!r}")
        return {}
    problems += [f"stages.{_unknown(key, defaults)}" for key in given if key not in defaults and defaults]
    result = {}
    for stage, default in defaults.items():
        own = given.get(stage) or {}
        if not isinstance(own, Mapping):
            problems.append(f"stages.{stage}: expected a mapping, got {own!r}")
            continue
        merged = {**asdict(default), **preset.get(stage, {}), **own}
        result[stage] = _section(settings_of(type(default)), merged, f"stages.{stage}", problems)
    return result


def _section(model: type[BaseModel], given: Any, path: str, problems: list[str]) -> dict[str, Any]:
    """Validate one section; returns its values, or what was given if it is wrong."""
    if not isinstance(given, Mapping):
        problems.append(f"{path}: expected a mapping, got {given!r}")
        return {}
    try:
        return model(**given).model_dump()
    except ValidationError as error:
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                problems.append(f"{path}.{_unknown(key, model.model_fields)}")
            else:
                problems.append(f"{path}.{key}: {item['msg'][0].lower()}{item['msg'][1:]}, got {item['input']!r}")
        return {}


def _unknown(key: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    close = difflib.get_close_matches(str(key), list(known), 1)
    return f"{key}: unknown key; " + (f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}")


def _choice(name: object, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(name), list(known), 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"expected one of {', '.join(sorted(known))}, got {name!r}{hint}"


def _plain(value: Any) -> Any:
    """Tuples to lists, so that YAML and JSON write and read the same thing."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
