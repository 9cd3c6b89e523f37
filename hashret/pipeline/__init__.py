"""The one place where both wings meet: recipe -> data -> method -> codes -> index -> hits -> scores.

Everything a command does is a function here, so that a script can do it too. Nothing is printed; what a person should
hear goes to ``say``.
"""

from hashret.pipeline.encode import Encoded, encode
from hashret.pipeline.evaluate import Results, evaluate_run
from hashret.pipeline.files import Found, index, search
from hashret.pipeline.findings import Findings, examine
from hashret.pipeline.second_look import evaluate_second_look
from hashret.pipeline.train import Say, leads, load_data, read_recipe, train

__all__ = [
    "Encoded",
    "Findings",
    "Found",
    "Results",
    "Say",
    "encode",
    "evaluate_run",
    "evaluate_second_look",
    "examine",
    "index",
    "leads",
    "load_data",
    "read_recipe",
    "search",
    "train",
]
