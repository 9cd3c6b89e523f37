"""looks: what a second look adds to each run of a campaign, and what it costs, beside stage 1 and the whole fine score.

Stage 1 is the Hamming distance of the codes, and in the widest runs also the cosine of the embeddings. A query whose
right answers are not in the shortlist is a miss. What was measured is kept in the run folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from campaign import Content, Outcome, say
from fieldtable import Column, Line, field_sheet, method_names

from hashret.pipeline import evaluate_second_look
from hashret.pipeline.evaluate import By
from hashret.report import Cell, Sheet
from hashret.run import Run

__all__ = ["look_sheets", "looked"]

Looks = Mapping[tuple[str, int, By], Sequence[Content]]


def looked(outcomes: Sequence[Outcome], shortlist: int, places: Sequence[int]) -> Looks:
    """Each run by two-stage search; measured unless the run folder holds it.

    Args:
        outcomes: Trained runs.
        shortlist: Candidates of stage 1.
        places: The K of hit@K, none larger than ``shortlist``.

    Returns:
        Method, bits and what stage 1 ranks by -> what was found, a content a seed.
    """
    widest = max(outcome.entry.bits for outcome in outcomes)
    found: dict[tuple[str, int, By], list[Content]] = {}
    names = method_names(outcomes)
    for outcome in outcomes:
        entry = outcome.entry
        ways: list[By] = ["codes", *(["embedding"] if entry.bits == widest else [])]  # type: ignore[list-item]
        for by in ways:
            content = _kept(outcome, by, shortlist, places)
            if content is None:
                say(f"{entry.method}, {entry.bits} bits, seed {entry.seed}: a second look over {shortlist} by {by}")
                metrics = [f"hit@{k}" for k in places]
                content = evaluate_second_look(
                    entry.folder, shortlist, data=entry.root, by=by, metrics=metrics
                ).to_dict()
            found.setdefault((names[entry.method], entry.bits, by), []).append(content)
    return found


def _kept(outcome: Outcome, by: By, shortlist: int, places: Sequence[int]) -> Content | None:
    """What the run folder holds of an earlier measurement of the same kind."""
    path = Run.open(outcome.entry.folder).measured(f"second-look-{by}")[0]
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    scores = [score for tasks in content["scores"].values() for score in tasks.values()]
    whole = all({f"hit@{k}" for k in places} <= set(score["means"]) for score in scores)
    return content if whole and content["shortlist"] == shortlist else None


def _name(method: str, bits: int, by: By, way: str, shortlist: int) -> str:
    first = "cosine" if by == "embedding" else f"{bits} bits"
    told = {"first stage": first, "two stages": f"{first}, then {shortlist} looked at", "exhaustive": "all looked at"}
    return f"{method}, {told[way]}"


def look_sheets(found: Looks, shortlist: int, places: Sequence[int]) -> tuple[Sheet, Sheet]:
    """A table of recalls in percent with their sum, and one of milliseconds a query.

    Args:
        found: From :func:`looked`.
        shortlist: Candidates of stage 1.
        places: The K that are printed.
    """
    lines, times, first = dict[str, dict[Column, list[float]]](), dict[str, dict[str, list[float]]](), None
    for (method, bits, by), contents in found.items():
        for content in contents:
            first = first or content
            for row, scores in content["scores"].items():
                way = row.rpartition(", ")[2]
                if way == "exhaustive" and by == "codes":
                    continue  # the same of every first stage
                name = _name(method, bits, by, way, shortlist)
                values = {(task, k): 100 * score["means"][f"hit@{k}"] for task, score in scores.items() for k in places}
                for at, value in {**values, ("rsum", 0): sum(values.values())}.items():
                    lines.setdefault(name, {}).setdefault(at, []).append(value)
                for task, value in content["milliseconds"][row].items():
                    times.setdefault(name, {}).setdefault(task, []).append(value)
    assert first is not None
    headings = {at: f"{at[0]} R@{at[1]}" if at[1] else at[0] for line in lines.values() for at in line}
    notes = [note for content in next(iter(found.values())) for note in content["notes"] if note.startswith("fine")]
    weights = [
        f"{_name(method, bits, by, 'two stages', shortlist)}: {note}"
        for (method, bits, by), contents in found.items() for content in contents for note in content["notes"]
        if note.startswith("weight")
    ]  # fmt: skip
    caption = [first["dataset"], *dict.fromkeys(notes), *dict.fromkeys(weights)]
    title = "R@K in percent (hit@K); a right answer outside of the shortlist is a miss"
    recalls = field_sheet(title, headings, [Line(name, line) for name, line in lines.items()], [], caption, 1)
    tasks = list(first["sizes"])
    body = tuple(
        (Cell(name), *(Cell(f"{np.median(told[task]):.3f}" if task in told else "-") for task in tasks))
        for name, told in times.items()
    )
    sizes = [f"{task}: {size['gallery']:,} in the gallery" for task, size in first["sizes"].items()]
    return recalls, Sheet(
        ("method", *tasks), body, "milliseconds a query, one at a time, encoded beforehand", tuple(sizes)
    )
