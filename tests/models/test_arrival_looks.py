import numpy as np
import pandas as pd
import pytest

from models.arrival_inputs import HISTORIES, PSEUDO_RECEIPTS, faded_sums, look_inputs, slips
from models.arrival_looks import CLOCK_EDGES, day_number, days_at_risk, inbound_book, looks_on

START = pd.Timestamp("2025-01-01")
TODAY = pd.Timestamp("2025-05-01")


@pytest.fixture(scope="module")
def told():
    """60 lines with up to three dates told and up to three parts received, in the form of the feature table."""
    draw = np.random.default_rng(3)
    rows = []
    for n in range(60):
        ordered = int(draw.integers(0, 100))
        dates = ordered + draw.integers(0, 30, draw.integers(0, 3))
        dates = np.unique(np.r_[ordered, dates])
        parts = np.unique(ordered + draw.integers(0, 60, draw.integers(0, 4)))
        for k, day in enumerate(dates):
            until = dates[k + 1] if k + 1 < len(dates) else np.inf
            came = parts[(parts >= day) & (parts < until)] if len(parts) else []
            for part in came if len(came) else [None]:
                rows.append(
                    (f"P{n:02d}", f"S{n % 3}", f"K{n % 5}", f"W{n % 2}", ordered, day, day + 10 + k, part, len(parts))
                )
    names = [
        "po_line_id",
        "supplier_id",
        "product_id",
        "warehouse_id",
        "ordered",
        "told",
        "expected",
        "part",
        "n_parts",
    ]
    frame = pd.DataFrame(rows, columns=names)
    for name, column in (
        ("ordered_on", "ordered"),
        ("told_on", "told"),
        ("expected_on", "expected"),
        ("received_on", "part"),
    ):
        frame[name] = START + pd.to_timedelta(frame[column].astype(float), unit="D")
    frame["part_quantity"] = frame["part"].notna() * 2.0
    # Every third line has come in full with its last part; the others owe one unit more.
    owes = frame["po_line_id"].str[1:].astype(int) % 3 > 0
    return frame.assign(kind="bought", quantity=np.maximum(2.0 * frame["n_parts"] + owes, 1.0))


def _seen_by_hand(told, day):
    """One row per line that owes goods on the morning of `day`, by going through its rows."""
    seen = []
    for name, rows in told.groupby("po_line_id"):
        dates = rows[rows["told_on"] < day].sort_values("told_on")
        came = rows[rows["received_on"] < day].sort_values("received_on")
        if not len(dates) or came["part_quantity"].sum() >= rows["quantity"].iloc[0]:
            continue
        later = rows.loc[(rows["received_on"] >= day) & (rows["received_on"] < TODAY), "received_on"]
        seen.append({
            "po_line_id": name, "due_days": (dates["expected_on"].iloc[-1] - day).days,
            "n_slips": dates["told_on"].nunique() - 1, "n_came": len(came),
            "last_gap_days": came["received_on"].diff().dt.days.iloc[-1] if len(came) > 1 else np.nan,
            "since_came_days": (day - came["received_on"].iloc[-1]).days if len(came) else np.nan,
            "since_told_days": (day - dates["told_on"].iloc[-1]).days,
            "wait_days": (later.min() - day).days if len(later) else np.nan,
        })  # fmt: skip
    return pd.DataFrame(seen)


@pytest.mark.parametrize("after_days", [20, 55, 90])
def test_a_look_holds_what_was_told_and_received_before_that_morning(told, after_days):
    day = START + pd.Timedelta(days=after_days)
    book = inbound_book(told.sample(frac=1, random_state=0), TODAY)
    looks = looks_on(book, np.array([day_number(day)]))
    got = look_inputs(book, looks).assign(
        po_line_id=book.lines["po_line_id"].to_numpy()[looks["line"]], wait_days=looks["wait_days"]
    )
    expected = _seen_by_hand(told, day)
    assert len(expected) > 5
    pd.testing.assert_frame_equal(got[expected.columns.tolist()], expected, check_dtype=False)


@pytest.mark.parametrize("with_a_line_without_a_date", [False, True])
def test_a_stop_shows_in_the_new_dates_of_the_suppliers_other_lines(told, with_a_line_without_a_date):
    day = START + pd.Timedelta(days=55)
    if with_a_line_without_a_date:  # it says nothing, and must not make the others unknown
        told = told.assign(expected_on=told["expected_on"].where(told["po_line_id"] != "P09"))
    seen = _seen_by_hand(told, day)
    supplier = seen["po_line_id"].map(told.drop_duplicates("po_line_id").set_index("po_line_id")["supplier_id"])
    told_again = seen[(seen["n_slips"] > 0) & (seen["n_came"] == 0) & seen["due_days"].notna()]
    of_supplier = told_again.groupby(supplier)["due_days"]
    book = inbound_book(told, TODAY)
    looks = looks_on(book, np.array([day_number(day)]))
    inputs = look_inputs(book, looks)
    assert told_again["due_days"].nunique() > 1
    np.testing.assert_allclose(inputs["supplier_told_again_days"], supplier.map(of_supplier.mean()))
    np.testing.assert_allclose(inputs["supplier_told_again_most_days"], supplier.map(of_supplier.max()))


def test_the_days_at_risk_are_those_of_a_count_day_by_day():
    draw = np.random.default_rng(1)
    due, last, came = draw.integers(-200, 200, 50), draw.integers(0, 300, 50), draw.random(50) < 0.5
    rows = days_at_risk(due, last, came)
    for look in range(50):
        bins = np.searchsorted(CLOCK_EDGES, np.arange(last[look] + 1) - due[look], side="right") - 1
        mine = rows.look == look
        place, n_days = np.unique(bins, return_counts=True)
        assert rows.bin[mine].tolist() == place.tolist()
        assert rows.n_days[mine].tolist() == n_days.tolist()
        assert rows.event[mine].sum() == came[look]
        assert not came[look] or rows.event[mine][-1] == 1


def test_a_look_at_a_line_still_open_is_followed_until_yesterday(told):
    book = inbound_book(told, TODAY)
    looks = looks_on(book, np.array([day_number(TODAY) - 20]))
    still_open = looks["wait_days"].isna().to_numpy()
    assert 0 < still_open.sum() < len(looks)
    assert looks.loc[~still_open, "wait_days"].max() <= 19


def test_faded_sums_are_those_of_a_loop():
    draw = np.random.default_rng(2)
    code, day, values = draw.integers(0, 4, 80), draw.integers(0, 900, 80), draw.normal(size=(80, 2))
    asked, asked_day = draw.integers(-1, 6, 30), draw.integers(0, 1000, 30)
    got = faded_sums(code, day, values, 90.0, asked, asked_day)
    for row in range(30):
        mine = (code == asked[row]) & (day < asked_day[row])
        weight = 0.5 ** ((asked_day[row] - day[mine]) / 90.0)
        np.testing.assert_allclose(got[row], weight @ values[mine], atol=1e-9)


def test_a_supplier_of_one_receipt_is_shrunk_to_all_and_one_of_none_is_all(told):
    thin = told[told["po_line_id"] == "P01"].assign(supplier_id="thin")
    rest = told[told["po_line_id"] != "P01"]
    new = rest[rest["po_line_id"] == "P02"].assign(po_line_id="new", supplier_id="new", received_on=pd.NaT)
    book = inbound_book(pd.concat([thin, rest, new]), TODAY)
    looks = looks_on(book, np.array([day_number(TODAY)]), with_own_day=True)
    inputs = look_inputs(book, looks).set_index(book.lines["po_line_id"].to_numpy()[looks["line"]])
    past = slips(book)
    weight = 0.5 ** ((day_number(TODAY) - past["came_day"]) / HISTORIES["supplier"][1])
    everyone = np.average(past["slip_days"], weights=weight)
    assert inputs.loc["new", "supplier_slip_days"] == pytest.approx(everyone)
    mine = (book.lines["po_line_id"].to_numpy()[past["line"]] == "P01").astype(float) * weight
    assert 0 < mine.sum() < 3
    expected = ((mine * past["slip_days"]).sum() + PSEUDO_RECEIPTS * everyone) / (mine.sum() + PSEUDO_RECEIPTS)
    assert inputs.loc["P01", "supplier_slip_days"] == pytest.approx(expected)


def test_looks_of_a_past_morning_do_not_change_with_what_comes_after(told):
    day = START + pd.Timedelta(days=60)
    later = told["received_on"] >= day
    changed = told.assign(
        received_on=told["received_on"].where(~later, told["received_on"] + pd.Timedelta(days=9)),
        expected_on=told["expected_on"].where(told["told_on"] < day, TODAY),
    )
    seen = []
    for table in (told, changed):
        book = inbound_book(table, TODAY)
        seen.append(look_inputs(book, looks_on(book, np.array([day_number(day)]))))
    pd.testing.assert_frame_equal(*seen)
    assert len(seen[0]) > 5


def test_no_lines_give_no_looks(told):
    book = inbound_book(told.iloc[:0], TODAY)
    looks = looks_on(book, np.array([day_number(TODAY)]))
    assert len(looks) == len(look_inputs(book, looks)) == 0
