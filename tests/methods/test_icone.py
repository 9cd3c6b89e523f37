"""IConE learns pairs by heart in each stage, its classifier is of the training set alone and stays out of the model."""

import pytest
import torch
from overfit import PAIRS, hit_rates, noise_pairs, train_stage

from hashret.errors import TrainingError
from hashret.losses import info_nce, instance
from hashret.methods import METHODS, Batch
from hashret.models import Inputs, Processor, VectorEncoder
from hashret.retriever import Retriever

KIND = METHODS["icone"]
INSTANCE, HEADS, CONTRASTIVE, CODES = KIND.stages
PIXELS, WORDS = 10, 12


def build(instances=PAIRS, **options):
    torch.manual_seed(0)
    sizes = {"bits": 32, "dimension": 24, "width": 48, "hash_width": 48, "image_dropout": 0.0, "text_dropout": 0.0}
    sizes |= options
    image, text = VectorEncoder(dimension=PIXELS), VectorEncoder(dimension=WORDS)
    return KIND(image, text, classes=0, words=WORDS, options=KIND.options(**sizes), instances=instances)


@pytest.mark.parametrize("stage", [INSTANCE, HEADS, CONTRASTIVE], ids=lambda stage: stage.name)
def test_sixteen_pairs_are_learned_by_heart_in_each_stage(stage):
    pairs = noise_pairs(PIXELS, WORDS)
    method = build()
    assert max(hit_rates(method.eval(), pairs).values()) < 0.5
    train_stage(method, pairs, stage, 300)
    assert hit_rates(method, pairs)["embedding"] == 1
    train_stage(method, pairs, CODES, 400)
    assert hit_rates(method, pairs)["codes"] == 1


def batch(rows, numbers, items=PAIRS):
    drawn = torch.Generator().manual_seed(3)
    query, target = (torch.rand(rows, width, generator=drawn) for width in (PIXELS, WORDS))
    return Batch(Inputs(image=query), Inputs(text=target), None, torch.tensor(numbers), items=items)


def test_the_terms_are_the_losses_of_the_embeddings():
    method = build(instance_weight=0.5, text_weight=0.1, instance_scale=9.0).eval()
    given = batch(3, [4, 0, 4])
    f, g = method.embed(given.query), method.embed(given.target)
    terms = method.losses(given, CONTRASTIVE, CONTRASTIVE.turns[0])
    weight, numbers = method.classifier.weight, given.instance
    same = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert torch.allclose(terms["contrast"], info_nce(f, g, same, scale=1 / 0.07))
    assert torch.allclose(terms["image_instance"], 0.5 * instance(f, weight, numbers, scale=9.0))
    assert torch.allclose(terms["text_instance"], 0.05 * instance(g, weight, numbers, scale=9.0))
    first = method.losses(given, INSTANCE, INSTANCE.turns[0])
    assert set(first) == {"image_instance", "text_instance"}
    assert torch.allclose(first["image_instance"], 2 * terms["image_instance"])


def test_a_copy_of_each_image_is_half_of_what_images_learn():
    method = build(instance_weight=0.5, copies=3).eval()
    given = batch(3, [4, 0, 4])
    given.view = Inputs(image=given.query.image + 0.3)
    f, v, g = (method.embed(inputs) for inputs in (given.query, given.view, given.target))
    terms = method.losses(given, CONTRASTIVE, CONTRASTIVE.turns[0])
    same = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    own, copied = (info_nce(images, g, same, scale=1 / 0.07) for images in (f, v))
    assert not torch.allclose(own, copied)
    assert torch.allclose(terms["contrast"], (own + copied) / 2)
    own, copied = (instance(images, method.classifier.weight, given.instance, scale=16.0) for images in (f, v))
    assert torch.allclose(terms["image_instance"], 0.5 * (own + copied) / 2)
    assert (method.copies, method.augmentation.kinds, method.augmentation.smallest) == (3, ("crop", "mirror"), 0.5)
    assert build().augmentation is None


def test_a_copy_in_place_of_its_image_is_all_that_images_learn():
    method = build(copies=3, beside=False).eval()
    assert [method.as_run(stage, standing=False).reads for stage in (INSTANCE, CONTRASTIVE)] == [("target", "view")] * 2
    kept = method.as_run(INSTANCE, standing=True)
    assert (kept.reads, kept.keeps) == ((), ("target", "view"))
    assert method.as_run(HEADS, standing=False).keeps == ("query", "target")
    given = batch(3, [4, 0, 4])
    given.view, given.query = Inputs(image=given.query.image + 0.3), None
    v, g = method.embed(given.view), method.embed(given.target)
    terms = method.losses(given, CONTRASTIVE, CONTRASTIVE.turns[0])
    same = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert torch.allclose(terms["contrast"], info_nce(v, g, same, scale=1 / 0.07))
    expected = instance(v, method.classifier.weight, given.instance, scale=16.0)
    assert torch.allclose(terms["image_instance"], expected)


def test_the_temperature_stops_where_the_largest_scale_says():
    given = batch(3, [4, 0, 4])
    loose, kept = build(temperature=0.02).eval(), build(temperature=0.02, largest_scale=30.0).eval()
    f, g = loose.embed(given.query), loose.embed(given.target)
    same = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    for method, scale in ((loose, 50.0), (kept, 30.0)):
        terms = method.losses(given, CONTRASTIVE, CONTRASTIVE.turns[0])
        assert torch.allclose(terms["contrast"], info_nce(f, g, same, scale=scale))


def test_without_its_weight_stage_two_leaves_the_classifier_alone():
    method = build(instance_weight=0.0)
    terms = method.losses(batch(4, [0, 1, 2, 3]), CONTRASTIVE, CONTRASTIVE.turns[0])
    assert set(terms) == {"contrast"}
    own = {id(p) for group in method.parameters_of(CONTRASTIVE, CONTRASTIVE.turns[0]).values() for p in group}
    assert id(method.classifier.weight) not in own
    assert id(method.log_scale) in own


def test_the_classifier_must_be_of_the_training_set():
    for instances in (0, PAIRS - 1):
        with pytest.raises(TrainingError, match=f"16 training instances, got one of {instances}"):
            build(instances).losses(batch(4, [0, 1, 2, 3]), INSTANCE, INSTANCE.turns[0])


def test_a_saved_model_has_no_classifier_and_gives_the_same_codes(tmp_path):
    method = build()
    retriever = Retriever(method, Processor.of(method.image, method.text))
    retriever.save_pretrained(tmp_path)
    again = Retriever.from_pretrained(tmp_path)
    assert again.method.classifier is None
    assert again.fingerprint() == retriever.fingerprint()
    images = [pair.query for pair in noise_pairs(PIXELS, WORDS)]
    assert again.encode(images) == retriever.encode(images)


@pytest.mark.parametrize("head", ["none", "residual"])
def test_heads_for_encoders_that_share_a_space_begin_with_it(head):
    torch.manual_seed(0)
    image, text = VectorEncoder(dimension=8), VectorEncoder(dimension=8)
    options = KIND.options(bits=8, dimension=8, head=head, width=16, hash_width=8)
    method = KIND(image, text, classes=0, words=8, options=options, instances=4).eval()
    x = torch.rand(5, 8)
    assert torch.allclose(method.embed(Inputs(image=x)), torch.nn.functional.normalize(x, dim=1), atol=1e-6)
