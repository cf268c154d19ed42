"""Online Retail II becomes tables of the contract: what is an order, what a cancellation, what a return."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from erp.contract import TABLES, ContractError
from erp.online_retail import SHEETS, WORKBOOK_COLUMNS, convert, credit_lines, match_credits, order_lines, read_source

REAL = Path(__file__).parents[3] / "shared" / "data" / "online_retail_ii"
needs_real_data = pytest.mark.skipif(
    not (REAL / "lines.parquet").exists(), reason="Online Retail II is not beside the project (data/online_retail_ii)"
)


def line(invoice, code="85048", quantity=10, at="2010-03-01 09:00", price=2.5, customer=13085, text="LAMP"):
    return (invoice, code, text, quantity, pd.Timestamp(at), price, customer, "United Kingdom")


def frame(*rows):
    table = pd.DataFrame(list(rows), columns=list(WORKBOOK_COLUMNS.values()))
    return table.astype({"customer_id": "Int32", "quantity": "int32"})


def folder(tmp_path, *rows):
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    frame(*rows).to_parquet(source / "lines.parquet")
    return source


def converted(tmp_path, *rows):
    summary = convert(folder(tmp_path, *rows), tmp_path / "out")
    return summary, {name: pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in summary.rows}


def broken_laws(tables):
    """Rows of each table that break a law of the contract, judged in pandas and not by the project's own check."""
    lines = tables["order_lines"].set_index("order_line_id")
    broken = {}
    for name, table in tables.items():
        contract = TABLES[name]
        key = [column for column in contract.key if column in table] or list(table.columns)
        keys = key + (["recorded_at"] if "recorded_at" in table else [])
        broken[name, "keys"] = int(table.duplicated(keys).sum())
        for column, parent in contract.parents.items():
            if column in table:
                known = set(tables[parent][TABLES[parent].key[0]])
                broken[name, column] = int((~table[column].dropna().isin(known)).sum())
        for column in table:
            if contract.kind(column) in ("amount", "count"):
                broken[name, column] = int((table[column] < 0).sum() + table[column].isna().sum())
        if "quantity" in table:
            broken[name, "quantity"] = int((table["quantity"] <= 0).sum())
        if contract.is_event and name != "receipts":
            ordered_at = table["order_line_id"].map(lines["ordered_at"])
            broken[name, "order"] = int((table[contract.own_time] < ordered_at).sum())
    gone = pd.concat([tables["shipments"], tables["cancellations"]]).groupby("order_line_id")["quantity"].sum()
    broken["order_lines", "over"] = int((gone > lines["quantity"].reindex(gone.index)).sum())
    return {law: n for law, n in broken.items() if n}


def test_what_is_not_an_order_is_left_out_and_counted_once(tmp_path):
    summary, tables = converted(
        tmp_path,
        line("1"),
        line("C2", quantity=-3, at="2010-03-05 09:00"),
        line("3", "POST"),
        line("3", "M", quantity=-1),
        line("4", quantity=-20, price=0, customer=None),
        line("5", price=0.0),
        line("A6", "B", price=-5.0),
    )
    assert summary.excluded == {
        "credit lines": 1,
        "no stocked product": 3,
        "quantity not above 0 (stock write-offs)": 1,
        "price not above 0 (gifts, found goods)": 1,
    }
    assert tables["order_lines"]["order_line_id"].tolist() == ["1-1"]
    assert summary.n_source_lines == 7


def test_line_ids_do_not_depend_on_the_row_order_of_the_source():
    rows = [line("1", quantity=q, price=p) for q in (1, 2) for p in (3.0, 1.0, 3.0)] + [line("2", "10002")]
    first, _ = order_lines(read_rows(rows))
    second, _ = order_lines(read_rows(rows[::-1]))
    pd.testing.assert_frame_equal(first, second)
    assert first["order_line_id"].is_unique


def read_rows(rows):
    raw = frame(*rows).astype({"customer_id": "str"})
    return raw.assign(invoice_ts=raw["invoice_ts"].astype("datetime64[s]"))


def test_a_credit_takes_the_latest_purchase_first():
    raw = read_rows(
        [
            line("1", quantity=10, at="2010-03-01 09:00"),
            line("2", quantity=5, at="2010-03-02 09:00"),
            line("3", quantity=99, at="2010-03-02 09:00", customer=2),
            line("C4", quantity=-7, at="2010-03-03 09:00"),
            line("5", quantity=50, at="2010-03-04 09:00"),
        ]
    )
    lines, _ = order_lines(raw)
    pairs, n_unmatched = match_credits(lines, credit_lines(raw))
    assert list(zip(lines["order_id"][pairs["line"]], pairs["quantity"], pairs["event_id"], strict=True)) == [
        ("2", 5, "C4-1"),
        ("1", 2, "C4-2"),
    ]
    assert n_unmatched == 0


def test_matching_agrees_with_taking_units_one_by_one():
    rng = np.random.default_rng(3)
    rows = []
    for minute in range(400):
        at = pd.Timestamp("2010-03-01 09:00") + pd.Timedelta(minutes=minute)
        is_credit, units = rng.random() < 0.4, int(rng.integers(1, 9))
        what = {"code": f"1000{rng.integers(2)}", "customer": int(rng.integers(3)), "at": at}
        rows.append(line(f"{'C' * is_credit}{minute}", quantity=-units if is_credit else units, **what))
    shelves, expected, n_short = {}, {}, 0
    for invoice, code, _, quantity, _, _, customer, _ in rows:
        shelf = shelves.setdefault((code, customer), [])
        shelf += [invoice] * max(quantity, 0)
        n_short += -quantity > len(shelf)
        for _ in range(min(max(-quantity, 0), len(shelf))):
            pair = shelf.pop(), invoice
            expected[pair] = expected.get(pair, 0) + 1
    raw = read_rows(rows)
    lines, _ = order_lines(raw)
    pairs, n_unmatched = match_credits(lines, credit_lines(raw))
    invoices = lines["order_id"].to_numpy()[pairs["line"]], pairs["event_id"].str.split("-").str[0]
    assert dict(zip(zip(*invoices, strict=True), pairs["quantity"], strict=True)) == expected
    assert n_unmatched == n_short > 0


def test_a_credit_before_eighteen_cancels_and_a_later_one_is_a_return(tmp_path):
    _, tables = converted(
        tmp_path,
        line("1", "10001", quantity=10),
        line("C2", "10001", quantity=-4, at="2010-03-01 17:59"),
        line("3", "10002", quantity=10),
        line("C4", "10002", quantity=-4, at="2010-03-01 18:00"),
        line("5", "10003", quantity=3),
        line("C6", "10003", quantity=-3, at="2010-03-01 09:16"),
        line("7", "10004", quantity=2, at="2010-03-01 19:30"),
    )
    shipped = tables["shipments"].set_index("order_line_id")
    assert shipped["quantity"].to_dict() == {"1-1": 6, "3-1": 10, "7-1": 2}
    assert shipped["shipped_at"]["1-1"] == pd.Timestamp("2010-03-01 18:00")
    assert shipped["shipped_at"]["7-1"] == pd.Timestamp("2010-03-01 19:30")
    assert tables["cancellations"].set_index("order_line_id")["quantity"].to_dict() == {"1-1": 4, "5-1": 3}
    assert tables["returns"].set_index("order_line_id")["quantity"].to_dict() == {"3-1": 4}
    assert broken_laws(tables) == {}


def test_without_replay_stock_is_empty_and_no_supply_is_invented(tmp_path):
    summary, tables = converted(tmp_path, line("1"))
    assert tables["stock"].empty
    assert set(TABLES["stock"].required) <= set(tables["stock"].columns)
    assert not {"purchase_orders", "receipts", "suppliers"} & set(summary.rows)
    assert "promised_on" not in tables["order_lines"]


def test_customers_begin_with_their_first_order_and_anonymous_lines_name_none(tmp_path):
    _, tables = converted(
        tmp_path,
        line("2", at="2010-03-05 09:00"),
        line("1", at="2010-03-01 09:00"),
        line("3", customer=None),
        line("C9", customer=4, quantity=-1),
    )
    assert tables["customers"]["customer_id"].tolist() == ["13085"]
    assert tables["customers"]["created_at"].tolist() == [pd.Timestamp("2010-03-01 09:00")]
    assert tables["order_lines"].set_index("order_id")["customer_id"].isna().to_dict() == {
        "1": False,
        "2": False,
        "3": True,
    }


def test_list_price_is_the_most_usual_price_of_the_first_weeks_and_sees_no_future(tmp_path):
    early = [line(str(n), price=price) for n, price in enumerate([2.0, 2.0, 3.0, 3.0, 1.0])]
    late = [line(f"9{n}", price=9.0, at="2010-03-29 09:00", text="NEW NAME") for n in range(5)]
    _, tables = converted(tmp_path, *early, *late)
    assert tables["products"][["list_price", "name"]].to_numpy().tolist() == [[3.0, "LAMP"]]
    assert "unit_cost" not in tables["products"]


def test_small_letters_in_a_stock_code_are_the_same_product(tmp_path):
    _, tables = converted(tmp_path, line("1", "15056bl"), line("2", "15056BL"))
    assert tables["products"]["product_id"].tolist() == ["15056BL"]


def workbook(path, first, second):
    names = {ours: theirs for theirs, ours in WORKBOOK_COLUMNS.items()}
    with pd.ExcelWriter(path, engine="openpyxl") as book:
        for sheet, rows in zip(SHEETS, (first, second), strict=True):
            table = frame(*rows).rename(columns=names)
            # The publisher's cells: numbers where an id has digits only, a customer as a number with a decimal point.
            table["Invoice"] = [int(i) if i.isdigit() else i for i in table["Invoice"]]
            table["StockCode"] = [int(i) if i.isdigit() else i for i in table["StockCode"]]
            table["Customer ID"] = table["Customer ID"].astype("float64")
            table.to_excel(book, sheet_name=sheet, index=False)
    return path


def test_the_workbook_gives_the_same_tables_as_the_folder_and_drops_the_first_copy(tmp_path):
    old, twice = line("489434", "79323P"), line("536365", "85048", at="2010-12-01 08:26")
    new = [line("540000", customer=None, at="2011-01-04 10:00"), line("C540001", quantity=-4, at="2011-01-05 10:00")]
    book = workbook(tmp_path / "book.xlsx", [old, twice], [twice, *new])
    from_book = convert(book, tmp_path / "a")
    from_folder = convert(folder(tmp_path, old, twice, *new), tmp_path / "b")
    assert from_book == from_folder
    for name in from_book.rows:
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()
    assert from_book.rows["order_lines"] == 3


def test_a_workbook_without_its_sheets_says_which(tmp_path):
    pd.DataFrame({"Invoice": [1]}).to_excel(tmp_path / "book.xlsx", sheet_name="Sheet1")
    with pytest.raises(ContractError, match=r"sheets \['Year 2009-2010', 'Year 2010-2011'\] are missing.*Sheet1"):
        convert(tmp_path / "book.xlsx", tmp_path / "out")


def test_a_missing_column_is_named(tmp_path):
    source = folder(tmp_path, line("1"))
    frame(line("1")).drop(columns="unit_price").to_parquet(source / "lines.parquet")
    with pytest.raises(ContractError, match=r"columns \['unit_price'\] are missing"):
        convert(source, tmp_path / "out")


def test_a_source_without_orders_or_without_a_file_stops(tmp_path):
    with pytest.raises(ContractError, match="none of 1 lines is an order"):
        convert(folder(tmp_path, line("C1", quantity=-1)), tmp_path / "out")
    with pytest.raises(ContractError, match=r"no lines\.parquet there"):
        convert(tmp_path, tmp_path / "out")
    with pytest.raises(ContractError, match=r"book\.xlsx does not exist"):
        convert(tmp_path / "book.xlsx", tmp_path / "out")


def test_the_source_is_never_written_into(tmp_path):
    source = folder(tmp_path, line("1"))
    with pytest.raises(ContractError, match="choose another folder for out"):
        convert(source, source)


def test_a_conversion_leaves_no_table_of_an_earlier_one(tmp_path):
    source = folder(tmp_path, line("1"), line("2", at="2010-03-02 09:00"))
    convert(source, tmp_path / "out", replay_supply=True)
    summary = convert(source, tmp_path / "out")
    written = {path.stem for path in (tmp_path / "out").glob("*.parquet")}
    assert written == set(summary.rows)
    assert "REPLAYED" not in (tmp_path / "out" / "README.md").read_text()


def test_readme_and_extract_say_what_the_tables_are(tmp_path):
    summary, _ = converted(tmp_path, line("1"), line("2", "POST"), line("C3", quantity=-11, at="2010-03-02 09:00"))
    readme = (tmp_path / "out" / "README.md").read_text()
    for words in ("CC BY 4.0", "10.1057/dbm.2012.17", "taken as UTC", "- 1 no stocked product", "| order_lines | 1 |"):
        assert words in readme
    extract = json.loads((tmp_path / "out" / "extract.json").read_text())
    assert set(extract["tables"]) == set(summary.rows)
    assert extract["taken_at"] == "2010-03-02T00:00:00"  # the end of the last day with an order


@needs_real_data
def test_matching_agrees_with_the_published_matching_of_the_real_data():
    raw = read_source(REAL)
    lines, _ = order_lines(raw)
    credited = credit_lines(raw)
    pairs, n_unmatched = match_credits(lines, credited)
    assert len(credited) == 17_641
    given = pd.read_parquet(REAL / "cancellations.parquet").astype({"customer_id": "str"})
    keys = ["invoice", "cancel_invoice", "customer_id", "stock_code"]
    expected = given.groupby(keys)["cancelled_qty"].sum()
    bought = lines.iloc[pairs["line"]].reset_index(drop=True)
    columns = [bought["order_id"], pairs["event_id"].str.split("-").str[0], bought["customer_id"], bought["product_id"]]
    ours = pairs["quantity"].groupby([column.to_numpy() for column in columns]).sum()
    assert ours.sum() == expected.sum() == 452_101
    # Which of two equal credit lines is taken first moves a few units between purchases, no more.
    moved = ours.sub(expected, fill_value=0).abs().sum() / 2
    assert moved <= 0.001 * expected.sum()
    assert abs(len(ours) - len(expected)) <= 0.001 * len(expected)


@needs_real_data
def test_a_slice_of_the_real_data_replays_within_the_laws(tmp_path):
    raw = pd.read_parquet(REAL / "lines.parquet")
    (tmp_path / "source").mkdir()
    raw[raw["stock_code"].str[:2].isin(["85", "POST"])].to_parquet(tmp_path / "source" / "lines.parquet")
    summary = convert(tmp_path / "source", tmp_path / "out", replay_supply=True)
    tables = {name: pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in summary.rows}
    assert broken_laws(tables) == {}
    assert tables["order_lines"]["customer_id"].isna().mean() == pytest.approx(0.225, abs=0.1)
    assert 0.005 < (tables["cancellations"]["reason"] == "replayed").sum() / len(tables["order_lines"]) < 0.05
