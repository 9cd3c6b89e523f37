"""What every entry of HASHERS owes its users; a new entry needs sample data here before anything passes."""

import inspect

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError

from hashret.codes import Codes
from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.hashers import HASHERS

BITS = 12


def _views(items, seed):
    world, rng = np.random.default_rng(1), np.random.default_rng(seed)
    latent = rng.normal(size=(items, 6))
    return [latent @ world.normal(size=(6, w)) + 0.3 * rng.normal(size=(items, w)) for w in (20, 16)]


# One line an entry: parameters that fit the sample, and paired vectors (images, texts).
SAMPLES = {"cca_sign": ({"bits": BITS}, _views(150, 0))}


@pytest.fixture(params=sorted(HASHERS))
def sample(request):
    """An unfitted hasher of each kind with vectors to fit it on."""
    assert request.param in SAMPLES, f"give {request.param} a line in SAMPLES"
    options, (images, texts) = SAMPLES[request.param]
    return HASHERS[request.param](**options), images.copy(), texts.copy()


def test_every_sample_has_an_entry():
    assert set(SAMPLES) == set(HASHERS)


def test_parameters_make_the_round_trip(sample):
    hasher, images, texts = sample
    assert isinstance(hasher, BaseEstimator)
    parameters = hasher.get_params()
    assert set(parameters) == set(inspect.signature(type(hasher)).parameters)
    assert {"bits", "seed"} <= set(parameters)
    twin = type(hasher)().set_params(**parameters)
    assert twin.get_params() == parameters
    fitted = hasher.fit(images, texts)
    unfitted = clone(fitted)
    assert unfitted.get_params() == parameters
    with pytest.raises(NotFittedError):
        unfitted.transform(images, side="image")


def test_the_constructor_only_stores(sample):
    hasher, _, _ = sample
    assert vars(hasher) == hasher.get_params()


def test_fit_returns_itself_and_changes_no_input(sample):
    hasher, images, texts = sample
    parameters, before = hasher.get_params(), (images.copy(), texts.copy())
    assert hasher.fit(images, texts) is hasher
    hasher.transform(images, side="image")
    assert hasher.get_params() == parameters
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(texts, before[1])


def test_same_seed_same_codes(sample):
    hasher, images, texts = sample
    codes = [clone(hasher).fit(images, texts).transform(texts, side="text") for _ in range(2)]
    assert codes[0] == codes[1]
    other = clone(hasher).set_params(seed=hasher.seed + 1).fit(images, texts)
    assert other.transform(texts, side="text") != codes[0]


def test_codes_are_as_many_and_as_wide_as_asked(sample):
    hasher, images, texts = sample
    hasher.fit(images, texts)
    for vectors, side in ((images, "image"), (texts, "text")):
        codes = hasher.transform(vectors, side=side)
        assert isinstance(codes, Codes)
        assert (len(codes), codes.bits) == (len(vectors), BITS)
        assert len(hasher.transform(vectors[:0], side=side)) == 0


def test_a_code_does_not_depend_on_its_batch(sample):
    hasher, images, texts = sample
    hasher.fit(images, texts)
    for vectors, side in ((images, "image"), (texts, "text")):
        alone = Codes.concatenate([hasher.transform(vectors[i : i + 1], side=side) for i in range(len(vectors))])
        assert alone == hasher.transform(vectors, side=side)


def test_codes_say_more_than_chance(sample):
    hasher, images, texts = sample
    hasher.fit(images, texts)
    new_images, new_texts = _views(100, 1)
    a, b = hasher.transform(new_images, side="image").unpack(), hasher.transform(new_texts, side="text").unpack()
    assert (a == b).mean() > (a == np.roll(b, 1, axis=0)).mean() + 0.15


def test_mistakes_have_names(sample):
    hasher, images, texts = sample
    with pytest.raises(NotFittedError):
        hasher.transform(images, side="image")
    with pytest.raises(InputError):
        hasher.fit(images, texts[:-1])
    with pytest.raises(NonFiniteError):
        hasher.fit(np.where(images == images[3, 3], np.inf, images), texts)
    hasher.fit(images, texts)
    with pytest.raises(WidthError):
        hasher.transform(texts, side="image")
    with pytest.raises(NonFiniteError):
        hasher.transform(np.where(texts == texts[0, 0], np.nan, texts), side="text")
    with pytest.raises(InputError):
        hasher.transform(images[0], side="image")
    with pytest.raises(InputError):
        hasher.transform(images, side="both")
