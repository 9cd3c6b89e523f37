"""Improved CRCGS: its terms against loops, which are there, what inputs and generators owe, that it learns."""

import math

import pytest
import torch
from labelled_views import KINDS, WIDTH, found

from hashret.errors import InputError, TrainingError
from hashret.methods import METHODS, Batch
from hashret.models import Inputs, VectorEncoder
from hashret.pipeline import read_recipe

ITEMS, PIXELS, WORDS, CLASSES = 6, 7, 5, 3
KIND = METHODS["crcgs"]
IMAGE_TO_TEXT, TEXT_TO_IMAGE, EMBEDDING, CODES = KIND.stages
ALWAYS = {"classification", "invariance", "contrast"}
PLAIN = {"standardize": "none", "image_dropout": 0.0, "base_dropout": 0.0}  # the same for a term and its oracle
NO_BASE = {"classification_weight": 0.0}
NO_CONTRAST = {"contrastive_weight": 0.0, "intra_weight": 0.0}


def build(pixels=PIXELS, words=WORDS, classes=CLASSES, **options):
    torch.manual_seed(0)
    sizes = {"bits": 16, "width": 24, "base_width": 20, "dimension": 10, "generative_dimension": 9}
    sizes |= {"generator_dropout": 0.0}
    encoders = VectorEncoder(dimension=pixels), VectorEncoder(dimension=words)
    return KIND(*encoders, classes=classes, words=words, options=KIND.options(**{**sizes, **options}))


def batch(method, stage=EMBEDDING, seed=1):
    """Six items, the first without a label; what the stage keeps is what the method gives."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(ITEMS, CLASSES, generator=generator) < 0.5).float()
    labels[0] = 0
    query = Inputs(image=torch.randn(ITEMS, PIXELS, generator=generator))
    target = Inputs(text=torch.rand(ITEMS, WORDS, generator=generator))
    with torch.no_grad():
        kept = {
            side: method.eval().fixed(inputs, stage, side)
            for side, inputs in (("query", query), ("target", target))
            if side in stage.keeps
        }
    method.prepare(stage)
    return Batch(query, target, labels, torch.arange(ITEMS), kept.get("query"), kept.get("target"))


def terms_of(method, given, stage=EMBEDDING):
    torch.manual_seed(0)
    return {name: float(term.detach()) for name, term in method.losses(given, stage, stage.turns[0]).items()}


def cosine(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)


def contrast(x, y, labels, temperature):
    """Supervised contrast in loops: what shares a label is right, and everything with itself; both directions."""
    total = 0.0
    for ours, theirs in ((x, y), (y, x)):
        for i, row in enumerate(ours):
            scores = [cosine(row, other) / temperature for other in theirs]
            whole = math.log(sum(math.exp(score) for score in scores))
            right = [
                j for j in range(ITEMS) if i == j or any(a and b for a, b in zip(labels[i], labels[j], strict=True))
            ]
            total -= sum(scores[j] - whole for j in right) / len(right)
    return total / (2 * ITEMS)


def views(method, given):
    """v, t and a, b."""
    with torch.no_grad():
        (v, a), (t, b) = (method._halves(inputs) for inputs in (given.query, given.target))
    return [side.tolist() for side in (v, t, a, b)]


def test_contrast_of_the_converted_features_across_and_within():
    method = build(contrastive_temperature=0.3, contrastive_weight=2.0, intra_weight=0.5, **PLAIN)
    given = batch(method)
    _, _, a, b = views(method, given)
    labels = given.labels.tolist()
    shared = given.labels @ given.labels.T > 0
    assert 0.3 < shared.float().mean() < 0.8, "some are right for each other, some are not"
    terms = terms_of(method, given)
    assert terms["contrast"] == pytest.approx(2 * contrast(a, b, labels, 0.3), rel=1e-5)
    within = (contrast(a, a, labels, 0.3) + contrast(b, b, labels, 0.3)) / 2
    assert terms["intra"] == pytest.approx(0.5 * within, rel=1e-5)


def test_the_contrast_is_across_modalities_and_the_other_within():
    """Turning one modality's items about changes what is across, and nothing within."""
    method = build(intra_weight=1.0, **PLAIN)
    given = batch(method)
    before = terms_of(method, given)
    rows = torch.tensor([1, 2, 3, 4, 5, 0])
    given.target, given.labels = given.target.rows(rows), torch.zeros_like(given.labels)
    moved = terms_of(method, given)
    given.target = given.target.rows(rows.argsort())
    unlabelled = terms_of(method, given)
    assert moved["intra"] == pytest.approx(unlabelled["intra"], rel=1e-5)
    assert abs(moved["contrast"] - unlabelled["contrast"]) > 1e-3
    assert before["intra"] != pytest.approx(unlabelled["intra"], rel=1e-3), "labels are read"


@pytest.mark.parametrize(
    ("weight", "name"),
    [
        ("classification_weight", "classification"), ("invariance_weight", "invariance"), ("pair_weight", "pair"),
        ("contrastive_weight", "contrast"), ("intra_weight", "intra"), ("support_weight", "support_set"),
        ("generative_weight", "generative"),
    ],
)  # fmt: skip
def test_a_term_of_weight_0_is_left_out_and_another_counts_by_its_weight(weight, name):
    def terms(value):
        method = build(**{"pair_weight": 0.5, **PLAIN, weight: value})
        method.get_buffer("taught").fill_(True)
        return terms_of(method, batch(method))

    none, once, thrice = terms(0.0), terms(1.0), terms(3.0)
    assert name not in none
    assert set(once) == set(none) | {name}
    assert once[name] > 0
    assert thrice == pytest.approx({**once, name: 3 * once[name]}, rel=1e-5)


def test_the_defaults_leave_out_what_did_not_earn_its_place():
    method = build()
    assert set(terms_of(method, batch(method))) == ALWAYS
    assert [stage.name for stage in KIND.stages if KIND.settings[stage.name].epochs] == ["embedding", "codes"]


def test_an_embedding_is_base_features_beside_converted_ones():
    method = build(base_share=0.2, **PLAIN).eval()
    given = batch(method)
    method.eval()
    v, t, a, b = (torch.tensor(side) for side in views(method, given))
    for inputs, base, converted in ((given.query, v, a), (given.target, t, b)):
        found = method.embed(inputs)
        assert found.shape == (ITEMS, method.dimension) == (ITEMS, 20)
        cosines = [torch.nn.functional.normalize(half, dim=1) for half in (base, converted)]
        mixed = 0.2 * cosines[0] @ cosines[0].T + 0.8 * cosines[1] @ cosines[1].T
        assert torch.allclose(found @ found.T, mixed, atol=1e-5), "cosines are mixed by base_share"


@pytest.mark.parametrize(
    ("options", "terms"), [(NO_BASE, {"contrast"}), (NO_CONTRAST, {"classification", "invariance"})]
)
def test_a_half_that_nothing_teaches_is_not_there(options, terms):
    method = build(**options)
    assert set(terms_of(method, batch(method))) == terms
    assert method.dimension == 10
    assert method.embed(batch(method).query).shape == (ITEMS, 10)
    assert len(list(build().parameters())) - len(list(method.parameters())) == 6, "two towers and their shared layer"


@pytest.mark.parametrize(("weight", "term"), [("generative_weight", "generative"), ("support_weight", "support_set")])
def test_no_term_that_has_a_weight_is_left_out(weight, term):
    method = build(**NO_CONTRAST, **{weight: 1.0})
    method.get_buffer("taught").fill_(True)
    assert set(terms_of(method, batch(method))) == {"classification", "invariance", term}


def test_something_has_to_teach_the_shared_space():
    with pytest.raises(InputError, match=r"method: expected a weight above 0 for classification, pair, contrastive"):
        build(**NO_BASE, **NO_CONTRAST)


@pytest.mark.parametrize("classification", ["rows", "bce"])
def test_terms_of_the_base_features(classification):
    weights = {"pair_weight": 0.5, "classification_weight": 0.5, "invariance_weight": 2.0}
    method = build(likelihood_scale=2.0, classification=classification, **weights, **PLAIN)
    given = batch(method)
    v, t, _, _ = views(method, given)
    labels = given.labels.tolist()
    pair = sum(
        math.log(1 + math.exp(theta))
        - theta * (i == j or any(a and b for a, b in zip(labels[i], labels[j], strict=True)))
        for p, q in ((v, v), (v, t), (t, t))
        for i in range(ITEMS)
        for j in range(ITEMS)
        for theta in [2 * cosine(p[i], q[j])]
    )
    said = [method.classifier(torch.tensor(side)).tolist() for side in (v, t)]
    if classification == "rows":
        classified = sum(math.dist(row, right) for side in said for row, right in zip(side, labels, strict=True))
    else:
        classified = sum(
            math.log(1 + math.exp(-logit if right else logit)) / CLASSES
            for side in said
            for row, wanted in zip(side, labels, strict=True)
            for logit, right in zip(row, wanted, strict=True)
        )
    terms = terms_of(method, given)
    assert terms["pair"] == pytest.approx(0.5 * pair / ITEMS**2, rel=1e-5)
    assert terms["classification"] == pytest.approx(0.5 * classified / ITEMS, rel=1e-5)
    assert terms["invariance"] == pytest.approx(2 * sum(map(math.dist, v, t)) / ITEMS, rel=1e-5)


def test_the_hash_layer_keeps_neighbourhoods_by_the_codes_themselves():
    method = build(neighbour_scale=3.0)
    given = batch(method, CODES)
    given.query = given.target = None
    rows = torch.cat([given.query_fixed, given.target_fixed])
    signs = (method.hash(rows * math.sqrt(20)) >= 0) * 2.0 - 1
    total = 0.0
    for row, code in zip(rows.tolist(), signs.tolist(), strict=True):
        p = [math.exp(3 * cosine(row, other)) for other in rows.tolist()]
        q = [math.exp(3 * cosine(code, other)) for other in signs.tolist()]
        total += sum(a / sum(p) * math.log(a / sum(p) * sum(q) / b) for a, b in zip(p, q, strict=True))
    assert terms_of(method, given, CODES) == pytest.approx({"neighbours": total / len(rows)}, rel=1e-4)


def test_codes_may_learn_by_labels_too():
    method = build(hash_contrast_weight=0.5, contrastive_temperature=0.4)
    given = batch(method, CODES)
    codes = [
        ((method.hash(rows * math.sqrt(20)) >= 0) * 2.0 - 1).tolist()
        for rows in (given.query_fixed, given.target_fixed)
    ]
    terms = terms_of(method, given, CODES)
    assert set(terms) == {"neighbours", "contrast"}
    assert terms["contrast"] == pytest.approx(0.5 * contrast(*codes, given.labels.tolist(), 0.4), rel=1e-5)


def test_generators_that_have_not_learned_are_refused():
    method = build(generative_weight=0.5)
    given = batch(method)
    with pytest.raises(
        TrainingError, match=r"generative_weight: expected generators that have learned.*set the weight"
    ):
        terms_of(method, given)
    terms_of(method, batch(method, IMAGE_TO_TEXT), IMAGE_TO_TEXT)
    with pytest.raises(TrainingError, match="generative_weight"):  # one of two
        terms_of(method, given)


def test_the_generative_contrast_once_both_have_learned():
    method = build(generative_weight=0.5, contrastive_temperature=0.4, **PLAIN)
    for stage in (IMAGE_TO_TEXT, TEXT_TO_IMAGE):
        learn(method, stage)
    restored = build(generative_weight=0.5, contrastive_temperature=0.4, **PLAIN)
    restored.load_state_dict(method.state_dict())  # as after a resumed run or from_pretrained
    for one in (method, restored):
        given = batch(one)
        _, _, a, b = views(one, given)
        g_image, g_text = given.query_fixed.tolist(), given.target_fixed.tolist()
        assert g_image == one.image_to_text.encoder(given.query.image).tolist()
        assert g_text == one.text_to_image.encoder(given.target.text).tolist()
        a, b = one.image_conversion(torch.tensor(a)).tolist(), one.text_conversion(torch.tensor(b)).tolist()
        four = ((g_image, a), (g_text, b), (g_image, b), (g_text, a))
        total = sum(contrast(g, z, given.labels.tolist(), 0.4) for g, z in four)
        assert terms_of(one, given)["generative"] == pytest.approx(0.5 * total / 4, rel=1e-5)


def learn(method, stage):
    """A few steps of a generator, which rebuilds the other modality better after them."""
    given = batch(method, stage)
    own = method.parameters_of(stage, stage.turns[0])["heads"]
    optimizer, totals = torch.optim.Adam(own, 1e-2), []
    for _ in range(20):
        (total,) = method.losses(given, stage, stage.turns[0]).values()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0]


@pytest.mark.parametrize("standardize", ["none", "images", "texts", "both"])
@pytest.mark.parametrize("side", ["images", "texts"])
def test_standardized_inputs_may_be_shifted_and_scaled(side, standardize):
    """In training the batch's own means count: the loss is that of the same features in other units."""
    method = build(image_dropout=0.0, base_dropout=0.0, standardize=standardize)
    given = batch(method)
    before = terms_of(method, given)
    if side == "images":
        given.query = Inputs(image=300 * given.query.image + 70)
    else:
        given.target = Inputs(text=300 * given.target.text + 70)
    after = terms_of(method, given)
    if standardize in (side, "both"):
        assert after == pytest.approx(before, abs=1e-3)
    else:
        assert max(abs(after[term] - before[term]) for term in before) > 0.01


def test_evaluation_reads_inputs_by_the_means_of_training():
    method = build(image_dropout=0.5)
    given = batch(method)
    for _ in range(60):
        terms_of(method, given)
    method.eval()
    with torch.no_grad():
        codes = method.relaxed(given.query)
        alone = torch.cat([method.relaxed(given.query.rows([i])) for i in range(ITEMS)])
        x = given.query.image
        standard = (x - x.mean(0)) / (x.var(0) + 1e-5).sqrt()
        halves = [half.shared(half.image[2:](standard)) for half in (method.base, method.converted)]
        scaled = zip(halves, (method.o.base_share, 1 - method.o.base_share), strict=True)
        embedding = torch.cat([math.sqrt(s) * torch.nn.functional.normalize(half, dim=1) for half, s in scaled], dim=1)
    assert torch.allclose(alone, codes, atol=1e-5), "no item depends on what is encoded with it"
    assert torch.allclose(embedding, method.embed(given.query), atol=0.02)


LEARNING = {
    "default": {},
    "all terms": {
        "pair_weight": 1.0, "classification": "bce", "support_weight": 0.1, "generative_weight": 0.3,
    },
    "base only": NO_CONTRAST,
    "contrast only": NO_BASE,
}  # fmt: skip


@pytest.mark.parametrize("options", LEARNING.values(), ids=LEARNING)
def test_new_items_of_a_label_are_found(options, tmp_path):
    before, after = found(build(WIDTH, WIDTH, KINDS, standardize="both", bits=32, **options), 25, tmp_path)
    assert before < 0.5
    assert after > 0.7


def test_the_variant_of_a_recipe():
    raw = {
        "data": {"name": "shapes"}, "image": {"name": "cnn"}, "text": {"name": "bag_of_words"},
        "method": {"name": "crcgs", "bits": 32},
    }  # fmt: skip
    improved = read_recipe(raw)
    assert improved == read_recipe(raw, ["method.variant=improved"])
    assert list(improved.stages) == ["image_to_text", "text_to_image", "embedding", "codes"]
    published = read_recipe(raw, ["method.variant=published", "method.preset=published-nuswide"])
    assert published.method.name == "crcgs_published"
    assert published.method.options["support_weight"] == 40.0
    assert published.stages["binary"]["epochs"] == 60
    assert list(published.stages) == ["image_to_text", "text_to_image", "student", "binary"]
