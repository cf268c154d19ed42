"""Companies so odd that little can be learned: the queue is right all the same, perhaps empty, or the run says why."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from erp.contract import TABLES
from pipelines.command import main
from tests.pipelines.queue_validator import violations
from tests.pipelines.small_company import TINY_T, goods_at, queue_of, site_of, tiny_tables, waiting_lines

pytestmark = pytest.mark.usefixtures("few_looks")


def only(tables, lines):
    """The same company with these order lines alone, and what happened to them."""
    ids = lines["order_line_id"]
    kept = tables | {"order_lines": lines}
    for name in ("shipments", "cancellations", "promises", "returns"):
        kept[name] = tables[name][tables[name]["order_line_id"].isin(ids)]
    return kept


def one_customer(tables):
    lines = tables["order_lines"]
    who = waiting_lines(tables, TINY_T)["customer_id"].value_counts().index[0]
    return only(tables, lines[lines["customer_id"] == who])


def one_product(tables):
    lines = tables["order_lines"]
    what = waiting_lines(tables, TINY_T)["product_id"].value_counts().index[0]
    return only(tables, lines[lines["product_id"] == what])


def one_order_line(tables):
    lines = tables["order_lines"]
    return only(tables, lines[lines["order_line_id"] == waiting_lines(tables, TINY_T)["order_line_id"].iloc[0]])


def no_open_back_order(tables):
    lines = tables["order_lines"]
    return only(tables, lines[~lines["order_line_id"].isin(waiting_lines(tables, TINY_T)["order_line_id"])])


def no_stock(tables):
    return tables | {"stock": tables["stock"].assign(on_hand=0)}


def all_cancelled(tables):
    lines = tables["order_lines"]
    gone = lines[["order_line_id", "quantity"]].assign(
        cancelled_at=lines["ordered_at"] + pd.Timedelta(minutes=5), cancelled_by="customer", reason="too late"
    )
    empty = {name: tables[name].iloc[:0] for name in ("shipments", "returns")}
    return tables | empty | {"cancellations": gone}


def all_anonymous(tables):
    nobody = pd.Series([None] * len(tables["order_lines"]), dtype="str")
    return tables | {"order_lines": tables["order_lines"].assign(customer_id=nobody)}


def without_optional_tables(tables):
    return {name: frame for name, frame in tables.items() if not TABLES[name].is_optional}


def without_optional_columns(tables):
    return {name: frame[TABLES[name].required] for name, frame in without_optional_tables(tables).items()}


def no_cancellations(tables):
    return tables | {"cancellations": tables["cancellations"].iloc[:0]}


def nothing_ordered_yet(tables):
    first = {name: tables[name] for name in ("customers", "products", "stock", "suppliers")}
    return first | {name: tables[name].iloc[:0] for name in ("order_lines", "shipments", "cancellations")}


def everything_on_one_day(tables):
    day = pd.Timestamp("2024-05-28 09:00:00")
    lines = tables["order_lines"].drop(columns=["requested_on"])
    moved = tables | {"order_lines": lines.assign(ordered_at=day)}
    moved["customers"] = tables["customers"].assign(created_at=day - pd.Timedelta(hours=1))
    for name, time in (("shipments", "shipped_at"), ("cancellations", "cancelled_at"), ("stock", "snapshot_at")):
        moved[name] = tables[name].assign(**{time: day + pd.Timedelta(hours=2)})
    moved["stock"] = moved["stock"].drop_duplicates("product_id")
    moved["shipments"] = moved["shipments"].assign(event_id=[f"e{i}" for i in range(len(moved["shipments"]))])
    return {
        name: moved[name] for name in ("customers", "products", "order_lines", "shipments", "cancellations", "stock")
    }


def prices_and_costs_of_zero(tables):
    products = tables["products"].assign(list_price=0.0, unit_cost=0.0)
    return tables | {"products": products, "order_lines": tables["order_lines"].assign(unit_price=0.0, list_price=0.0)}


def costs_above_prices(tables):
    return tables | {"products": tables["products"].assign(unit_cost=tables["products"]["list_price"] * 3)}


def huge_and_tiny_quantities(tables):
    lines = tables["order_lines"].copy()
    open_ids = waiting_lines(tables, TINY_T)["order_line_id"]
    lines["quantity"] = lines["quantity"].astype(float)
    lines.loc[lines["order_line_id"].isin(open_ids[::2]), "quantity"] = 1e9
    lines.loc[lines["order_line_id"].isin(open_ids[1::4]), "quantity"] += 1e-6
    return tables | {"order_lines": lines}


COMPANIES = (
    one_customer,
    one_product,
    one_order_line,
    no_open_back_order,
    nothing_ordered_yet,
    no_stock,
    all_cancelled,
    all_anonymous,
    without_optional_tables,
    without_optional_columns,
    no_cancellations,
    everything_on_one_day,
    prices_and_costs_of_zero,
    costs_above_prices,
    huge_and_tiny_quantities,
)


def run(tables, tmp_path, capsys, is_complete=False):
    site = site_of(tmp_path, tables)
    if is_complete:  # so few facts look like a table that lags; the extract says that these are all
        up_to = {"complete_to": f"{TINY_T}Z"}
        extract = {"taken_at": f"{TINY_T}Z", "shipments": up_to, "cancellations": up_to, "stock": up_to}
        (tmp_path / "data" / "extract.json").write_text(json.dumps(extract))
    given = ["--data", site.data, "--store", site.store, "--out", site.out, "--as-of", f"{TINY_T}Z", "--quiet"]
    code = main(["run", *given])
    return site, code, capsys.readouterr()


def assert_right(site, tables):
    queue, want = queue_of(site), waiting_lines(tables, TINY_T).set_index("order_line_id")["open_quantity"]
    assert violations(Path(site.out), TINY_T) == []
    got = queue.set_index("order_line_id")["open_quantity"]
    assert sorted(got.index) == sorted(want.index)
    assert np.allclose(got, want.reindex(got.index), rtol=1e-12)
    if "purchase_orders" in tables:
        assert np.allclose(
            queue["available_now"],
            queue["product_id"].map(goods_at(tables, TINY_T).to_dict()).astype(float).fillna(0.0),
        )


@pytest.mark.parametrize("odd", COMPANIES, ids=lambda odd: odd.__name__)
def test_an_odd_company_gets_the_right_queue(odd, tmp_path, capsys):
    tables = odd(tiny_tables())
    site, code, said = run(tables, tmp_path, capsys, is_complete=True)
    assert (code, said.err) == (0, "")
    assert_right(site, tables)
    n_lines = len(waiting_lines(tables, TINY_T))
    lines = "line" if n_lines == 1 else "lines"
    assert said.out.startswith(f"{n_lines} open back-ordered {lines} ranked as of 2024-05-30T05:00:00Z")
    assert (n_lines == 0) == (odd in (no_open_back_order, all_cancelled, nothing_ordered_yet))


# Tables whose emptiness alone would make shipped goods look open, or leave lines without what they refer to.
STOPPING_WHEN_EMPTY = {"customers", "products", "order_lines", "shipments", "suppliers", "purchase_orders"}


@pytest.mark.parametrize("name", sorted(tiny_tables()))
def test_a_table_of_nothing_but_its_header_is_coped_with_or_refused(name, tmp_path, capsys):
    tables = tiny_tables()
    tables[name] = tables[name].iloc[:0]
    site, code, said = run(tables, tmp_path, capsys)
    assert "Traceback" not in said.err
    if code:
        assert name in STOPPING_WHEN_EMPTY
        assert code == 1
        assert "references exist" in said.err or f"{name} is empty" in said.err
        assert not Path(site.out).exists()
    else:
        assert_right(site, tables)
