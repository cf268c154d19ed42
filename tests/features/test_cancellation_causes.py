import pandas as pd
import pytest

from erp.settings import SettingsError, open_site
from features.feature_tables import build
from tests.erp.small_company import Company, T, add, small_tables, version
from tests.features.cause_oracle import causes as oracle
from tests.features.grown_company import cut_at, grown_tables


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


def told(by=None, reason=None):
    """The small company; C2 cancelled L3 (3 of P1) on 6 March, said to be by whom and why."""
    tables = small_tables()
    tables["cancellations"]["cancelled_by"], tables["cancellations"]["reason"] = by, reason
    return tables


def causes_of(company, tables, as_of=T, **given):
    """The cause of each cancelled quantity by line; a star where it is not known."""
    facts = company.facts(tables, as_of, **given)
    with facts.connect() as connection:
        frame = build(connection, facts, facts.as_of, "cancellation_causes").sort_values(
            ["order_line_id", "happened_at"]
        )
    marks = frame["is_cause_unknown"].map({True: "*", False: ""})
    return dict(zip(frame["order_line_id"], frame["cause"] + marks, strict=True))


def ordered(tables, line, customer, product, at, **cells):
    row = {"order_line_id": line, "order_id": "O" + line, "customer_id": customer, "product_id": product}
    row |= {"requested_on": None, "promised_on": None}
    add(tables, "order_lines", **row, ordered_at=at, **({"quantity": 3.0} | cells))


def called_off(tables, line, at, quantity=3.0):
    cells = {"cancelled_by": None, "reason": None, "event_id": "Y" + line}
    add(tables, "cancellations", order_line_id=line, cancelled_at=at, quantity=quantity, **cells)


# --- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "reason", "cause"),
    [
        ("customer", None, "customer"),
        ("seller", None, "seller"),
        (None, None, "customer*"),
        (None, "R1", "customer*"),
        (None, "R7", "seller"),
        ("customer", "R7", "seller"),  # a code that the site mapped is more precise than who typed it
        ("seller", "R8", "customer"),
        ("customer", "R9", "change"),
    ],
)
def test_a_mapped_reason_speaks_first_then_who_cancelled(company, by, reason, cause):
    mapped = {"R7": "seller", "R8": "customer", "R9": "change"}
    assert causes_of(company, told(by, reason), cancel_reasons=mapped) == {"L3": cause}


def test_a_quantity_that_fell_may_be_mapped_like_any_code(company):
    tables = small_tables()
    version(tables, "order_lines", "L6", "2024-03-14 23:00", is_deleted=True)
    assert causes_of(company, tables)["L6"] == "seller"  # its product is discontinued
    assert causes_of(company, tables, cancel_reasons={"vanished": "customer"})["L6"] == "customer"


# --- the seller's, though nobody says so ------------------------------------------------------------------------------


@pytest.mark.parametrize(("ends_on", "cause"), [("2024-03-06", "seller"), ("2024-03-07", "customer*")])
def test_what_is_cancelled_once_its_product_is_at_its_end_is_the_sellers(company, ends_on, cause):
    tables = told()
    tables["products"].loc[0, "discontinued_on"] = pd.Timestamp(ends_on).date()
    assert causes_of(company, tables) == {"L3": cause}


def test_the_customers_word_holds_also_at_the_end_of_a_product(company):
    tables = told("customer")
    tables["products"].loc[0, "discontinued_on"] = pd.Timestamp("2024-03-01").date()
    assert causes_of(company, tables) == {"L3": "customer"}


def swept(n_customers, n_left, hour=None):
    """P2 is ordered by so many customers who all lose it on 12 March, and by others who keep it."""
    tables = small_tables()
    for name in ("shipments", "cancellations", "promises", "returns"):
        tables[name] = tables[name][tables[name]["order_line_id"] != "L2"]
    tables["order_lines"] = tables["order_lines"].query("product_id != 'P2'")
    for k in range(n_customers + n_left):
        add(tables, "customers", customer_id=f"D{k}", created_at="2024-01-01 09:00", parent_id=None)
        ordered(tables, f"M{k}", f"D{k}", "P2", "2024-03-01 12:00")
        if k < n_customers:
            called_off(tables, f"M{k}", f"2024-03-12 {hour or 8 + k}:00")
    return tables


@pytest.mark.parametrize(
    ("n_customers", "n_left", "cause"), [(5, 5, "seller"), (5, 6, "customer*"), (4, 0, "customer*"), (6, 0, "seller")]
)
def test_half_of_a_products_open_lines_cancelled_on_one_day_are_one_hand(company, n_customers, n_left, cause):
    found = causes_of(company, swept(n_customers, n_left))
    assert {found[f"M{k}"] for k in range(n_customers)} == {cause}
    assert found["L3"] == "customer"


def test_lines_that_were_over_before_that_day_do_not_count_as_open(company):
    tables = swept(5, 6)
    add(tables, "shipments", order_line_id="M9", shipped_at="2024-03-11 15:00", quantity=3.0, event_id="S9")
    assert causes_of(company, tables)["M0"] == "seller"


def test_one_customer_who_cancels_everything_is_no_hand_of_ours(company):
    tables = swept(6, 0)
    tables["order_lines"].loc[tables["order_lines"]["order_line_id"].str.startswith("M"), "customer_id"] = "D0"
    assert set(causes_of(company, tables).values()) == {"customer", "customer*"}


def test_many_customers_in_the_same_second_are_one_job(company):
    tables = swept(5, 20, hour="09")
    assert causes_of(company, tables)["M0"] == "seller"
    by_day = swept(5, 20, hour="00")
    by_day["cancellations"]["cancelled_at"] = by_day["cancellations"]["cancelled_at"].dt.normalize()
    assert causes_of(company, by_day)["M0"] == "customer*", "a mere day is no second"


def test_lines_that_vanish_from_one_extract_are_no_job(company):
    tables = swept(0, 20)
    for k in range(5):
        version(tables, "order_lines", f"M{k}", "2024-03-12 23:00", is_deleted=True)
    assert causes_of(company, tables)["M0"] == "customer*"


# --- a change, not a loss ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("customer", "product", "at", "cause"),
    [
        ("C2", "P1", "2024-03-06 08:00", "change"),  # the day of the cancellation, before it
        ("C2", "P1", "2024-03-13 22:00", "change"),  # the seventh day
        ("C2", "P1", "2024-03-05 22:00", "customer"),  # the day before
        ("C2", "P1", "2024-03-14 01:00", "customer"),  # the eighth day
        ("C1", "P1", "2024-03-07 08:00", "customer"),  # another customer
        ("C2", "P2", "2024-03-07 08:00", "customer"),  # another product
    ],
)
def test_cancelled_and_ordered_again_within_a_week_is_a_change(company, customer, product, at, cause):
    tables = told("customer")
    ordered(tables, "L8", customer, product, at)
    assert causes_of(company, tables)["L3"] == cause


def test_reorder_days_are_the_sites_and_0_takes_nothing_for_a_change(company):
    tables = told("customer")
    ordered(tables, "L8", "C2", "P1", "2024-03-06 12:00")
    found = {days: causes_of(company, tables, reorder_days=days)["L3"] for days in (0, 1)}
    assert found == {0: "customer", 1: "change"}


def test_a_reason_mapped_to_the_customer_may_still_be_a_change(company):
    tables = told("seller", "R8")
    ordered(tables, "L8", "C2", "P1", "2024-03-07 12:00")
    assert causes_of(company, tables, cancel_reasons={"R8": "customer"})["L3"] == "change"
    assert causes_of(company, tables)["L3"] == "seller"


def test_an_anonymous_customer_never_ordered_again(company):
    tables = told("customer")
    ordered(tables, "L8", None, "P1", "2024-03-13 12:00")
    add(tables, "cancellations", order_line_id="L5", cancelled_at="2024-03-12 20:00", quantity=1.0, event_id="X5")
    assert causes_of(company, tables)["L5"] == "customer"


def test_the_older_of_two_lines_ordered_together_is_not_the_newer_ones_change(company):
    tables = told("customer")
    ordered(tables, "L8", "C2", "P1", "2024-03-04 08:00")  # with L3
    tables["cancellations"]["cancelled_at"] = pd.Timestamp("2024-03-04 09:00")
    assert causes_of(company, tables)["L3"] == "customer"


@pytest.mark.parametrize(
    ("quantity", "at", "cause"), [(3.0, "03-08", "change"), (2.0, "03-08", "customer*"), (3.0, "03-09", "customer*")]
)
def test_what_moved_to_lines_split_off_that_day_was_not_cancelled(company, quantity, at, cause):
    tables = small_tables()
    tables["order_lines"]["split_from_id"] = None
    cells = {"quantity": quantity, "split_from_id": "L5", "recorded_at": f"2024-{at} 16:00"}
    tables["order_lines"].loc[4, ["quantity", "ordered_at"]] = [8.0, pd.Timestamp("2024-03-02 12:00")]
    ordered(tables, "L8", None, "P1", "2024-03-02 12:00", **cells)
    version(tables, "order_lines", "L5", "2024-03-08 16:00", quantity=5.0)
    assert causes_of(company, tables)["L5"] == cause


# --- what follows from it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cause", "n"), [("customer", 1), ("seller", 0), ("change", 0)])
def test_only_the_customers_own_cancellations_are_counted_as_theirs(company, cause, n):
    facts = company.facts(told(None, "R9"), cancel_reasons={"R9": cause})
    with facts.connect() as connection:
        names = ("customers", "accounts", "products", "known_lines")
        customers, accounts, products, lines = (build(connection, facts, T, name) for name in names)
    assert customers.set_index("customer_id").loc["C2", "customer_n_cancelled"] == n
    assert customers.set_index("customer_id").loc["C2", "customer_cancel_share"] == n
    assert accounts.set_index("account_id").loc["C1", "n_cancelled_lines"] == n
    assert products.set_index("product_id").loc["P1", "product_cancel_share"] == n / 2  # L3 and L7 have ended
    assert lines.set_index("order_line_id").loc["L3", "ended_by"] == cause


@pytest.mark.parametrize("seed", [3, 4])
def test_causes_agree_with_a_reading_one_by_one(company, seed):
    tables = cut_at(grown_tables(seed), T)
    facts = company.facts(tables)
    with facts.connect() as connection:
        frame = build(connection, facts, facts.as_of, "cancellation_causes").sort_values(
            ["order_line_id", "happened_at"]
        )
    expected = tables["cancellations"].assign(cause=oracle(tables)).sort_values(["order_line_id", "cancelled_at"])
    assert list(frame["cause"]) == list(expected["cause"])
    assert set(expected["cause"]) == {"customer", "seller", "change"}
    is_unknown = expected["cancelled_by"].isna() & (expected["cause"] == "customer")
    assert list(frame["is_cause_unknown"]) == list(is_unknown)


def test_reasons_are_read_from_file_and_environment_and_refused_at_the_door(tmp_path, monkeypatch):
    file = tmp_path / "backorder.toml"
    file.write_text('[cancel_reasons]\nC07 = "seller"\n"A=B" = "change"\n', encoding="utf-8")
    assert open_site(file).cancel_reasons == {"C07": "seller", "A=B": "change"}
    monkeypatch.setenv("BACKORDER_CANCEL_REASONS", "C08=customer, A=B = change")
    assert open_site(file).cancel_reasons == {"C08": "customer", "A=B": "change"}
    assert open_site(file).reading()["cancel_reasons"] == {"C08": "customer", "A=B": "change"}
    for text, said in (("C08=nobody", "customer, seller, change"), ("seller", "cancel_reasons is 'seller'")):
        monkeypatch.setenv("BACKORDER_CANCEL_REASONS", text)
        with pytest.raises(SettingsError, match=said):
            open_site(file)
    with pytest.raises(SettingsError, match="reorder_days cannot be negative"):
        open_site(None, reorder_days=-1, cancel_reasons={})
