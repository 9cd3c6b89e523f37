"""open_texts and open_strings: the same strings from every form they come in, or an error."""

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from trees.asked import cut
from trees.matlab import write_version_73

from hashret.data.matrixfile import open_strings, open_texts
from hashret.errors import DataFileError

STRINGS = ["im1.jpg", "a/b/im22.jpg", "été à Zürich", "日本 台灣", "", "one two  three"]
PADDED = [text.strip() for text in STRINGS]


def write_lines(path, strings):
    path.with_suffix(".txt").write_text("".join(f"{text}\n" for text in strings), encoding="utf-8")
    return path.with_suffix(".txt")


def write_last_line_open(path, strings):
    path.with_suffix(".txt").write_text("\r\n".join(strings), encoding="utf-8", newline="")
    return path.with_suffix(".txt")


def write_character_matrix(path, strings):
    savemat(path, {"X": strings})
    return path


def write_column_of_characters(path, strings):
    savemat(path, {"X": [[text] for text in strings]})
    return path


def write_cells(path, strings):
    savemat(path, {"X": np.array(strings, object)})
    return path


def write_column_of_cells(path, strings):
    savemat(path, {"X": np.array(strings, object)[:, None]})
    return path


def write_cells_in_cells(path, strings):
    cells = np.empty((len(strings), 1), object)
    for row, text in enumerate(strings):
        cells[row, 0] = np.array([text], object)
    savemat(path, {"X": cells})
    return path


def write_cells_73(path, strings):
    write_version_73(path, {"X": strings})
    return path


def write_row_of_cells_73(path, strings):
    write_version_73(path, {"X": [strings]})
    return path


def write_cells_in_cells_73(path, strings):
    write_version_73(path, {"X": [[[text]] for text in strings]})
    return path


def write_strings_of_h5py(path, strings):
    with h5py.File(path, "w") as file:
        file["X"] = strings
    return path


def write_string_array(path, strings):
    np.save(path.with_suffix(".npy"), np.array(strings))
    return path.with_suffix(".npy")


STRING_WRITERS = [
    write_lines, write_last_line_open, write_character_matrix, write_column_of_characters, write_cells,
    write_column_of_cells, write_cells_in_cells, write_cells_73, write_row_of_cells_73, write_cells_in_cells_73,
    write_strings_of_h5py, write_string_array,
]  # fmt: skip


@pytest.mark.parametrize("write", STRING_WRITERS)
def test_every_form_gives_the_same_strings(write, tmp_path):
    path = write(tmp_path / "a.mat", STRINGS)
    assert open_strings(path, ["X"]) == PADDED
    assert open_texts(path, ["X"]) == [[text] for text in PADDED]


def test_a_character_matrix_of_a_73_file(tmp_path):
    letters = np.array([[*map(ord, text.ljust(8))] for text in ("im1.jpg", "im22.jpg")], np.uint16)
    write_version_73(tmp_path / "a.mat", {"X": letters})
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        file["X"].attrs["MATLAB_class"] = np.bytes_("char")
    assert open_strings(tmp_path / "a.mat", ["X"]) == ["im1.jpg", "im22.jpg"]


def test_several_strings_an_item(tmp_path):
    several = [["a cat", "one cat"], ["a dog", "dogs run"], ["x", ""]]
    uneven = np.empty(3, object)
    uneven[:] = [np.array(texts, object) for texts in ([*several[:2], ["x"]])]
    savemat(tmp_path / "5.mat", {"X": several, "Y": uneven, "Z": np.array(several, object)})
    write_version_73(tmp_path / "73.mat", {"X": several})
    assert open_texts(tmp_path / "5.mat", ["X"]) == several
    assert open_texts(tmp_path / "5.mat", ["Y"]) == [*several[:2], ["x"]]
    assert open_texts(tmp_path / "5.mat", ["Z"]) == several
    assert open_texts(tmp_path / "73.mat", ["X"]) == several
    with pytest.raises(DataFileError, match="2 in row 0"):
        open_strings(tmp_path / "73.mat", ["X"])


def test_numbers_and_damage_are_no_strings(tmp_path):
    savemat(tmp_path / "5.mat", {"X": np.ones((4, 3))})
    savemat(tmp_path / "5c.mat", {"X": np.array([np.ones((2, 2)), "a"], object)})
    write_version_73(tmp_path / "73.mat", {"X": np.ones((4, 3))})
    np.save(tmp_path / "n.npy", np.ones((4, 3)))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00a")
    (tmp_path / "zero.mat").write_bytes(b"")
    write_cells_73(tmp_path / "cut.mat", STRINGS)
    cut(tmp_path / "cut.mat", 0.3)
    for path in (*sorted(tmp_path.iterdir()), tmp_path / "absent.txt"):
        with pytest.raises(DataFileError):
            open_strings(path, ["X"])


def test_lines_that_are_not_utf_8_are_latin_1(tmp_path):
    path = tmp_path / "caption.txt"
    path.write_bytes("un été\r\nà Zürich\n".encode("latin-1"))
    assert open_strings(path) == ["un été", "à Zürich"]
    path.write_bytes("un été\nà Zürich\n".encode("utf-8-sig"))
    assert open_strings(path) == ["un été", "à Zürich"]
