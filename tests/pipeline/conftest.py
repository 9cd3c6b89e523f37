"""A model to encode with: random weights, small, saved as a run would be; it takes images, texts and both together."""

from pathlib import Path

import pytest
import torch

from hashret.methods import METHODS
from hashret.models import Processor, build_image_encoder, build_text_encoder
from hashret.models.bag_of_words import Vocabulary
from hashret.retriever import Retriever

SENTENCES = ["a red dog runs", "a green cat sleeps on the grass", "the dog", "something blue and something red"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    vocabulary = Vocabulary.fit(SENTENCES, size=20)
    images = build_image_encoder("cnn", {"size": 32, "width": 8, "dimension": 16})
    texts = build_text_encoder("bag_of_words", {}, vocabulary)
    kind = METHODS["contrastive"]
    method = kind(images, texts, classes=0, words=len(vocabulary), options=kind.options(bits=33, dimension=24))
    for name, buffer in method.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    folder = tmp_path_factory.mktemp("model")
    Retriever(method, Processor.of(images, texts, vocabulary)).save_pretrained(folder)
    return folder
