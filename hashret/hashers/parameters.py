"""The checks of a hasher's parameters, which scikit-learn wants made in ``fit``: each names the one that is wrong."""

from __future__ import annotations

import math

import numpy as np

from hashret.errors import InputError

__all__ = ["check_choice", "check_number", "check_whole"]


def check_whole(name: str, value: object, least: int, most: float = math.inf, *, why: str = "") -> int:
    """Take a whole number within bounds.

    Args:
        name: Of the parameter.
        value: What was given; True and 4.0 are no whole numbers.
        least: The smallest that will do.
        most: The largest; infinity for none.
        why: What sets the bounds, a sentence for the remedy.

    Raises:
        InputError: It is another kind of value, or out of bounds.

    Example:
        >>> check_whole("bits", 64, 1)
        64
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and least <= value <= most:
        return int(value)
    bounds = f">= {least}" if most == math.inf else f"{least} ... {int(most)}"
    raise InputError(name, expected=f"a whole number {bounds}", got=repr(value), remedy=why or "Give one within these.")


def check_number(name: str, value: object, *, above: float | None = None, least: float | None = None) -> float:
    """Take a finite number greater than ``above``, or not smaller than ``least``.

    Raises:
        InputError: It is none, or too small.
    """
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if number and math.isfinite(value) and (above is None or value > above) and (least is None or value >= least):  # type: ignore[arg-type,operator]
        return float(value)  # type: ignore[arg-type]
    bounds = f" > {above}" if above is not None else f" >= {least}" if least is not None else ""
    raise InputError(name, expected=f"a number{bounds}", got=repr(value), remedy="Give a finite one.")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices.

    Raises:
        InputError: It is none of them.
    """
    if value not in choices:
        raise InputError(name, expected=" or ".join(map(repr, choices)), got=repr(value), remedy="Choose one of them.")
