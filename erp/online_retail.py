"""Online Retail II, a British gift wholesaler's two years of invoices, as tables of the data contract.

The publisher gives invoices and credit notes. It gives no stock, no supply and no waiting, so by itself the data holds
no back order; `erp.replayed_supply` adds those as a declared simulation. `erp.online_retail_readme` says so beside
the tables.

Chen, Sain & Guo 2012, Journal of Database Marketing & Customer Strategy Management 19(3), 10.1057/dbm.2012.17.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from erp import online_retail_readme
from erp.contract import ARROW_TYPES, TABLES, ContractError
from erp.replayed_supply import replay

SHEETS = ("Year 2009-2010", "Year 2010-2011")
WORKBOOK_COLUMNS = {
    "Invoice": "invoice",
    "StockCode": "stock_code",
    "Description": "description",
    "Quantity": "quantity",
    "InvoiceDate": "invoice_ts",
    "Price": "unit_price",
    "Customer ID": "customer_id",
    "Country": "country",
}
# A stock code begins with five digits; POST, D, M, BANK CHARGES, gift vouchers, test and partner codes do not.
STOCK_CODE = r"\d{5}"
# The publisher gives no shipping time. Goods leave at 18:00 of the order day, what is ordered later leaves at once;
# so a credit note of the same day before 18:00 cancels and any later one is a return. Assumed.
DISPATCH_HOUR = 18
LIST_PRICE_DAYS = 28  # a product's list price is the most usual price of its first days of sale, so it sees no future

Tables = dict[str, pd.DataFrame]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Summary:
    """What a conversion read, left out and wrote."""

    n_source_lines: int
    excluded: dict[str, int]  # reason -> source lines left out
    n_credit_lines: int  # credit lines of known customers for stocked products
    n_credit_pairs: int  # (credit line, purchase line) pairs found for them
    n_unmatched_credit_lines: int  # credit lines with units for which no earlier purchase is left
    rows: dict[str, int]  # table -> rows written
    replayed: bool


def convert(source: Path, out: Path, replay_supply: bool = False, seed: int = 0) -> Summary:
    """Write Online Retail II as the contract's tables, one Parquet file each, with README.md and extract.json.

    Parameters
    ----------
    source : a folder with `lines.parquet`, or the publisher's workbook (.xlsx)
    out : folder of the tables; tables of an earlier conversion in it are replaced
    replay_supply : add simulated suppliers, purchase orders, receipts, stock, waiting and impatience; without it every
        line ships on the day it was ordered and nothing is open
    seed : of the simulation

    Raises
    ------
    ContractError
        If the source is missing, lacks a column or a sheet, holds no order at all, or is the folder `out`.
    """
    if Path(source).resolve() == Path(out).resolve():
        raise ContractError(f"{out} is the source too and its files would be replaced; choose another folder for out")
    raw = read_source(Path(source))
    lines, excluded = order_lines(raw)
    if lines.empty:
        raise ContractError(f"{source}: none of {len(raw)} lines is an order; is it Online Retail II?")
    credited = credit_lines(raw)
    pairs, n_unmatched = match_credits(lines, credited)
    tables = {"customers": customers(lines), "products": products(lines)}
    tables |= replay(lines, pairs, seed) if replay_supply else shipped_at_once(lines, pairs)
    summary = Summary(
        n_source_lines=len(raw),
        excluded=excluded,
        n_credit_lines=len(credited),
        n_credit_pairs=len(pairs),
        n_unmatched_credit_lines=n_unmatched,
        rows={name: len(table) for name, table in tables.items()},
        replayed=replay_supply,
    )
    write(tables, Path(out), end_of(lines))
    text = online_retail_readme.text(summary.__dict__, seed)
    (Path(out) / "README.md").write_text(text, encoding="utf-8")
    return summary


def read_source(source: Path) -> pd.DataFrame:
    """One row per line of the publisher's invoices, columns as in `WORKBOOK_COLUMNS`, ids as text."""
    if source.suffix.lower() == ".xlsx":
        raw = _read_workbook(source)
    else:
        path = source / "lines.parquet"
        if not path.exists():
            raise ContractError(f"{source}: no lines.parquet there; give its folder or the publisher's .xlsx workbook")
        raw = pd.read_parquet(path)
    if missing := sorted(set(WORKBOOK_COLUMNS.values()) - set(raw.columns)):
        raise ContractError(f"{source}: columns {missing} are missing; found {sorted(map(str, raw.columns))}")
    raw = raw[list(WORKBOOK_COLUMNS.values())].reset_index(drop=True)
    for column in ("invoice", "stock_code", "customer_id"):
        raw[column] = raw[column].astype("str").str.strip().str.removesuffix(".0")
    raw["stock_code"] = raw["stock_code"].str.upper()  # the till of the web shop typed 173 codes in small letters
    raw["invoice_ts"] = raw["invoice_ts"].astype("datetime64[s]")
    return raw


def _read_workbook(source: Path) -> pd.DataFrame:
    if not source.exists():
        raise ContractError(f"{source} does not exist; give the publisher's workbook or a folder with lines.parquet")
    as_text: dict[str, type] = dict.fromkeys(("Invoice", "StockCode", "Customer ID", "Description"), str)
    sheets = pd.read_excel(source, sheet_name=None, dtype=as_text)
    if missing := [name for name in SHEETS if name not in sheets]:
        raise ContractError(f"{source}: sheets {missing} are missing; found {sorted(map(str, sheets))}")
    first, second = (sheets[name].rename(columns=WORKBOOK_COLUMNS) for name in SHEETS)
    if "invoice" in first and "invoice" in second:
        # The invoices of 1 to 9 December 2010 stand in both sheets: the first copy goes.
        first = first[~first["invoice"].isin(set(second["invoice"]))]
    return pd.concat([first, second], ignore_index=True)


def order_lines(raw: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Purchase lines by order time, and how many source lines are none, by the first reason that applies.

    The number in `order_line_id` counts an invoice's lines sorted by content, so the source's row order does not
    matter. `dispatch_at` is when the line leaves if the goods are there.
    """
    reasons = {
        "credit lines": _is_credit(raw),
        "no stocked product": ~_is_stocked(raw),
        "quantity not above 0 (stock write-offs)": raw["quantity"] <= 0,
        "price not above 0 (gifts, found goods)": ~(raw["unit_price"] > 0),
    }
    kept = pd.Series(True, index=raw.index)
    excluded = {}
    for reason, applies in reasons.items():
        excluded[reason] = int((kept & applies).sum())
        kept &= ~applies
    lines = _by_content(raw[kept]).rename(
        columns={"invoice": "order_id", "stock_code": "product_id", "invoice_ts": "ordered_at"}
    )
    lines["order_line_id"] = lines["order_id"] + "-" + _number_within(lines["order_id"]).astype("str")
    lines = lines.sort_values("ordered_at", kind="stable", ignore_index=True)
    days = lines["ordered_at"].dt.normalize()
    lines["dispatch_at"] = np.maximum(days + pd.Timedelta(hours=DISPATCH_HOUR), lines["ordered_at"])
    return lines, excluded


def credit_lines(raw: pd.DataFrame) -> pd.DataFrame:
    """Credit lines (invoice C...) of known customers for stocked products, by time."""
    is_wanted = _is_credit(raw) & _is_stocked(raw) & raw["customer_id"].notna() & (raw["quantity"] < 0)
    return _by_content(raw[is_wanted]).sort_values("invoice_ts", kind="stable", ignore_index=True)


def _is_credit(raw: pd.DataFrame) -> "pd.Series[bool]":
    return raw["invoice"].str.startswith("C")


def _is_stocked(raw: pd.DataFrame) -> "pd.Series[bool]":
    return raw["stock_code"].str.match(STOCK_CODE)


def _by_content(rows: pd.DataFrame) -> pd.DataFrame:
    keys = ["invoice", "invoice_ts", "stock_code", "quantity", "unit_price", "customer_id", "description", "country"]
    return rows.sort_values(keys, kind="stable", ignore_index=True)


def _number_within(ids: pd.Series) -> "pd.Series[int]":
    return ids.groupby(ids, sort=False).cumcount() + 1


def match_credits(lines: pd.DataFrame, credited: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Match each credit line to the customer's latest earlier purchases of the product with units left.

    Returns
    -------
    One row per pair by time: `line` (row of `lines`), `at`, `quantity`, `event_id`; and how many credit lines have
    units for which no purchase is left. Someone who buys 10, buys 5 and is credited 7 gives back those 5 and 2 of the
    10. A purchase of the same minute counts as earlier.
    """
    line_keys, credit_keys = _customer_and_product(lines, credited)
    rows = np.flatnonzero(np.isin(line_keys, credit_keys) & lines["customer_id"].notna().to_numpy())
    times = np.concatenate([lines["ordered_at"].to_numpy()[rows], credited["invoice_ts"].to_numpy()])
    is_credit = np.arange(len(times)) >= len(rows)
    numbers = np.concatenate([rows, np.arange(len(credited))])
    bought, given_back = lines["quantity"].to_numpy(), -credited["quantity"].to_numpy()
    left: dict[int, list[list[int]]] = {}
    pairs: list[tuple[int, int, int]] = []
    n_unmatched = 0
    for event in np.lexsort((numbers, is_credit, times)).tolist():
        number = int(numbers[event])
        if not is_credit[event]:
            left.setdefault(int(line_keys[number]), []).append([number, int(bought[number])])
            continue
        taken, missing = _take_latest(left.get(int(credit_keys[number]), []), int(given_back[number]))
        pairs += [(line, number, quantity) for line, quantity in taken]
        n_unmatched += missing > 0
    return _pairs_frame(pairs, credited), n_unmatched


def _customer_and_product(lines: pd.DataFrame, credited: pd.DataFrame) -> tuple[Ints, Ints]:
    """Give equal numbers to equal pairs of customer and product in both frames."""
    keys = ["customer_id", "product_id"]
    both = pd.concat([lines[keys], credited.rename(columns={"stock_code": "product_id"})[keys]], ignore_index=True)
    numbers = both.groupby(keys, sort=False, dropna=False).ngroup().to_numpy().astype("int64")
    return numbers[: len(lines)], numbers[len(lines) :]


def _take_latest(stack: list[list[int]], quantity: int) -> tuple[list[tuple[int, int]], int]:
    """Take units from the top of a stack of [line, units left]; also what was not found.

    >>> _take_latest([[0, 10], [1, 5]], 7)
    ([(1, 5), (0, 2)], 0)
    """
    taken = []
    while quantity and stack:
        units = min(quantity, stack[-1][1])
        taken.append((stack[-1][0], units))
        stack[-1][1] -= units
        quantity -= units
        if stack[-1][1] == 0:
            stack.pop()
    return taken, quantity


def _pairs_frame(pairs: list[tuple[int, int, int]], credited: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame(pairs, columns=["line", "credit", "quantity"]).astype("int64")
    credit = credited.take(frame["credit"].to_numpy()).reset_index(drop=True)
    invoices, frame["at"] = credit["invoice"], credit["invoice_ts"]
    frame["event_id"] = invoices + "-" + _number_within(invoices).astype("str")
    return frame[["line", "at", "quantity", "event_id"]]


def customers(lines: pd.DataFrame) -> pd.DataFrame:
    """One row per customer: `created_at` is the first order, `country` that order's."""
    known = lines[lines["customer_id"].notna()]
    by_customer = known.groupby("customer_id", sort=True)
    return by_customer.agg(created_at=("ordered_at", "first"), country=("country", "first")).reset_index()


def products(lines: pd.DataFrame) -> pd.DataFrame:
    """One row per product: first description, and the most usual price of the first `LIST_PRICE_DAYS` days of sale.

    Of two equally usual prices the higher one is the list price. The publisher gives no cost, so none is written.
    """
    by_product = lines.groupby("product_id", sort=True)
    early = lines[
        lines["ordered_at"] < by_product["ordered_at"].transform("first") + pd.Timedelta(days=LIST_PRICE_DAYS)
    ]
    prices = early.groupby(["product_id", "unit_price"], sort=True).size().rename("n_lines").reset_index()
    prices = prices.sort_values(["product_id", "n_lines", "unit_price"], kind="stable")
    list_price = prices.groupby("product_id", sort=True)["unit_price"].last()
    return pd.DataFrame({"list_price": list_price, "name": by_product["description"].first()}).reset_index()


def shipped_at_once(lines: pd.DataFrame, pairs: pd.DataFrame) -> Tables:
    """Shipments, cancellations, returns and an empty stock table for a company in which nobody waits.

    A line of 10 at 09:00 with a credit of 4 at 10:00 ships 6 at 18:00; a credit of 4 at 19:00 comes after 10 have left
    and is a return.
    """
    credited = lines.take(pairs["line"].to_numpy()).reset_index(drop=True)
    is_before = pairs["at"] < credited["dispatch_at"]
    events = pairs.assign(order_line_id=credited["order_line_id"])
    cancelled = events[is_before].groupby("line")["quantity"].sum().reindex(lines.index, fill_value=0)
    shipments = lines.assign(quantity=lines["quantity"] - cancelled)
    no_stock = pd.DataFrame({"snapshot_at": [], "product_id": [], "on_hand": []}, dtype="float64")
    return {
        "order_lines": lines,
        "shipments": shipments[shipments["quantity"] > 0].rename(columns={"dispatch_at": "shipped_at"}),
        "cancellations": events[is_before].assign(cancelled_by="customer").rename(columns={"at": "cancelled_at"}),
        "returns": events[~is_before].rename(columns={"at": "returned_at"}),
        "stock": no_stock.astype({"snapshot_at": "datetime64[s]", "product_id": "str"}),
    }


def end_of(lines: pd.DataFrame) -> pd.Timestamp:
    """Midnight after the last day of the source."""
    last: pd.Timestamp = lines["ordered_at"].max()
    return last.normalize() + pd.Timedelta(days=1)


def write(tables: Tables, out: Path, complete_to: pd.Timestamp) -> None:
    """Write each table with the contract's columns and types, replacing what an earlier conversion wrote."""
    out.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        (out / f"{name}.parquet").unlink(missing_ok=True)
    for name, table in tables.items():
        pq.write_table(_typed(name, table), out / f"{name}.parquet", compression="zstd")
    end = complete_to.isoformat()
    extract = {"taken_at": end, "tables": {name: {"complete_to": end} for name in sorted(tables)}}
    (out / "extract.json").write_text(json.dumps(extract, indent=1) + "\n", encoding="utf-8")


def _typed(name: str, table: pd.DataFrame) -> pa.Table:
    """Give a table the contract's columns and types, without pandas' metadata, so that equal tables are equal bytes."""
    columns = [column for column in TABLES[name].columns if column in table]
    schema = pa.schema([(column, ARROW_TYPES[TABLES[name].kind(column)]) for column in columns])
    return pa.Table.from_pandas(table[columns], schema=schema, preserve_index=False).replace_schema_metadata(None)


def main() -> None:
    """Convert from the command line: `python -m erp.online_retail SOURCE OUT [--replay-supply] [--seed N]`."""
    parser = argparse.ArgumentParser(prog="python -m erp.online_retail", description=__doc__)
    parser.add_argument("source", type=Path, help="folder with lines.parquet, or the publisher's workbook")
    parser.add_argument("out", type=Path, help="folder for the contract's tables")
    parser.add_argument("--replay-supply", action="store_true", help="add simulated stock, supply and waiting")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default: 0)")
    given = parser.parse_args()
    summary = convert(given.source, given.out, given.replay_supply, given.seed)
    replayed = "with replayed supply, declared in its README.md" if summary.replayed else "as published"
    print(f"{summary.rows['order_lines']:,} order lines in {given.out}/, {replayed}")


if __name__ == "__main__":
    main()
