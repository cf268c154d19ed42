from datetime import date

import numpy as np
import pandas as pd
import pytest

from erp.kept_files import fill_folder, read_kept, write_kept


def test_a_kept_frame_comes_back_with_every_dtype(tmp_path):
    days = pd.to_datetime(["2026-01-01", None, "2026-01-03"])
    frame = pd.DataFrame(
        {
            "text": pd.Series(["a", None, ""], dtype="str"),
            "seconds": days.astype("datetime64[s]"),
            "nanos": days.astype("datetime64[ns]"),
            "zoned": days.astype("datetime64[s]").tz_localize("UTC"),
            "span": pd.to_timedelta([1, 2, 3], unit="s").astype("timedelta64[s]"),
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "real": [0.1, np.nan, -0.0],
            "small": np.array([1, 2, 3], dtype="int8"),
            "kind": pd.Categorical(["u", "v", "u"]),
            "day": [date(2026, 1, 1), None, date(2026, 1, 3)],
            "unknown": pd.Series([None] * 3, dtype="str"),
        }
    )
    pd.testing.assert_frame_equal(read_kept(write_kept(tmp_path / "frame", frame)), frame)


def test_a_frame_without_rows_keeps_its_dtypes(tmp_path):
    frame = pd.DataFrame({"text": pd.Series([], dtype="str"), "on": pd.Series([], dtype="datetime64[s]")})
    pd.testing.assert_frame_equal(read_kept(write_kept(tmp_path / "frame", frame)), frame)


def test_a_kept_array_and_a_kept_dict_come_back(tmp_path):
    array = np.array([[0.1, np.nan], [np.inf, -0.0]])
    np.testing.assert_array_equal(read_kept(write_kept(tmp_path / "array", array)), array)
    facts = {"z": [1, 2.5, None], "a": {"é": "ü"}}
    assert read_kept(write_kept(tmp_path / "facts", facts)) == facts
    assert list(read_kept(tmp_path / "facts.json")) == ["z", "a"]


def test_what_would_lose_something_or_need_pickle_is_refused(tmp_path):
    with pytest.raises(TypeError, match="odd: a step returns a frame, a dict or an array, not set"):
        write_kept(tmp_path / "odd", {1, 2})
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_kept(tmp_path / "odd", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"the index \['product_id'\] would be lost"):
        write_kept(tmp_path / "odd", pd.DataFrame({"product_id": ["p"], "n": [1]}).set_index("product_id"))


def test_writing_twice_gives_the_same_bytes(tmp_path):
    frame = pd.DataFrame({"text": ["a", "b"], "n": [1, 2]})
    one, other = write_kept(tmp_path / "one", frame), write_kept(tmp_path / "other", frame)
    assert one.read_bytes() == other.read_bytes()


def test_a_folder_is_filled_whole_or_stays_as_it_was(tmp_path):
    folder = tmp_path / "model"
    fill_folder(folder, lambda part: (part / "old.txt").write_text("old"))

    def fail(part):
        (part / "new.txt").write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fill_folder(folder, fail)
    assert [path.name for path in folder.iterdir()] == ["old.txt"]
    fill_folder(folder, lambda part: (part / "new.txt").write_text("new"))
    assert [path.name for path in folder.iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
