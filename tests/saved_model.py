"""A model of small encoders with fresh weights, saved as a run saves its own."""

from pathlib import Path

import torch

from hashret.methods import METHODS
from hashret.models import Processor, Vocabulary, build_image_encoder, build_text_encoder
from hashret.retriever import Retriever

WORDS = ("dog", "red", "cat", "sleeps", "green", "grass", "a", "on", "the")


def saved_model(folder: Path) -> Path:
    """Write one of `contrastive` over a cnn and a transformer."""
    torch.manual_seed(3)
    image = build_image_encoder("cnn", {"size": 32, "width": 4, "dimension": 12})
    text = build_text_encoder("transformer", {"dimension": 8, "layers": 1, "heads": 2}, Vocabulary(WORDS))
    kind = METHODS["contrastive"]
    options = kind.options(bits=16, width=8, dimension=8)
    method = kind(image, text, classes=0, words=len(WORDS), options=options)
    Retriever(method, Processor.of(image, text)).save_pretrained(folder)
    return folder
