"""Tables read from a real Tryton: goods neither lost nor doubled, units, cancellations, purchases."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from erp.contract import TABLES, ContractError
from erp.known import checked
from erp.settings import Site
from erp.tryton_source import read_tables
from tests.tryton_server import PASSWORD, TrytonServer, tryton_on_sqlite

SHIPMENT = "stock.shipment.out"
A, B = "1", "2"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    with tryton_on_sqlite(tmp_path_factory.mktemp("tryton"), "small") as server:
        yield server


@pytest.fixture
def tryton(home: TrytonServer) -> TrytonServer:
    home.restore("small")
    return home


def read(tryton: TrytonServer, folder: Path) -> dict[str, pd.DataFrame]:
    folder.mkdir()
    read_tables(tryton.url(), PASSWORD, folder)
    return {
        name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES if (folder / f"{name}.parquet").exists()
    }


def on_hand(tables: dict[str, pd.DataFrame]) -> dict[str, float]:
    return dict(zip(tables["stock"]["product_id"], tables["stock"]["on_hand"], strict=True))


def held(tables: dict[str, pd.DataFrame]) -> dict[str, tuple[float, bool]]:
    rows = tables["reservations"]
    return {r.order_line_id: (r.quantity, r.is_firm) for r in rows.itertuples()}


def test_goods_are_neither_lost_nor_doubled_on_their_way_from_the_shelf_to_the_customer(tryton, tmp_path):
    with tryton.session() as clerk:
        first = read(tryton, tmp_path / "waiting")
        assert (on_hand(first), held(first)) == ({A: 10, B: 4}, {})
        clerk.model(SHIPMENT, "assign_try", [1])
        assert held(read(tryton, tmp_path / "assigned")) == {"1": (8, False), "2": (3, False)}
        clerk.model(SHIPMENT, "pick", [1])
        picked = read(tryton, tmp_path / "picked")
        assert (on_hand(picked), held(picked)) == ({A: 10, B: 4}, {"1": (8, True), "2": (3, True)})
        clerk.model(SHIPMENT, "pack", [1])
        packed = read(tryton, tmp_path / "packed")
        assert (on_hand(packed), held(packed)) == ({A: 10, B: 4}, {"1": (8, True), "2": (3, True)})
        clerk.model(SHIPMENT, "do", [1])
    done = read(tryton, tmp_path / "done")
    assert (on_hand(done), held(done)) == ({A: 2, B: 1}, {})
    shipped = done["shipments"].set_index("order_line_id")["quantity"].to_dict()
    assert shipped == {"1": 8, "2": 3}
    assert len(done["order_lines"]) == len(first["order_lines"]) == 7


def test_what_is_read_keeps_the_contracts_laws(tryton, tmp_path):
    with tryton.session() as clerk:
        clerk.model(SHIPMENT, "assign_try", [1])
        for button in ("pick", "pack", "do"):
            clerk.model(SHIPMENT, button, [1])
    tables = read(tryton, tmp_path / "data")
    for name, frame in tables.items():
        assert set(TABLES[name].required) <= set(frame.columns)
    site = Site(data=str(tmp_path / "data"), store=str(tmp_path / "store"))
    with checked(site, datetime.now(UTC).replace(tzinfo=None)) as (findings, _):
        assert findings.rejected.empty
        assert findings.stops == []


def test_quantities_and_prices_are_told_in_the_products_default_unit(tryton, tmp_path):
    tryton.stop()
    tryton.happen("dozens")
    tryton.start()
    tables = read(tryton, tmp_path / "data")
    line = tables["order_lines"].iloc[-1]
    assert (line["quantity"], line["unit_price"]) == (24, 5)  # 2 dozen at 60 each
    came = tables["purchase_orders"].iloc[-1]
    assert (came["quantity"], came["unit_cost"], came["kind"]) == (36, 2.5, "bought")  # 3 dozen at 30 each
    assert tables["suppliers"]["supplier_id"].tolist() == [came["supplier_id"]]


def test_goods_that_a_sale_will_not_send_any_more_are_cancelled(tryton, tmp_path):
    tryton.stop()
    tryton.happen("dropped")
    tryton.start()
    tables = read(tryton, tmp_path / "data")
    told = tables["cancellations"].set_index("order_line_id")["quantity"].to_dict()
    assert told == {"3": 6}


def test_a_wrong_password_is_said_and_not_repeated(tryton, tmp_path):
    with pytest.raises(ContractError, match="does not let robot in") as caught:
        read_tables(tryton.url(), "wrong-canary", tmp_path)
    assert "wrong-canary" not in str(caught.value)
    with pytest.raises(ContractError, match="asks for a password"):
        read_tables(tryton.url(), None, tmp_path)


def test_a_server_that_is_not_there_is_said(tryton, tmp_path):
    with pytest.raises(ContractError, match="no Tryton server answers at 127.0.0.1:9"):
        read_tables(tryton.url(port=9), PASSWORD, tmp_path)
