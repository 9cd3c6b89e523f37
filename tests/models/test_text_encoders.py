"""Every text encoder of the table keeps the contract; the checkpoints' features are those of the models themselves."""

import json
import shutil
from typing import Any

import pytest
import torch
from saved_model import saved_model

from hashret.errors import FileError, InputError
from hashret.examples import Example
from hashret.models import (
    TEXT_ENCODERS,
    Processor,
    Vocabulary,
    build_text_encoder,
    encoder_from_config,
    fit_vocabulary,
)
from hashret.models.processor import Tokens
from hashret.models.text import SmallTransformer, masked_mean

TEXTS = ["a red dog runs on the grass", "the cat sleeps", "Green!", "a " * 30, "a dog on a cat on the grass on a dog"]
KINDS = ("clip", "siglip", "bert", "bert-without-pooler", "distilbert")

ONE = {"layers": 1}
# Options of one small example of each entry; an entry without one fails its tests.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "bag_of_words": [{"size": 6}],
    "tokens": [{"dimension": 7}],
    "trained": [{"run": "transformer"}],
    "transformer": [{"size": 20, "dimension": 8, "layers": 2, "heads": 2, "length": 18}],
    "transformers": [{"checkpoint": kind} for kind in KINDS]
    + [{"checkpoint": "bert", "pooling": "cls"}]
    + [{"checkpoint": kind, **ONE} for kind in ("bert", "clip")],
    "vector": [{"dimension": 7}],
}
CASES = [(name, options) for name in TEXT_ENCODERS for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize(
    ("name", "options"), CASES, ids=lambda case: case if isinstance(case, str) else str([*case.values()])
)
def test_the_contract_of_every_text_encoder(name, options, copied, tmp_path) -> None:
    folder = copied(options["checkpoint"]) if "checkpoint" in options else None
    options = {**options, "checkpoint": str(folder)} if folder else options
    if "run" in options:
        folder = saved_model(tmp_path / "trained")
        options = {"run": str(folder)}
    vocabulary = fit_vocabulary(name, options, TEXTS)
    assert (vocabulary is None) == (name in ("tokens", "trained", "transformers", "vector"))
    encoder = build_text_encoder(name, options, vocabulary).eval()
    given = {"vector": torch.rand(5, encoder.dimension).numpy(), "tokens": torch.rand(5, 3, encoder.dimension).numpy()}
    examples = [Example(text=text) for text in given.get(name, TEXTS)]
    processor = Processor(None, encoder.transform, vocabulary)
    inputs = processor(examples)
    with torch.no_grad():
        features = encoder(inputs.text, inputs.text_mask)
    assert features.pooled.shape == (5, encoder.dimension)
    assert features.pooled.dtype == torch.float32
    assert not torch.equal(features.pooled[0], features.pooled[1])
    assert (features.pooled.min() >= 0) or not encoder.nonnegative
    assert encoder(features.pooled).pooled is features.pooled
    if encoder.token_dimension:
        assert features.tokens is not None
        assert features.mask is not None
        assert features.tokens.shape == (*features.mask.shape, encoder.token_dimension)
    else:
        assert features.tokens is features.mask is None
    assert encoder.pretrained == (name == "transformers")
    with pytest.raises(InputError, match="pooled features float"):
        encoder(torch.rand(2, 3, 32, 32))

    saved = json.loads(json.dumps(encoder.config()))
    processor.save(tmp_path / "run")
    if folder:
        shutil.rmtree(folder)
    torch.manual_seed(1)
    rebuilt = encoder_from_config(saved).eval()
    rebuilt.load_state_dict(encoder.state_dict())
    loaded = Processor.load(tmp_path / "run")
    inputs = loaded(examples)
    with torch.no_grad():
        again = rebuilt(inputs.text, inputs.text_mask)
    assert torch.equal(again.pooled, features.pooled)
    assert rebuilt.config() == encoder.config()
    for fact in ("dimension", "token_dimension", "nonnegative", "pretrained"):
        assert getattr(rebuilt, fact) == getattr(encoder, fact)
    assert loaded.fingerprint("text") == processor.fingerprint("text")
    assert loaded.vocabulary == vocabulary


@pytest.mark.parametrize("name", [name for name in TEXT_ENCODERS if name not in ("tokens", "trained", "vector")])
def test_company_and_padding_do_not_change_a_text(name, checkpoints) -> None:
    options = (
        {**OPTIONS[name][0], "checkpoint": str(checkpoints("bert"))} if name == "transformers" else OPTIONS[name][0]
    )
    encoder = build_text_encoder(name, options, fit_vocabulary(name, options, TEXTS)).eval()
    assert encoder.transform is not None
    with torch.no_grad():
        together = encoder(*encoder.transform(TEXTS)).pooled
        for row, text in enumerate(TEXTS):
            alone = encoder(*encoder.transform([text])).pooled
            assert torch.allclose(alone[0], together[row], atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_two_tower_checkpoints_give_the_models_embedding(kind, checkpoints) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = checkpoints(kind)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    how = {"padding": "max_length"} if kind == "siglip" else {"padding": True}
    theirs = tokenizer(TEXTS, truncation=True, max_length=20, return_tensors="pt", **how)
    encoder = build_text_encoder("transformers", {"checkpoint": str(folder), "length": 99}).eval()
    inputs = Processor(None, encoder.transform)([Example(text=text) for text in TEXTS])
    with torch.no_grad():
        mask = {} if kind == "siglip" else {"attention_mask": theirs["attention_mask"]}
        output = model.get_text_features(input_ids=theirs["input_ids"], **mask)
        ours = encoder(inputs.text, inputs.text_mask).pooled
    assert torch.allclose(ours, output if isinstance(output, torch.Tensor) else output.pooler_output, atol=1e-5)
    assert ours.std() > 1e-3


@pytest.mark.parametrize("pooling", ["auto", "mean", "cls", "model"])
def test_pooling_of_bert(pooling, checkpoints) -> None:
    from transformers import AutoModel

    encoder = build_text_encoder("transformers", {"checkpoint": str(checkpoints("bert")), "pooling": pooling}).eval()
    assert encoder.transform is not None
    ids, mask = encoder.transform(TEXTS)
    with torch.no_grad():
        output = AutoModel.from_pretrained(checkpoints("bert")).eval()(input_ids=ids, attention_mask=mask.long())
        pooled = encoder(ids, mask).pooled
    states = output.last_hidden_state
    expected = {
        "mean": torch.stack([states[row, mask[row]].mean(0) for row in range(len(TEXTS))]),
        "cls": states[:, 0],
        "model": output.pooler_output,
    }
    assert torch.allclose(pooled, expected["mean" if pooling == "auto" else pooling], atol=1e-5)
    assert any("pooler" in name for name in encoder.state_dict()) == (pooling == "model")


@pytest.mark.parametrize("kind", ["bert-without-pooler", "distilbert"])
def test_a_pooling_the_checkpoint_lacks_is_refused(kind, checkpoints) -> None:
    with pytest.raises(InputError, match="pooling: expected mean or cls, got model"):
        build_text_encoder("transformers", {"checkpoint": str(checkpoints(kind)), "pooling": "model"})


@pytest.mark.parametrize("kind", ["bert", "clip", "siglip"])
def test_the_first_layers_are_kept(kind, checkpoints) -> None:
    folder = str(checkpoints(kind))
    whole, cut = (build_text_encoder("transformers", {"checkpoint": folder} | more).eval() for more in ({}, ONE))
    ids, mask = whole.transform(TEXTS)
    with torch.no_grad():
        states = whole.model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
        found = cut(ids, mask).tokens
    assert len(states) == 3
    after = getattr(getattr(cut.model, "text_model", cut.model), "final_layer_norm", torch.nn.Identity())
    assert torch.allclose(found[mask], after(states[1])[mask], atol=1e-6), "what the layer gives within the whole"
    shared = {key: value for key, value in whole.state_dict().items() if key in cut.state_dict()}
    assert set(shared) == set(cut.state_dict()) < set(whole.state_dict())
    assert all(torch.equal(value, cut.state_dict()[key]) for key, value in shared.items())
    again = build_text_encoder("transformers", {"checkpoint": folder, "layers": 2})
    assert set(again.state_dict()) == set(whole.state_dict())


@pytest.mark.parametrize("layers", [0, -1, 3])
def test_layers_the_checkpoint_lacks_are_refused(layers, checkpoints) -> None:
    with pytest.raises(InputError, match=rf"layers: expected 1 \.\.\. 2, the layers of checkpoint .*got {layers}"):
        build_text_encoder("transformers", {"checkpoint": str(checkpoints("bert")), "layers": layers})


def test_a_checkpoint_without_one_stack_is_not_cut(checkpoints, monkeypatch) -> None:
    from hashret.models import text

    monkeypatch.setattr(text, "open_checkpoint", lambda checkpoint, side: torch.nn.Linear(2, 2))
    monkeypatch.setattr(torch.nn.Linear, "config", None, raising=False)
    with pytest.raises(InputError, match="a model with one stack of layers, got checkpoint x with 0"):
        build_text_encoder("transformers", {"checkpoint": "x", "layers": 1})


def test_texts_are_cut_to_what_the_model_reads(checkpoints) -> None:
    folder = str(checkpoints("bert"))
    for wanted, got in ((64, 20), (16, 16), (5, 5)):
        encoder = build_text_encoder("transformers", {"checkpoint": folder, "length": wanted})
        assert isinstance(encoder.transform, Tokens)
        ids, mask = encoder.transform(["a " * 100, "dog"])
        assert ids.shape == (2, got)
        assert mask is not None
        assert mask.sum(1).tolist() == [got, 3]
        assert ids[0, -1] == 3  # the end of the text is marked although it was cut
        assert ids[1, :3].tolist() == [2, 7, 3]


def test_short_texts_make_narrow_batches(checkpoints) -> None:
    encoder = build_text_encoder("transformers", {"checkpoint": str(checkpoints("bert"))})
    assert encoder.transform is not None
    assert encoder.transform(["a dog", "cat"])[0].shape == (2, 16)
    siglip = build_text_encoder("transformers", {"checkpoint": str(checkpoints("siglip"))})
    assert siglip.transform is not None
    ids, mask = siglip.transform(["a dog", "cat"])
    assert ids.shape == (2, 20)
    assert mask is not None
    assert mask.all()


def test_missing_parts_are_named(copied) -> None:
    with pytest.raises(InputError, match="vocabulary: expected one for the text encoder bag_of_words, got none"):
        build_text_encoder("bag_of_words", {})
    with pytest.raises(
        InputError, match="expected one of bag_of_words, tokens, trained, transformer, transformers, vector, got 'bert'"
    ):
        build_text_encoder("bert", {})
    with pytest.raises(InputError, match="at most 1 words, the encoder's size, got 2"):
        build_text_encoder("bag_of_words", {"size": 1}, Vocabulary(("a", "b")))
    with pytest.raises(InputError, match="a multiple of 3 heads, got 8"):
        build_text_encoder("transformer", {"heads": 3, "dimension": 8}, Vocabulary(("a",)))
    with pytest.raises(InputError, match="an encoder of texts, CLIP or SigLIP, got a t5 model"):
        build_text_encoder("transformers", {"checkpoint": str(copied("t5"))})
    folder = copied("bert")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(FileError, match="checkpoint .*: expected a tokenizer of about 14 tokens, got one of"):
        build_text_encoder("transformers", {"checkpoint": str(folder)})


def test_the_mean_leaves_filling_out() -> None:
    tokens, mask = torch.rand(3, 4, 2), torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]]) > 0
    pooled = masked_mean(tokens, mask)
    assert torch.allclose(pooled[0], tokens[0].mean(0))
    assert torch.allclose(pooled[1], (tokens[1, 0] + tokens[1, 2]) / 2)
    assert pooled[2].tolist() == [0, 0]


def test_the_small_transformer_learns_word_order() -> None:
    """ "dog cat" from "cat dog": a bag of words cannot."""
    torch.manual_seed(0)
    encoder = SmallTransformer(4, dimension=16, layers=1, heads=2, length=8)
    head = torch.nn.Linear(16, 1)
    ids, mask = torch.tensor([[2, 3], [3, 2]]), torch.ones(2, 2, dtype=torch.bool)
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            head(encoder(ids, mask).pooled)[:, 0], torch.tensor([0.0, 1.0])
        )
        loss.backward()
        optimiser.step()
    scores = head(encoder.eval()(ids, mask).pooled)[:, 0]
    assert scores[1] - scores[0] > 2
