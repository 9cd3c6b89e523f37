"""Segments against a dict of ids: what they hold, what they leave to others, and how often they copy."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.codes import Codes
from hashret.errors import FormatError, InputError
from hashret.search import HammingIndex
from hashret.search import segments as module
from hashret.search.answers import Selection
from hashret.search.blocks import Blocks
from hashret.search.segment import EVERY, Segment, bitset
from hashret.search.segments import Segments

BITS = 20
LARGEST = 2**63 - 1
Ids = NDArray[np.int64]


def random_codes(rows: int, seed: int) -> Codes:
    return Codes(np.packbits(np.random.default_rng(seed).random((rows, BITS)) < 0.5, axis=1), BITS)


def held(segment: Segment) -> dict[int, bytes]:
    names, codes = segment.names().tolist(), segment.codes()
    assert names == sorted(set(names))
    assert len(segment) == len(names) == len(codes)
    return {key: code.tobytes() for key, code in zip(names, codes.packed, strict=True)}


def everything(segments: Segments) -> dict[int, bytes]:
    """What the segments hold; no id is held twice."""
    items: dict[int, bytes] = {}
    for part in segments.parts:
        mine = held(part)
        assert mine
        assert not items.keys() & mine.keys()
        items |= mine
    assert len(segments) == len(items)
    assert segments.names().tolist() == sorted(items)
    return items


def pairs(ids: Ids, codes: Codes) -> dict[int, bytes]:
    return {key: code.tobytes() for key, code in zip(ids.tolist(), codes.packed, strict=True)}


@pytest.fixture
def small(monkeypatch) -> None:
    """No segment is merged for being small, so that there are several of a few codes."""
    monkeypatch.setattr(module, "_SMALL", 0)


def test_a_bitset_has_its_least_bit_first() -> None:
    for count in (0, 1, 63, 64, 65, 130):
        marks = np.random.default_rng(count).random(count) < 0.5
        number = sum(1 << place for place in np.flatnonzero(marks).tolist())
        expected = [number >> 64 * word & 2**64 - 1 for word in range(-(-count // 64))]
        assert bitset(marks).tolist() == expected


@pytest.mark.parametrize(
    "ids", [range(70), range(5, 75), range(0, 700, 10), [*range(69), 99], range(LARGEST - 69, LARGEST + 1), [3], []]
)
def test_a_segment_finds_its_codes_by_id_and_by_position(ids: range) -> None:
    numbers = np.array(ids, np.int64)
    codes = random_codes(len(numbers), 1)
    segment = Segment.of(codes, numbers)
    assert held(segment) == pairs(numbers, codes)
    assert segment.last == (max(ids) if len(numbers) else -1)
    assert (segment.ids is None) == (len(numbers) == 0 or numbers[-1] - numbers[0] == len(numbers) - 1)
    asked = np.array([0, 1, 3, 4, 5, 74, 75, 99, 100, 690, LARGEST - 70, LARGEST - 69, LARGEST], np.int64)
    places = {key: place for place, key in enumerate(numbers.tolist())}
    assert segment.find(asked).tolist() == [places.get(key, -1) for key in asked.tolist()]
    if len(numbers):
        some = np.array([-1, len(numbers) - 1, 0, -1])
        assert segment.name(some).tolist() == [-1, numbers[-1], numbers[0], -1]
    assert segment.name(np.array([-1, -1])).tolist() == [-1, -1]


def test_a_segment_changes_into_others_and_stays_itself() -> None:
    codes, ids = random_codes(200, 2), np.arange(200) * 3
    first = Segment.of(codes[:100], ids[:100], room=300)
    views = [(first, dict(pairs(ids[:100], codes[:100])))]
    fewer = first.without(np.array([0, 63, 64, 99]))
    left = {key: code for key, code in views[0][1].items() if key not in (0, 189, 192, 297)}
    views.append((fewer, left))
    more = fewer.append(codes[100:150], ids[100:150])
    views.append((more, left | pairs(ids[100:150], codes[100:150])))
    most = more.append(codes[150:], ids[150:]).without(np.array([1, 199]))
    views.append((most, {k: v for k, v in (left | pairs(ids[100:], codes[100:])).items() if k not in (3, 597)}))
    for segment, expected in views:
        assert held(segment) == expected
        assert segment.find(np.arange(0, 700)).tolist() == [
            key // 3 if key in expected else -1 for key in range(700)
        ]  # positions do not move
        assert segment.marks().tolist() == [3 * place in expected for place in range(len(segment.blocks))]
    assert most.blocks.data is first.blocks.data
    assert (first.dead, fewer.dead, most.dead) == (0, 4, 6)
    assert first.alive is EVERY
    assert fewer.last == 297  # also what was removed


def test_ids_that_stop_to_follow_each_other() -> None:
    codes = random_codes(40, 3)
    segment = Segment.of(codes[:10], np.arange(7, 17), room=64)
    going_on = segment.append(codes[10:20], np.arange(17, 27))
    assert going_on.ids is None
    jumping = going_on.append(codes[20:30], np.arange(50, 60))
    assert jumping.names().tolist() == [*range(7, 27), *range(50, 60)]
    gaps = jumping.append(codes[30:], np.arange(60, 80, 2))
    assert gaps.codes() == codes
    assert gaps.names().tolist() == [*range(7, 27), *range(50, 60), *range(60, 80, 2)]
    assert (segment.ids, going_on.ids) == (None, None)
    assert held(jumping) == pairs(jumping.names(), codes[:30])


def test_a_segment_over_a_mapped_array_takes_no_more() -> None:
    segment = Segment.of(random_codes(10, 4), np.arange(10), room=500)
    assert segment.room >= 500
    segment.blocks.data.flags.writeable = False
    assert segment.room == 10


@pytest.mark.parametrize("interleaved", [False, True])
def test_joining_leaves_out_what_was_removed(interleaved: bool) -> None:
    codes, ids = random_codes(60, 5), np.arange(60)
    chosen = ids % 2 == 0 if interleaved else ids < 30
    one = Segment.of(codes[chosen], ids[chosen]).without(np.array([0, 29]))
    two = Segment.of(codes[~chosen], ids[~chosen]).without(np.array([1]))
    joined = one.joined(two, 100)
    assert held(joined) == held(one) | held(two)
    assert (joined.dead, len(joined), joined.alive.size) == (0, 57, 0)
    assert joined.blocks.room >= 100


@pytest.mark.parametrize("count", [0, 1, 33])
def test_only_what_there_is_to_say_is_saved(count: int) -> None:
    segment = Segment.of(random_codes(count, 6), np.arange(count), room=400)
    assert {name: array.shape for name, array in segment.arrays().items()} == {"blocks": (-(-count // 64), 1, 64)}
    if count:
        apart = Segment.of(random_codes(count, 6), np.arange(count) * 2 + 5, room=400).append(
            random_codes(1, 7), np.array([900])
        )
        fewer = apart.without(np.array([0])).with_tables(None, 1)
        assert {"blocks", "alive"} <= set(segment.without(np.array([0])).arrays())
        assert apart.arrays()["ids"].tolist() == [*range(5, 5 + 2 * count, 2), 900]
        assert {"blocks", "ids", "alive", "tables.ids", "tables.offsets", "tables.widths"} <= set(fewer.arrays())


steps = st.lists(
    st.tuples(st.sampled_from(["next", "gap", "any", "remove", "replace", "merge"]), st.integers(0, 12)), max_size=14
)


@settings(deadline=None, max_examples=250)
@given(steps=steps, seed=st.integers(0, 2**32 - 1), least=st.sampled_from([0, 6, 4096]))
def test_any_history_equals_a_dict_and_leaves_each_earlier_state(
    steps: list[tuple[str, int]], seed: int, least: int
) -> None:
    rng, segments, items = np.random.default_rng(seed), Segments(), dict[int, bytes]()
    states: list[tuple[Segments, dict[int, bytes]]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SMALL", least)
        for number, (step, count) in enumerate(steps):
            last = max([segments.last, *items])
            if step == "merge":
                segments = segments.merged()
                assert len(segments.parts) <= 1
                assert not any(part.dead for part in segments.parts)
            elif step in ("remove", "replace"):
                ids = rng.permutation(sorted(items))[:count].astype(np.int64)
                segments = segments.removed(ids)
                items = {key: code for key, code in items.items() if key not in ids}
            else:
                free = np.setdiff1d(np.arange(200), sorted(items))
                ids = rng.choice(free, count, replace=False) if step == "any" else np.arange(count) + last + 1
                ids = ids + (rng.integers(0, 4, count).cumsum() if step == "gap" else 0)
                ids = ids[~segments.known(ids)]
            if step not in ("merge", "remove"):
                codes = random_codes(len(ids), number)
                segments, items = segments.added(codes, ids), items | pairs(ids, codes)
            assert segments.last >= max(items, default=-1)
            asked = np.arange(260)
            assert segments.known(asked).tolist() == [key in items for key in range(260)]
            states.append((segments, items))
        for segments, items in states:  # nothing that came later shows
            assert everything(segments) == items


def test_unknown_ids_are_named_and_ids_are_removed_from_all_parts(small) -> None:
    codes = random_codes(30, 0)
    segments = Segments().added(codes[:21], np.arange(20, 41)).added(codes[21:], np.arange(9))
    assert len(segments.parts) == 2
    with pytest.raises(InputError, match=r"ids that are in the index, got 15, 50 unknown\. Leave them out"):
        segments.removed(np.array([0, 15, 20, 50]))
    assert segments.removed(np.array([0, 20])).names().tolist() == [*range(1, 9), *range(21, 41)]
    assert len(segments.removed(np.arange(9)).parts) == 1
    assert segments.removed(segments.names()).parts == ()
    mostly_gone = segments.removed(np.arange(20, 31))
    assert mostly_gone.parts[0].dead == 0  # written anew
    assert everything(mostly_gone).keys() == {*range(9), *range(31, 41)}


@pytest.fixture
def copied(monkeypatch) -> Iterator[list[int]]:
    """How many codes are written into blocks, each time."""
    written: list[int] = []
    append = Blocks.append

    def counting(blocks: Blocks, codes: Codes) -> Blocks:
        written.append(len(codes))
        return append(blocks, codes)

    monkeypatch.setattr(Blocks, "append", counting)
    return written


def orders(count: int) -> dict[str, Ids]:
    rng = np.random.default_rng(0)
    ends = np.stack([np.arange(count // 2), np.arange(count, count // 2, -1)], axis=1).reshape(-1)
    return {
        "ascending": np.arange(count), "with gaps": np.arange(count) * 7, "descending": np.arange(count)[::-1].copy(),
        "random": rng.permutation(count), "from both ends": ends,
    }  # fmt: skip


@pytest.mark.parametrize("order", ["ascending", "with gaps", "descending", "random", "from both ends"])
@pytest.mark.parametrize(
    ("count", "sizes", "least"),
    [(3000, lambda rng: 1, 0), (20_000, lambda rng: 97, 0), (200_000, lambda rng: 5000, None),
     (60_000, lambda rng: int(rng.choice([1, 10, 100, 3000])), 0), (1500, lambda rng: 1, None)],
)  # fmt: skip
def test_adding_in_pieces_copies_each_code_a_few_times(
    monkeypatch, copied: list[int], order: str, count: int, sizes: Callable[..., int], least: int | None
) -> None:
    if least is not None:
        monkeypatch.setattr(module, "_SMALL", least)
    ids, rng, segments, start, calls, worst = orders(count)[order], np.random.default_rng(1), Segments(), 0, 0, 0
    codes = random_codes(count, 0)
    while start < count:
        end = min(start + sizes(rng), count)
        segments = segments.added(codes[start:end], ids[start:end])
        start, calls, worst = end, calls + 1, max(worst, len(segments.parts))
    assert sum(copied) <= count * (3 + 2 * math.log2(count)) + calls * module._SMALL
    if order in ("ascending", "with gaps"):
        assert sum(copied) <= 6 * count + 3 * module._SMALL
    assert worst <= 1 + math.log2(count)
    sizes_now = [len(part) for part in segments.parts]
    assert all(elder > 2 * younger for elder, younger in zip(sizes_now, sizes_now[1:], strict=False))
    assert len(segments) == count
    assert segments.merged().parts[0].codes() == codes[np.argsort(ids)]


def test_removing_one_by_one_writes_each_code_anew_a_few_times(copied: list[int]) -> None:
    segments, rng = Segments().added(random_codes(2000, 0), np.arange(2000)), np.random.default_rng(0)
    copied.clear()
    for key in rng.permutation(2000)[:1999]:
        segments = segments.removed(np.array([key]))
    assert sum(copied) <= 2 * 2000
    assert len(segments) == 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_what_is_allowed_is_selected_in_each_part(small, share: float) -> None:
    rng = np.random.default_rng(0)
    ids, codes = rng.permutation(900)[:600], random_codes(600, 0)
    segments = Segments().added(codes[:450], ids[:450]).added(codes[450:], ids[450:]).removed(np.sort(ids)[::9])
    assert len(segments.parts) == 2
    names = segments.names()
    mask = rng.random(len(names)) < share
    outside = np.setdiff1d(np.arange(900), names)  # unknown and removed ones
    given_ids = rng.permutation(np.concatenate([names[mask], names[mask], outside, [LARGEST]]))
    for allowed in (mask, mask.tolist() if mask.any() else mask, given_ids, given_ids.tolist()):
        chosen = segments.selections(allowed)
        assert sorted(key for part in chosen for key in named(part)) == names[mask].tolist()
    whole = segments.merged()
    assert [named(part) for part in whole.selections(mask)] == [names[mask].tolist()]
    assert [part.count for part in segments.selections(None)] == [len(part) for part in segments.parts]


def named(selection: Selection) -> list[int]:
    """Ids of the codes of a selection that count."""
    marks = np.ones(len(selection.blocks), np.bool_)
    if selection.alive.size:
        marks = np.unpackbits(selection.alive.view(np.uint8), count=len(marks), bitorder="little").astype(np.bool_)
    found: list[int] = selection.name(np.flatnonzero(marks)).tolist()
    assert len(found) == selection.count
    assert selection.name(np.array([-1])).tolist() == [-1]
    return found


def test_an_algorithm_that_is_none_or_has_no_tables_is_refused() -> None:
    segments = Segments().added(random_codes(9, 0), np.arange(9))
    for name in ("auto", "scan"):
        assert segments.asked(name) is segments
    with pytest.raises(InputError, match="algorithm: expected 'auto' or 'scan' or 'multi-index', got 'mih'"):
        segments.asked("mih")
    with pytest.raises(InputError, match=r"expected an index with tables for 'multi-index', got one without\. Call bu"):
        segments.asked("multi-index")
    assert Segments().asked("multi-index") == Segments()
    with_tables = Segments((segments.parts[0].with_tables(None, 1),))
    assert with_tables.asked("multi-index") is with_tables


def test_an_id_in_two_segments_is_refused(tmp_path) -> None:
    index, path = HammingIndex(8), tmp_path / "index"
    index.add(np.zeros((9_000, 1), np.uint8), ids=np.arange(9_000) + 100)
    index.add(np.zeros((3, 1), np.uint8), ids=[0, 1, 2])
    index.save(path)
    arrays, about = read_arrays(path, kind="hashret.index/2")
    assert len(about["segments"]) == 2
    about["segments"][1]["first"] = 150
    write_arrays(path, arrays, kind="hashret.index/2", metadata=about)
    with pytest.raises(FormatError, match="each id once"):
        HammingIndex.load(path)
