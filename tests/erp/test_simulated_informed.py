"""The informed planner: it sees the tables alone, reads them as they are, and its beliefs are calibrated."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from erp import simulator
from erp.simulated_books import historic_margin, read
from erp.simulated_chance import take
from erp.simulated_goods_expected import still_to_come
from erp.simulated_hazard import cancel_hazard
from erp.simulated_histories import read_histories
from erp.simulated_informed import (
    Belief,
    believe,
    chance_gone,
    expected_loss_per_unit,
    loss_per_unit,
    mean_fragility,
    roll_forward_informed,
)
from erp.simulated_kinds import KINDS, company_of
from erp.simulated_line_days import line_days
from erp.simulated_losses import account_value
from erp.simulated_oracle import LONGEST_DAYS, days_to_next_receipt, true_loss_per_unit
from erp.simulated_patience import GRID
from erp.simulated_rules import first_come_first_served
from erp.simulated_sizes import category_money, read_assortments
from erp.simulated_truth import fragility_of
from erp.simulated_worth import read_worth
from erp.simulator import CompanyShape, close, initialize, roll_forward, simulate, step

SMALL = CompanyShape(n_customers=700, n_products=26, n_suppliers=6, n_days=420, seed=901)
COLUMNS = ["cancel_margin", "cancel_future", "late_future"]


@pytest.fixture(scope="module")
def company():
    return simulate(SMALL)


def test_line_days_are_those_that_customers_decided_on_as_they_saw_them(monkeypatch):
    seen, cancelling = [], simulator._cancelling

    def noted(company, lines):
        by_seller, gone = cancelling(company, lines)
        names = ("key", "open", "latest_promised_day", "n_slips", "due_day")
        day = np.full(len(gone), company.day)
        seen.append({name: lines[name] for name in names} | {"day": day, "is_gone": gone, "by_seller": by_seller})
        return by_seller, gone

    monkeypatch.setattr(simulator, "_cancelling", noted)
    books = read(simulate(replace(SMALL, n_days=200)))
    expected = {name: np.concatenate([part[name] for part in seen]) for name in seen[0]}
    expected = take(expected, np.lexsort((expected["day"], expected["key"])))
    expected["latest_promised_day"] = np.nan_to_num(expected["latest_promised_day"], nan=np.inf)
    found = line_days(books, np.ones(len(books.lines["key"]), dtype=bool))
    assert expected["is_gone"].sum() > 50
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_books_are_the_tables(company):
    books, tables = read(company), close(company)
    assert len(books.lines["key"]) == len(tables["order_lines"])
    assert books.lines["quantity"].sum() == tables["order_lines"].quantity.sum()
    assert books.shipments["quantity"].sum() == tables["shipments"].quantity.sum()
    assert len(books.cancellations["row"]) == len(tables["cancellations"])
    assert len(books.account) == len(tables["customers"])
    assert len(books.promises["row"]) == len(tables["promises"])
    assert len(books.slips["key"]) + len(books.purchases["key"]) == len(tables["purchase_orders"])
    assert (books.ends_day < 10**9).sum() == tables["products"].discontinued_on.notna().sum()


def with_other_secrets(company):
    """The same tables over another truth: who is patient, loyal, gone; what sells; when goods come."""
    true, draws = company.customers, np.random.default_rng(3)
    n = len(true.gap_days)
    changed = {name: draws.permutation(getattr(true, name)) for name in ("gap_days", "size_factor", "value_if_alive")}
    changed |= {name: draws.normal(size=n) for name in ("patience", "fragility", "leave_hazard", "discount_share")}
    changed |= {"leaves_day": draws.permutation(true.leaves_day), "favourite": draws.permutation(true.favourite)}
    changed |= {"gap_shape": draws.permutation(true.gap_shape), "further_lines": draws.permutation(true.further_lines)}
    hidden = {"patience": draws.normal(size=len(company.open["key"]))}
    orders = company.purchases
    goods = {"first_day": orders["first_day"] + 9, "gap_days": orders["gap_days"] + 1, "n_parts": orders["n_parts"] + 1}
    products = company.products
    twin = simulator.fork(company)
    twin.customers = replace(true, **changed)
    twin.products = replace(products, weight=products.weight[::-1], typical_quantity=products.typical_quantity[::-1])
    twin.open, twin.purchases = company.open | hidden, orders | goods
    twin.is_lost, twin.spells = ~company.is_lost, None
    twin.log["lines"] = [part | {"patience": part["patience"] + 1.0} for part in company.log["lines"]]
    return twin


def test_what_leaves_no_trace_in_the_tables_changes_nothing(company):
    twin = with_other_secrets(company)
    assert not np.array_equal(true_loss_per_unit(twin), true_loss_per_unit(company))
    expected, found = (expected_loss_per_unit(each.shape, read(each)) for each in (company, twin))
    assert len(found) > 20
    np.testing.assert_array_equal(found, expected)


def test_a_morning_without_waiting_lines_has_no_losses():
    start = initialize(SMALL)
    assert expected_loss_per_unit(SMALL, read(start)).shape == (0,)


N_PRIOR = 400_000


def prior_customers(shape, seed):
    """Customers by the simulator's laws, written out once more."""
    draws = np.random.default_rng(seed)
    z = draws.normal(size=(10, N_PRIOR))
    worth = 0.7 * z[0] + 0.5 * z[1] + 0.5 * z[2]
    hazard = 1 / np.clip(shape.median_stay_days * np.exp(0.6 * z[4]), 120, 6000)
    gap = np.clip(shape.median_gap_days * np.exp(-shape.gap_spread * z[0]), 4, 2000)
    k = draws.integers(1, 5, N_PRIOR)
    return {
        "gap": gap,
        "k": k,
        "hazard": hazard,
        "further": shape.mean_further_lines * np.exp(0.5 * z[1] - 0.125),
        "size": np.exp(0.7 * z[2] - 0.245),
        "discount": np.clip(0.06 + 0.05 * z[3] + 0.02 * worth, 0, 0.2),
        "patience": 0.75 * z[6] + 0.25 * z[3] - 0.2 * worth,
        "channel": 2 - np.digitize(0.3 * worth + z[5], [-0.4, 0.6]),
        "segment": 2 - np.digitize(0.6 * worth + z[8], [-0.3, 1.2]),
        "priority_class": 3 - np.digitize(0.15 * worth + z[9], [0.0, 1.3]),
        "next_gap": draws.gamma(k, gap / k),
        "stays": draws.exponential(1 / hazard),
        "is_one_time": draws.random(N_PRIOR) < shape.one_time_share,
    }


def chance_of_orders(who, books, told, customer):
    """Chance of a customer's orders, lines, quantities, prices and silence under each customer of the prior.

    It draws the next gap and the end of the stay where the planner integrates over them.
    """
    lines = take(books.lines, books.lines["customer"] == customer)
    _, first, n_lines = np.unique(lines["key"] // 100, return_index=True, return_counts=True)
    at = books.at_day[books.lines["customer"] == customer][first]
    pace = 1 + 0.15 * np.sin(2 * np.pi * (np.floor(at) - 240) / 365)
    chance = np.ones(N_PRIOR)
    for gap, season in zip(np.diff(at), pace[:-1], strict=True):
        chance *= stats.gamma.pdf(gap, who["k"], scale=who["gap"] / who["k"] / season)
    for n in n_lines:
        chance *= stats.nbinom.pmf(n - 1, 1, 1 / (1 + who["further"]))
    for quantity, product in zip(lines["quantity"], lines["product"], strict=True):
        chance *= stats.nbinom.pmf(quantity - 1, 1, 1 / (1 + who["size"] * told.typical_quantity[product]))
    for seen in 1 - (lines["unit_price"] / lines["list_price"])[first]:
        # Within .015, else too few of those drawn would match.
        near, promoted = (np.abs(who["discount"] + more - seen) < 0.015 for more in (0.0, 0.05))
        chance *= 0.9 * near + 0.1 * promoted
    left, is_new = at[0] + who["stays"] if books.is_new[customer] else who["stays"], books.is_new[customer]
    left = np.where(who["is_one_time"] & is_new, at[0] + 0.5, left)
    chance *= left > at[-1]
    if not is_new:
        chance *= (who["gap"] > at[0]) / who["gap"]
    due = at[-1] + who["next_gap"] / pace[-1]
    chance *= (due > books.day) | (left <= due)
    return chance, left > books.day


def test_a_customers_worth_and_patience_are_those_of_like_customers_drawn_from_the_laws(company):
    books, who = read(company), prior_customers(SMALL, seed=5)
    told = read_assortments(SMALL, books)
    every = line_days(books, np.ones(len(books.lines["key"]), dtype=bool))
    n_orders = np.bincount(np.unique(books.lines["key"] // 100) // 10_000, minlength=books.n_known + SMALL.n_customers)[
        : len(books.account)
    ]
    waited = np.unique(books.lines["customer"][every["row"]])
    single = np.bincount(books.account, minlength=len(books.account))[books.account] == 1
    plain = single & (n_orders >= 1) & (n_orders <= 2) & ~np.isin(np.arange(len(n_orders)), waited)
    histories = read_histories(SMALL, books, np.flatnonzero(plain), every)  # no line waited: none was lost by us
    # Discounts away from their bounds: those drawn match a customer within some distance only.
    inside = (histories.lowest_discount > 0.08) & (histories.lowest_discount < 0.18)
    chosen = histories.who[inside][::2][:24]
    assert set(books.is_new[chosen].tolist()) == {False, True}
    histories = read_histories(SMALL, books, chosen, every)
    worth = read_worth(SMALL, books, told, histories)
    price, cost = category_money(told, histories.n_lines_of)
    checked = 0
    for i, customer in enumerate(chosen.tolist()):
        weight, alive = chance_of_orders(who, books, told, customer)
        for name in ("channel", "segment", "priority_class"):
            weight *= who[name] == getattr(books, name)[customer]
        years = (1 - np.exp(-365 * who["hazard"])) / who["hazard"] / who["gap"] * 0.975
        bring = (0.995 - who["discount"]) * (price[i, 0] + price[i, 1] * who["size"])
        value = alive * years * (1 + who["further"]) * (bring - cost[i, 0] - cost[i, 1] * who["size"])
        share = weight / weight.sum()
        if 1 / (share**2).sum() < 200:  # too few like customers among those drawn
            continue
        checked += 1
        for drawn, found in (
            (value, worth.value[i].sum() / worth.mass[i].sum()),
            (who["patience"], worth.mass[i] @ GRID / worth.mass[i].sum()),
        ):
            mean = float(share @ drawn)
            error = float(np.sqrt((share**2) @ (drawn - mean) ** 2))
            assert abs(found - mean) < 4 * error + 0.02 * abs(mean), (customer, found, mean, error)
    assert checked >= 6


def test_a_purchase_whose_parts_came_five_days_apart_brings_the_next_after_five_more(company):
    books = read(company)
    day = books.day
    purchase = {
        "key": [7],
        "product": [2],
        "supplier": [1],
        "ordered_second": [0],
        "expected_day": [9],
        "quantity": [9],
    }
    parts = {"key": [7, 7], "day": [day - 8, day - 3], "quantity": [3, 3], "second": [0, 0]}
    seen = {"purchases": purchase, "receipts": parts, "slips": {"key": [], "day": [], "expected_day": []}}
    columns = {name: {k: np.array(v, dtype=np.int64) for k, v in rows.items()} for name, rows in seen.items()}
    none = still_to_come(SMALL, replace(books, **columns))
    assert none[2, :3] == pytest.approx(1)  # not today, not tomorrow
    assert none[2, 3:] == pytest.approx(0, abs=1e-8)  # two days on it is there
    assert (np.delete(none, 2, axis=0) == 1).all()


def test_historic_margin_is_what_the_tables_say_was_shipped_to_the_account_in_a_year(company):
    tables, waiting = close(company), simulator.morning(company).lines
    lines = tables["order_lines"].merge(tables["products"].drop_duplicates("product_id"), on="product_id")
    lines["margin"] = lines.unit_price - lines.unit_cost
    sold = tables["shipments"].merge(lines[["order_line_id", "customer_id", "margin"]], on="order_line_id")
    since = np.datetime64(company.as_of.date()) - np.timedelta64(365, "D")
    sold = sold[sold.shipped_at >= since].merge(tables["customers"][["customer_id", "parent_id"]], on="customer_id")
    margin = (sold.quantity * sold.margin).groupby(sold.parent_id.fillna(sold.customer_id)).sum()
    expected = waiting.account_id.map(margin).fillna(0.0).to_numpy()
    assert (expected > 0).sum() > 10
    np.testing.assert_allclose(historic_margin(company.shape, read(company)), expected)


def mornings_of(shapes, n_mornings, apart):
    for shape in shapes:
        company = simulate(shape)
        for _ in range(n_mornings):
            yield company, read(company)
            for _ in range(apart):
                step(company)


def test_days_to_the_next_goods_are_calibrated():
    rows = []
    for company, books in mornings_of([replace(SMALL, n_products=90, seed=seed) for seed in (901, 902, 903)], 3, 25):
        on_order = np.unique(company.purchases["product"])
        expected = still_to_come(company.shape, books)[:, :LONGEST_DAYS].sum(axis=1)
        rows.append(np.stack([days_to_next_receipt(company), expected], axis=1)[on_order])
    true, expected = np.concatenate(rows).T
    assert expected.mean() == pytest.approx(true.mean(), rel=0.06)
    fit = stats.linregress(expected, true)
    assert abs(fit.slope - 1) < 4 * fit.stderr
    assert fit.rvalue > 0.75


def known_and_believed(shapes):
    """Per waiting line: true value, chance to cancel within 14 days and loss; the same as believed and by plug-ins."""
    rows = []
    for company, books in mornings_of(shapes, 3, 20):
        shape, lines = company.shape, take(company.open, company.open["due_day"] < company.day)
        is_known = lines["customer"] < company.customers.n_known
        belief = believe(shape, books)
        wanted, still = np.ones(len(is_known)), np.ones_like(belief.chance)
        for ahead in range(14):
            wanted *= 1 - cancel_hazard(shape, lines, company.day + ahead)
            still *= 1 - chance_gone(shape, books, belief, ahead)
        rows.append(
            {
                "account": company.customers.account[lines["customer"]] + 1e6 * shape.seed,
                "is_known": is_known,
                "value": is_known * account_value(company)[company.customers.account[lines["customer"]]],
                "value_believed": belief.value.sum(axis=1),
                "cancels": 1 - wanted,
                "cancels_believed": 1 - (still * belief.chance).sum(axis=1),
                "loss": true_loss_per_unit(company) * lines["open"],
                "loss_believed": expected_loss_per_unit(shape, books) * lines["open"],
                "loss_plugged_in": plugged_in(shape, books, belief, lines),
            }
        )
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def plugged_in(shape, books, belief, lines):
    """The loss by a customer of no particular patience whose next year is like the last one."""
    middle = (GRID == 0).astype(float) * np.ones_like(belief.chance)
    guess = Belief(middle, middle * historic_margin(shape, books)[:, None], belief.lost_by_cancelling)
    return loss_per_unit(shape, books, guess) * lines["open"]


def slope_and_error(true, believed, cluster):
    """Least squares slope of truth on belief, its error clustered by account: its lines share their value."""
    x = np.stack([np.ones_like(believed), believed], axis=1)
    inverse = np.linalg.inv(x.T @ x)
    slope = inverse @ x.T @ true
    score = x * (true - x @ slope)[:, None]
    of = np.unique(cluster, return_inverse=True)[1]
    summed = np.stack([np.bincount(of, weights=score[:, j]) for j in range(2)], axis=1)
    return slope[1], float(np.sqrt((inverse @ (summed.T @ summed) @ inverse)[1, 1]))


def test_values_hazards_and_losses_are_calibrated_and_beat_plug_in_guesses():
    found = known_and_believed([CompanyShape(n_customers=2000, n_products=74, seed=seed) for seed in (901, 902, 903)])
    known = found["is_known"]
    for name, rows, rel in (("value", known, 0.12), ("cancels", np.ones_like(known), 0.06), ("loss", known, 0.15)):
        true, believed = found[name][rows], found[f"{name}_believed"][rows]
        assert believed.mean() == pytest.approx(true.mean(), rel=rel), name
        slope, error = slope_and_error(true, believed, found["account"][rows])
        assert abs(slope - 1) < 3 * error, (name, slope, error)
        assert error < 0.25
    error = {name: np.mean((found[name] - found["loss"]) ** 2) for name in ("loss_believed", "loss_plugged_in")}
    assert error["loss_believed"] < 0.8 * error["loss_plugged_in"]


def test_who_stayed_after_cancelling_is_less_fragile_as_counted_among_drawn_customers():
    fragility = fragility_of(np.random.default_rng(1).normal(size=500_000))
    stays = (1 - 0.12 * fragility) ** 3
    expected = [fragility.mean(), (stays * fragility).sum() / stays.sum()]
    assert mean_fragility(CompanyShape(), np.array([0, 3])) == pytest.approx(expected, rel=3e-3)
    assert expected[1] < expected[0] - 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_company_has_lines_that_compete_and_the_informed_planner_gives_out_better_than_by_order(kind):
    shape = company_of(kind, 901)
    company = simulate(replace(shape, n_customers=shape.n_customers // 3, n_products=shape.n_products // 3))
    day = company.day
    informed, by_order = roll_forward_informed(company, 12), roll_forward(company, first_come_first_served, 12)
    assert len(informed) == 12
    assert company.day == day
    assert informed[COLUMNS].to_numpy().sum() < by_order[COLUMNS].to_numpy().sum()
