"""What every entry of HASHERS owes its users; a new entry needs sample data here before anything passes."""

import inspect
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from hashret.codes import Codes
from hashret.errors import FormatError, InputError, NonFiniteError, WidthError
from hashret.hashers import HASHERS, load_hasher
from hashret.hashers.hasher import Hasher, PairHasher, VectorHasher

BITS = 12


def _views(items, seed):
    """Paired vectors (images, texts) and labels of three classes, all from common latent vectors."""
    world, rng = np.random.default_rng(1), np.random.default_rng(seed)
    latent = rng.normal(size=(items, 6))
    x, y = (latent @ world.normal(size=(6, w)) + 0.3 * rng.normal(size=(items, w)) for w in (20, 16))
    return x, y, np.eye(3, dtype=np.uint8)[latent[:, :3].argmax(1)]


# One line an entry: parameters that fit the sample.
SAMPLES = {
    "cca_itq": {"bits": BITS},
    "cca_sign": {"bits": BITS},
    "itq": {"bits": BITS},
    "lsh": {"bits": BITS},
    "pca_sign": {"bits": BITS},
    "scm": {"bits": BITS},
    "seph": {"bits": BITS, "anchors": 40},
}
PAIRED = sorted(name for name, kind in HASHERS.items() if issubclass(kind, PairHasher))
VECTORS = sorted(name for name, kind in HASHERS.items() if issubclass(kind, VectorHasher))


@dataclass
class Sample:
    """An unfitted hasher with what it can be fitted on and asked for, whatever kind it is."""

    hasher: Hasher
    given: dict[str, np.ndarray]

    def fit(self, hasher=None, **changed):
        hasher = self.hasher if hasher is None else hasher
        return hasher.fit(*(changed.get(name, self.given[name]) for name in hasher.inputs))

    def sides(self):
        """Name of the side and vectors of it; one modality has one side without a name."""
        if "vectors" in self.hasher.inputs:
            return {"": self.given["vectors"]}
        return {"image": self.given["images"], "text": self.given["texts"]}


def coded(hasher, vectors, side):
    return hasher.transform(vectors, side=side) if side else hasher.transform(vectors)


@pytest.fixture(params=sorted(HASHERS))
def sample(request):
    assert request.param in SAMPLES, f"give {request.param} a line in SAMPLES"
    images, texts, labels = _views(150, 0)
    given = {"vectors": images, "images": images, "texts": texts, "labels": labels}
    return Sample(
        HASHERS[request.param](**SAMPLES[request.param]), {name: value.copy() for name, value in given.items()}
    )


def test_every_sample_has_an_entry():
    assert set(SAMPLES) == set(HASHERS)
    assert set(PAIRED) | set(VECTORS) == set(HASHERS)
    assert all(kind.name == name for name, kind in HASHERS.items())


def test_parameters_make_the_round_trip(sample):
    hasher = sample.hasher
    assert isinstance(hasher, BaseEstimator)
    parameters = hasher.get_params()
    assert set(parameters) == set(inspect.signature(type(hasher)).parameters)
    assert "bits" in parameters
    twin = type(hasher)().set_params(**parameters)
    assert twin.get_params() == parameters
    unfitted = clone(sample.fit())
    assert unfitted.get_params() == parameters
    for side, vectors in sample.sides().items():
        with pytest.raises(NotFittedError):
            coded(unfitted, vectors, side)
    with pytest.raises(NotFittedError):
        unfitted.save("nowhere")


def test_the_constructor_only_stores(sample):
    assert vars(sample.hasher) == sample.hasher.get_params()


def test_fit_returns_itself_and_changes_no_input(sample):
    parameters = sample.hasher.get_params()
    before = {name: value.copy() for name, value in sample.given.items()}
    assert sample.fit() is sample.hasher
    for side, vectors in sample.sides().items():
        coded(sample.hasher, vectors, side)
    assert sample.hasher.get_params() == parameters
    for name, value in before.items():
        np.testing.assert_array_equal(sample.given[name], value)


def test_same_seed_same_codes(sample):
    for side, vectors in sample.sides().items():
        fitted = [sample.fit(clone(sample.hasher)) for _ in range(2)]
        codes = [coded(hasher, vectors, side) for hasher in fitted]
        assert codes[0] == codes[1]
        assert coded(sample.fit(fitted[0]), vectors, side) == codes[0], "fitted again, it forgets"
        if "seed" in sample.hasher.get_params():
            other = sample.fit(clone(sample.hasher).set_params(seed=sample.hasher.seed + 1))
            assert coded(other, vectors, side) != codes[0]


def test_codes_are_as_many_and_as_wide_as_asked(sample):
    sample.fit()
    for side, vectors in sample.sides().items():
        codes = coded(sample.hasher, vectors, side)
        assert isinstance(codes, Codes)
        assert (len(codes), codes.bits) == (len(vectors), BITS)
        assert len(coded(sample.hasher, vectors[:0], side)) == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_code_does_not_depend_on_its_batch(sample, dtype):
    sample.fit()
    for side, vectors in sample.sides().items():
        vectors = vectors.astype(dtype)
        alone = [coded(sample.hasher, vectors[i : i + 1], side) for i in range(len(vectors))]
        assert Codes.concatenate(alone) == coded(sample.hasher, vectors, side)
        assert coded(sample.hasher, vectors.astype(np.float64), side) == coded(sample.hasher, vectors, side)


def test_codes_say_more_than_chance(sample):
    """Pairs agree more than strangers; with one modality, an item and a slightly changed copy do."""
    sample.fit()
    images, texts, _ = _views(100, 1)
    sides = {"image": images, "text": texts} if len(sample.sides()) == 2 else {"": images}
    noise = np.random.default_rng(2).normal(size=images.shape) * 0.3
    last = {"": images + noise, "text": texts}
    a, b = (coded(sample.hasher, *pair).unpack() for pair in (
        (next(iter(sides.values())), next(iter(sides))), (last[list(sides)[-1]], list(sides)[-1]),
    ))  # fmt: skip
    assert (a == b).mean() > (a == np.roll(b, 1, axis=0)).mean() + 0.15


def test_a_saved_hasher_comes_back(sample, tmp_path):
    sample.fit().save(tmp_path / "hasher")
    for again in (load_hasher(tmp_path / "hasher"), type(sample.hasher).load(tmp_path / "hasher")):
        assert type(again) is type(sample.hasher)
        assert again.get_params() == sample.hasher.get_params()
        for side, vectors in sample.sides().items():
            assert coded(again, vectors, side) == coded(sample.hasher, vectors, side)
        for name in type(again).learned:
            ours, theirs = getattr(sample.hasher, name), getattr(again, name)
            assert type(ours) is type(theirs) or isinstance(ours, float)
            assert np.array_equal(ours.packed, theirs.packed) if isinstance(ours, Codes) else np.all(ours == theirs)
        again.save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "hasher").read_bytes()
    assert {name for name in vars(sample.hasher) if name.endswith("_")} <= {*sample.hasher.learned, "n_features_in_"}


def test_a_damaged_or_foreign_file_is_refused(sample, tmp_path):
    sample.fit().save(tmp_path / "hasher")
    whole = (tmp_path / "hasher").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError):
        load_hasher(tmp_path / "half")
    other = next(kind for kind in HASHERS.values() if kind is not type(sample.hasher))
    with pytest.raises(FormatError, match=other.name):
        other.load(tmp_path / "hasher")
    Codes(np.zeros((2, 1), np.uint8), 8).save(tmp_path / "codes")
    with pytest.raises(FormatError, match="hashret.hasher/1"):
        load_hasher(tmp_path / "codes")


def test_mistakes_have_names(sample):
    name, side = list(sample.hasher.inputs)[0], list(sample.sides())[-1]
    given = sample.given[name]
    vectors = sample.sides()[side]
    with pytest.raises(NonFiniteError, match="infinity .* row 3, column 3"):
        sample.fit(**{name: np.where(given == given[3, 3], np.inf, given)})
    with pytest.raises(InputError):
        sample.fit(**{name: given[0]})
    for bits in (0, 4.0, True, "8"):
        with pytest.raises(InputError, match="bits"):
            sample.fit(clone(sample.hasher).set_params(bits=bits))
    sample.fit()
    with pytest.raises(WidthError, match=str(vectors.shape[1])):
        coded(sample.hasher, vectors[:, 1:], side)
    with pytest.raises(NonFiniteError, match="NaN in row 0, column 0"):
        coded(sample.hasher, np.where(vectors == vectors[0, 0], np.nan, vectors), side)
    for bad in (vectors[0], vectors.astype(str), vectors.astype(complex)):
        with pytest.raises(InputError):
            coded(sample.hasher, bad, side)


@pytest.mark.parametrize("name", PAIRED)
def test_mistakes_of_pairs_have_names(name):
    images, texts, labels = _views(150, 0)
    hasher = HASHERS[name](**SAMPLES[name])
    rest = (labels,) if "labels" in hasher.inputs else ()
    with pytest.raises(InputError, match="150 images and 149 texts"):
        hasher.fit(images, texts[:-1], *rest)
    with pytest.raises(InputError, match="texts: expected rows that differ"):
        hasher.fit(images, np.ones_like(texts), *rest)
    if rest:
        with pytest.raises(WidthError, match="labels: expected 150 rows"):
            hasher.fit(images, texts, labels[1:])
        bare = labels.copy()
        bare[4] = 0
        with pytest.raises(InputError, match="none in row 4"):
            hasher.fit(images, texts, bare)
        with pytest.raises(InputError, match="zeros and ones"):
            hasher.fit(images, texts, labels * 2)
    hasher.fit(images, texts, *rest)
    with pytest.raises(InputError, match="'image' or 'text'"):
        hasher.transform(images, side="both")


def _unpacked(kind):
    """The same hasher, its codes as an array; a global of this module, since scikit-learn pickles it."""

    def transform(self, X):  # noqa: N803
        return kind.transform(self, X).unpack()

    return type(f"Unpacked{kind.__name__}", (kind,), {"transform": transform, "__module__": __name__})


globals().update({f"Unpacked{HASHERS[name].__name__}": _unpacked(HASHERS[name]) for name in VECTORS})


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")  # array_api needs another package
def test_scikit_learns_own_contract(name):
    hasher = globals()[f"Unpacked{HASHERS[name].__name__}"](**{**SAMPLES[name], "bits": 1})
    ours = {"check_dtype_object": "it wants a TypeError; a named error of this package is a ValueError"}
    results = check_estimator(hasher, expected_failed_checks=ours)
    assert sum(result["status"] == "passed" for result in results) > 30
