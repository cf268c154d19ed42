import hashlib
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erp.fingerprint import PACKAGES, _code_version_below, code_version, file_sha256, fingerprint

SCALARS = st.sampled_from([None, True, 1, 1.0, "1", 0, -0.0, 0.0, "", "None", date(2026, 3, 9), "2026-03-09"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner)
)


@dataclass(frozen=True)
class Terms:
    days: int = 3
    share: float = 0.061


@dataclass
class Loose:
    days: int = 3


class Keyed:
    def __init__(self, key):
        self.fingerprint = key


def typed(value):
    """What JSON keeps apart: Python calls 1, 1.0 and True equal, and 0.0 and -0.0."""
    if isinstance(value, list):
        return [typed(each) for each in value]
    if isinstance(value, dict):
        return {key: typed(each) for key, each in value.items()}
    return (type(value).__name__, repr(value))


@given(VALUES, VALUES)
@settings(max_examples=40, deadline=None)
def test_two_values_share_a_fingerprint_only_if_they_are_the_same(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (typed(one) == typed(other))


@given(st.dictionaries(st.text(max_size=4), SCALARS, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_order_of_a_dict_does_not_count(mapping):
    assert fingerprint(dict(reversed(mapping.items()))) == fingerprint(mapping)


@pytest.mark.parametrize(
    "others", [(1, "1", True, 1.0), (None, "", 0, False), ([1, [2]], [[1], 2], [1, 2]), (b"a", "a")]
)
def test_kinds_are_told_apart(others):
    assert len({fingerprint(other) for other in others}) == len(others)


def test_numpy_scalars_count_as_the_numbers_they_hold():
    assert fingerprint([np.int64(3), np.float64(0.5), np.bool_(True)]) == fingerprint([3, 0.5, True])


def test_one_moment_has_one_fingerprint_in_every_zone_and_class():
    in_utc = datetime(2026, 3, 9, 5, tzinfo=UTC)
    in_berlin = datetime(2026, 3, 9, 6, tzinfo=timezone(timedelta(hours=1)))
    assert fingerprint(in_utc) == fingerprint(in_berlin) == fingerprint(pd.Timestamp(in_utc))
    assert fingerprint(datetime(2026, 3, 9)) != fingerprint(date(2026, 3, 9))


def test_a_frozen_dataclass_counts_by_its_fields_and_a_changeable_one_not_at_all():
    assert fingerprint(Terms()) == fingerprint(Terms(days=3)) != fingerprint(Terms(days=4))
    with pytest.raises(TypeError, match=r"no fingerprint for .*Loose: pass text"):
        fingerprint([Loose()])


def test_an_object_may_bring_its_own_fingerprint():
    assert fingerprint(Keyed("a")) == fingerprint(Keyed("a")) != fingerprint(Keyed("b"))
    assert fingerprint(Keyed("a")) != fingerprint("a")


def test_a_function_has_no_fingerprint():
    with pytest.raises(TypeError, match="no fingerprint for builtins.function"):
        fingerprint(lambda: 1)


def frame_of_every_kind():
    return pd.DataFrame(
        {
            "text": pd.Series(["a", None, ""], dtype="str"),
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "real": [0.5, np.nan, -0.0],
            "flag": [True, False, True],
            "on": pd.to_datetime(["2026-01-01", None, "2026-01-03"]).astype("datetime64[s]"),
            "at": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"]).tz_localize("UTC"),
            "kind": pd.Categorical(["u", "v", "u"]),
            "day": [date(2026, 1, 1), None, date(2026, 1, 3)],
        }
    )


def test_a_frame_counts_by_content_and_not_by_index():
    frame = frame_of_every_kind()
    assert fingerprint(frame.set_index(pd.Index([7, 8, 9]))) == fingerprint(frame)
    assert fingerprint(frame.iloc[::-1]) != fingerprint(frame)
    assert fingerprint(frame[frame.columns[::-1]]) != fingerprint(frame)


@pytest.mark.parametrize("column", list(frame_of_every_kind()))
def test_every_cell_of_a_frame_counts(column):
    frame = frame_of_every_kind()
    changed = frame.copy()
    changed[column] = frame[column].iloc[[2, 1, 1]].array
    assert fingerprint(changed) != fingerprint(frame)


def test_text_is_not_run_together():
    one, other = (pd.DataFrame({"text": pd.Series(texts, dtype="str")}) for texts in (["ab", "c"], ["a", "bc"]))
    assert fingerprint(one) != fingerprint(other)


def test_missing_is_not_empty_text_nor_zero():
    missing, empty = (pd.DataFrame({"text": pd.Series(texts, dtype="str")}) for texts in ([None], [""]))
    assert fingerprint(missing) != fingerprint(empty)
    assert fingerprint(pd.DataFrame({"x": [np.nan]})) != fingerprint(pd.DataFrame({"x": [0.0]}))


@given(st.lists(st.text(max_size=4) | st.none(), min_size=1, max_size=8), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_chunks_and_offsets_of_a_frame_do_not_count(texts, cut):
    whole = pd.DataFrame({"text": pd.Series(texts, dtype="str"), "n": range(len(texts))})
    pieces = pd.concat([whole.iloc[:cut], whole.iloc[cut:]])
    tail = pd.concat([whole.iloc[:1], whole]).iloc[1:]
    assert fingerprint(pieces) == fingerprint(whole) == fingerprint(tail)


def test_a_frame_read_in_two_chunks_is_the_same_frame():
    table = pa.table({"text": pa.chunked_array([["a", None], ["c"]])})
    assert fingerprint(table.to_pandas()) == fingerprint(table.combine_chunks().to_pandas())


def test_frames_without_rows_differ_by_their_columns():
    assert fingerprint(pd.DataFrame({"a": []})) != fingerprint(pd.DataFrame({"b": []}))


def test_an_array_counts_by_numbers_shape_and_kind_and_not_by_layout():
    array = np.arange(6.0).reshape(2, 3)
    assert fingerprint(np.asfortranarray(array)) == fingerprint(array)
    assert len({fingerprint(each) for each in (array, array.T, array.ravel(), array.astype("f4"))}) == 4


def test_a_file_counts_by_its_bytes_and_a_folder_by_names_too(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("hello")
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")
    assert file_sha256(tmp_path / "one" / "a.txt") == hashlib.sha256(b"hello").hexdigest()
    (tmp_path / "two" / "a.txt").rename(tmp_path / "two" / "b.txt")
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "two")
    assert fingerprint(tmp_path / "one" / "a.txt") == fingerprint(tmp_path / "two" / "b.txt")


def test_the_code_version_is_the_same_in_another_place_and_changes_with_one_line(tmp_path):
    root = Path(__file__).parents[2]
    for name in filter(lambda name: (root / name).exists(), PACKAGES):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert _code_version_below(tmp_path) == code_version()
    (tmp_path / "features").mkdir(exist_ok=True)
    (tmp_path / "features" / "new.sql").write_text("select 1")
    assert _code_version_below(tmp_path) != code_version()
