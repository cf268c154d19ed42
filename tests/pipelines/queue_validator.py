"""The queue's contract, judged on published files by rules written from the contract alone; nothing of the project."""

import csv
import hashlib
import json
import re
from datetime import datetime
from heapq import heapify, heappop, heappush
from pathlib import Path

import numpy as np
import pandas as pd

TERMS = ["loss_cancel", "loss_future_orders", "loss_service", "loss_later_goods"]
TEXTS = (
    "order_line_id order_id customer_id product_id warehouse_id customer_reference customer_name product_name owner"
    " segment next_inbound_po_line_id action advice currency reason assumed override changed_because run_id"
    " promise_changed_because advice_product_id advice_warehouse_id override_who override_why"
).split()
DAYS = (
    "requested_on promised_on next_inbound_on expected_on expected_latest_on promise_on promise_told_on"
    " override_until_on"
).split()
NUMBERS = [
    *("rank pool_rank pool_size waited_days open_quantity available_now ship_now_quantity p_cancel_14d".split()),
    *("lifetime_value loss_if_waits line_value stock_price".split()),
    *TERMS,
]
OFTEN_EMPTY_NUMBERS = (
    "days_late lifetime_value_low lifetime_value_high p_no_order_365d previous_rank promise_chance"
    " advice_quantity advice_gain override_cost".split()
)
NEVER_EMPTY_TEXTS = "order_line_id order_id product_id warehouse_id action advice currency reason run_id".split()
COLUMNS = {*TEXTS, *DAYS, *NUMBERS, *OFTEN_EMPTY_NUMBERS, "ordered_at", "as_of"}
INBOUND_TEXTS = "po_line_id supplier_id product_id warehouse_id for_order_line_id kind currency run_id".split()
INBOUND_DAYS = "ordered_on first_expected_on expected_on arrives_on arrives_latest_on".split()
INBOUND_NUMBERS = "n_slips open_quantity p_comes_14d n_lines_waiting units_waiting value_waiting loss_waiting".split()
INBOUND_OFTEN_EMPTY = "days_overdue p_late supplier_idle_days".split()
INBOUND_COLUMNS = {*INBOUND_TEXTS, *INBOUND_DAYS, *INBOUND_NUMBERS, *INBOUND_OFTEN_EMPTY, "is_disrupted", "as_of"}
EXCEPTION_COLUMNS = set(
    "priority kind order_line_id customer_name product_name money currency said do owner order_id customer_id"
    " product_id warehouse_id ship_group run_id as_of".split()
)
BESIDE = (
    "exceptions.csv",
    "rejected.csv",
    "not_ranked.csv",
    "inbound.csv",
    "overrides.csv",
    "rules.csv",
    "fairness.csv",
)
FILES = {"queue.parquet", "queue.csv", "queue.xlsx", *BESIDE}
PENNY = 1e-9


def violations(out: Path, as_of: datetime, currency: str = "EUR") -> list[str]:
    """What in the published files breaks the contract, a rule's name each; empty if all is well."""
    queue = pd.read_parquet(out / "queue.parquet")
    if broken := [f"columns: {name}" for name in sorted(COLUMNS ^ set(queue.columns))]:
        return broken
    rules = {
        "types": _types(queue),
        "rank is dense from 1 and the file's order": queue["rank"].tolist() == list(range(1, len(queue) + 1)),
        "each line once": queue["order_line_id"].is_unique,
        "one run, one moment, one currency": _same_everywhere(queue, as_of, currency),
        "terms sum to loss_if_waits": (queue[TERMS].sum(axis=1) - queue["loss_if_waits"]).abs().max() <= PENNY
        or queue.empty,
        "probabilities": all(
            queue[name].dropna().between(0, 1).all() for name in ("p_cancel_14d", "p_no_order_365d", "promise_chance")
        ),
        "a date to tell has its chance": (_has_no_chance(queue) == queue["promise_chance"].isna()).all(),
        "given is neither negative nor above the open quantity": queue["ship_now_quantity"]
        .between(0, queue["open_quantity"] + PENNY)
        .all(),
        "lifetime_value is not negative, and 0 for nobody": (queue["lifetime_value"] >= 0).all()
        and (queue.loc[queue["customer_id"].isna(), "lifetime_value"] == 0).all(),
        "its interval is in order, and null for nobody": not (
            queue["lifetime_value_low"] > queue["lifetime_value_high"]
        ).any()
        and queue.loc[queue["customer_id"].isna(), "lifetime_value_high"].isna().all(),
        "days late count from the promise": _days_late(queue, as_of),
        "expected_latest_on is not before expected_on, nor that before today": _expected(queue, as_of),
        "actions": _actions(queue),
        "advice": queue["advice"].isin("none tell offer expedite substitute transfer".split()).all(),
        "what is to be moved or offered is named": (
            queue["advice"].isin(["transfer", "substitute"]) == queue["advice_quantity"].notna()
        ).all(),
        "overrides": queue["override"].dropna().isin(["pin", "hold", "exclude"]).all(),
        "a reason is one plain sentence": queue["reason"].map(_is_sentence).all(),
    }
    broken = [name for name, holds in rules.items() if not bool(holds)]
    for _, pool in queue.groupby(["product_id", "warehouse_id"], sort=True):
        broken += [rule for rule in _pool_violations(pool) if rule not in broken]
    broken += _file_violations(out, queue, as_of) + _inbound_violations(out, queue, as_of, currency)
    return broken + _exception_violations(out, queue, as_of, currency)


def merge_violations(queue: pd.DataFrame, due_on: pd.Series, discontinued: set[str]) -> list[str]:
    """Whether rank follows from the pools' lists; `due_on` by order_line_id, `discontinued` are product ids."""
    rows = queue.assign(due_on=queue["order_line_id"].map(due_on)).to_dict("records")
    stands_last = {row["order_line_id"]: _turn(row, discontinued) == 2 for row in rows}
    merged = []
    for last in (False, True):
        lists: dict[tuple[str, str], list[dict]] = {}
        for row in rows:
            if stands_last[row["order_line_id"]] == last:
                lists.setdefault((row["product_id"], row["warehouse_id"]), []).append(row)
        merged += _merge([sorted(rows, key=lambda r: _in_pool(r, discontinued)) for rows in lists.values()])
    wrong = [row["order_line_id"] for row, want in zip(rows, merged, strict=True) if row["order_line_id"] != want]
    return [f"merge: {wrong[:3]}"] if wrong else []


def _turn(row, discontinued):
    if row["action"] == "hold":
        return 2
    if row["override"] == "pin":
        return 0
    return 2 if row["product_id"] in discontinued else 1


def _in_pool(row, discontinued):
    per_unit = row["loss_if_waits"] / row["open_quantity"]
    return _turn(row, discontinued), -per_unit, row["due_on"], row["order_line_id"]


def _merge(lists):
    def head(rows):
        return (-rows[0]["loss_if_waits"], rows[0]["due_on"], rows[0]["order_line_id"], rows)

    heads, merged = [head(rows) for rows in lists], []
    heapify(heads)
    while heads:
        rows = heappop(heads)[3]
        merged.append(rows[0]["order_line_id"])
        if rows[1:]:
            heappush(heads, head(rows[1:]))
    return merged


def _has_no_chance(queue: pd.DataFrame) -> pd.Series:
    """Lines without a date to tell, and those that wait for what is only assumed: a date told before just stays."""
    is_assumed = queue["assumed"].fillna("").str.contains(r"wait \(no (?:inbound|receipt)")
    return queue["promise_on"].isna() | (is_assumed & (queue["action"] != "ship"))


def _types(queue):
    texts = all(pd.api.types.is_string_dtype(queue[name]) or queue[name].isna().all() for name in TEXTS)
    times = all(pd.api.types.is_datetime64_any_dtype(queue[name]) for name in [*DAYS, "ordered_at", "as_of"])
    days = all((queue[name].dropna() == queue[name].dropna().dt.normalize()).all() for name in DAYS)
    numbers = all(pd.api.types.is_numeric_dtype(queue[name]) for name in [*NUMBERS, *OFTEN_EMPTY_NUMBERS])
    finite = np.isfinite(queue[NUMBERS].to_numpy(dtype=float)).all()
    return texts and times and days and numbers and finite and not queue[NEVER_EMPTY_TEXTS].isna().any().any()


def _same_everywhere(queue, as_of, currency):
    if queue.empty:
        return True
    return (
        queue["run_id"].nunique() == 1
        and re.fullmatch("[0-9a-f]{64}", queue["run_id"].iloc[0]) is not None
        and (pd.to_datetime(queue["as_of"]) == pd.Timestamp(as_of)).all()
        and (queue["currency"] == currency).all()
    )


def _days_late(queue, as_of):
    want = (pd.Timestamp(as_of).normalize() - queue["promised_on"]).dt.days.astype("Int64")
    same = want.eq(queue["days_late"].astype("Int64")) | (want.isna() & queue["days_late"].isna())
    return same.all()


def _expected(queue, as_of):
    today = pd.Timestamp(as_of).normalize()
    early = queue["expected_on"].isna() | (queue["expected_on"] >= today)
    late = queue["expected_latest_on"].isna() | (queue["expected_latest_on"] >= queue["expected_on"])
    return (early & late).all()


def _actions(queue):
    given, wanted = queue["ship_now_quantity"], queue["open_quantity"]
    want = np.select([given >= wanted - PENNY, given > 0], ["ship", "ship_part"], "wait")
    held = queue["action"] == "hold"
    stopped = queue["override"].isin(["hold", "exclude"])
    return ((queue["action"] == want) | held).all() and (given[held] == 0).all() and held[stopped].all()


def _is_sentence(text):
    plain = "\n" not in text and "nan" not in re.split(r"\W+", text.lower()) and "none" not in text.lower()
    return plain and text.endswith(".") and text[0].isupper()


def _pool_violations(pool):
    given, left = pool["ship_now_quantity"].sum(), pool["available_now"].iloc[0] - pool["ship_now_quantity"].sum()
    without = pool[(pool["action"] != "hold") & (pool["ship_now_quantity"] < pool["open_quantity"] - PENNY)]
    price = max(0.0, (without["loss_if_waits"] / without["open_quantity"]).max()) if len(without) else 0.0
    rules = {
        "pool_rank is dense and follows rank": pool["pool_rank"].tolist() == list(range(1, len(pool) + 1)),
        "pool_size": (pool["pool_size"] == len(pool)).all(),
        "available_now is the pool's": pool["available_now"].nunique() == 1 and pool["available_now"].iloc[0] >= 0,
        "given is within the goods": given <= pool["available_now"].iloc[0] + PENNY,
        "stock_price": np.allclose(pool["stock_price"], 0.0 if left > PENNY else price, rtol=1e-12, atol=PENNY),
    }
    return [name for name, holds in rules.items() if not bool(holds)]


def _file_violations(out, queue, as_of):
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    sums = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES}
    rows = csv.reader((out / "queue.csv").read_text(encoding="utf-8-sig").splitlines(keepends=True))
    header, *cells = list(rows)
    lengths = {
        name: manifest["files"].get(name, {}).get("rows") for name in ("queue.parquet", "queue.csv", "queue.xlsx")
    }
    broken = {
        "manifest names every file": set(manifest["files"]) == FILES,
        "manifest's sha256": all(manifest["files"][name]["sha256"] == sums[name] for name in FILES),
        "manifest's rows": set(lengths.values()) == {len(queue)},
        "manifest's facts": {"schema_version", "as_of", "run_id", "models"} <= set(manifest)
        and manifest["as_of"] == as_of.isoformat() + "Z"
        and set(queue["run_id"]) <= {manifest["run_id"]},
        "csv has a byte order mark": (out / "queue.csv").read_bytes().startswith(b"\xef\xbb\xbf"),
        "csv repeats the parquet": header == list(queue.columns) and _csv_equal(cells, queue),
        "csv keeps formulas asleep": not any(
            cell[:1] in {"=", "+", "-", "@"}
            for row in cells
            for name, cell in zip(header, row, strict=True)
            if name in TEXTS
        ),
    }
    return [name for name, holds in broken.items() if not holds]


def exceptions_of(out: Path) -> pd.DataFrame:
    """The published exceptions as their readers see them: texts without the apostrophe, numbers."""
    with (out / "exceptions.csv").open(encoding="utf-8-sig", newline="") as file:
        header, *cells = csv.reader(file)
    table = pd.DataFrame(cells, columns=header, dtype="str")
    for name in set(header) - {"priority", "money"}:
        table[name] = table[name].str.replace(r"^'(?='*[=+\-@])", "", regex=True).replace("", None)
    for name in {"priority", "money"} & set(header):
        table[name] = table[name].replace("", None).astype(float)
    return table


def _exception_violations(out, queue, as_of, currency):
    rows = exceptions_of(out)
    if broken := [f"exceptions columns: {name}" for name in sorted(EXCEPTION_COLUMNS ^ set(rows.columns))]:
        return broken
    said = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["exceptions"]
    of_run = (currency, pd.Timestamp(as_of).isoformat() + "Z", *queue["run_id"].unique())
    wait = queue["loss_if_waits"] * (1 - queue["ship_now_quantity"] / queue["open_quantity"])
    large = rows["order_line_id"][rows["kind"] == "large_loss"]
    in_queue = rows["order_line_id"].isin(queue["order_line_id"])
    counts, sums = rows["kind"].value_counts(), rows.groupby("kind")["money"].sum()
    rules = {
        "priorities are dense from 1": rows["priority"].tolist() == list(range(1, len(rows) + 1)),
        "exceptions are of the same run": rows.empty
        or [rows[name].unique().tolist() for name in ("currency", "as_of", "run_id")][: len(of_run)]
        == [[each] for each in of_run],
        "an exception is one sentence, and what to do": rows["said"].str.fullmatch(r"[A-Z0-9][^\n]*[^.]\.").all()
        and not rows["said"].str.contains(r"\b(?:nan|None|NaT)\b|[a-z]\. [A-Z]").any()
        and rows["do"].notna().all(),
        "lines with much money waiting are exceptions": sorted(large) == sorted(queue["order_line_id"][wait >= 1000]),
        "lost goods and dates are of lines in the queue": in_queue[
            rows["kind"].isin(["lost_goods", "date_moved", "large_loss"])
        ].all(),
        "the manifest counts the exceptions": said["n"] == len(rows)
        and set(rows["kind"]) <= set(said["kinds"])
        and all(each["n"] == counts.get(kind, 0) for kind, each in said["kinds"].items())
        and np.allclose([each["money"] for each in said["kinds"].values()], [sums.get(k, 0) for k in said["kinds"]]),
    }
    return [name for name, holds in rules.items() if not bool(holds)]


def inbound_of(out: Path) -> pd.DataFrame:
    """The published inbound list as its readers see it: texts without the apostrophe, days, numbers."""
    with (out / "inbound.csv").open(encoding="utf-8-sig", newline="") as file:
        header, *cells = csv.reader(file)
    table = pd.DataFrame(cells, columns=header, dtype="str")
    if set(header) != INBOUND_COLUMNS:
        return table
    for name in [*INBOUND_TEXTS, "is_disrupted"]:
        table[name] = table[name].str.replace(r"^'(?='*[=+\-@])", "", regex=True).replace("", None)
    for name in INBOUND_DAYS:
        table[name] = pd.to_datetime(table[name].replace("", None), format="%Y-%m-%d")
    numbers = [*INBOUND_NUMBERS, *INBOUND_OFTEN_EMPTY]
    table[numbers] = table[numbers].replace("", None).astype(float)
    return table


def _inbound_violations(out, queue, as_of, currency):
    if not (out / "inbound.csv").exists():
        return ["inbound.csv is missing"]
    inbound = inbound_of(out)
    if broken := [f"inbound columns: {name}" for name in sorted(INBOUND_COLUMNS ^ set(inbound.columns))]:
        return broken
    today, late = pd.Timestamp(as_of).normalize(), inbound["expected_on"] < pd.Timestamp(as_of).normalize()
    of_run = (currency, pd.Timestamp(as_of).isoformat() + "Z", *queue["run_id"].unique())
    in_order = inbound.assign(late=~late, gain=-inbound["loss_waiting"]).sort_values(
        ["late", "gain", "expected_on", "po_line_id"], na_position="last", kind="stable"
    )
    rules = {
        "each inbound line once": inbound["po_line_id"].is_unique and inbound["po_line_id"].notna().all(),
        "inbound lines are of the same run": inbound.empty
        or [inbound[name].unique().tolist() for name in ("currency", "as_of", "run_id")][: len(of_run)]
        == [[each] for each in of_run],
        "overdue first, then the most money": in_order.index.tolist() == list(range(len(inbound))),
        "days overdue count from the date told": inbound["days_overdue"]
        .eq((today - inbound["expected_on"]).dt.days.clip(lower=0))
        .where(inbound["expected_on"].notna(), inbound["days_overdue"].isna())
        .all(),
        "an inbound line owes goods, and no more are waited for": (inbound["open_quantity"] > 0).all()
        and inbound["units_waiting"].between(0, inbound["open_quantity"] * (1 + PENNY)).all(),
        "nobody's money waits where nobody waits": (
            inbound.loc[inbound["n_lines_waiting"] == 0, "units_waiting"] == 0
        ).all()
        and (inbound.loc[inbound["units_waiting"] == 0, ["value_waiting", "loss_waiting"]] == 0).all(axis=None),
        "arrivals are after today and in order": (inbound["arrives_on"].dropna() > today).all()
        and not (inbound["arrives_latest_on"] < inbound["arrives_on"]).any()
        and not (inbound["arrives_on"].isna() & inbound["arrives_latest_on"].notna()).any(),
        "who delivers is disrupted or not": inbound["is_disrupted"]
        .where(inbound["supplier_id"].notna(), "true")
        .isin(["true", "false"])
        .all(),
        "inbound chances": all(inbound[name].dropna().between(0, 1).all() for name in ("p_late", "p_comes_14d"))
        and (inbound.loc[late, "p_late"] == 1).all(),
        "goods that wait are the pools'": _waited_for(inbound, queue),
        "the manifest counts the inbound lines": _counts_inbound(out, inbound, late, queue),
    }
    return [name for name, holds in rules.items() if not bool(holds)]


def _waited_for(inbound, queue):
    """Goods for everyone go to the lines that wait for them, as far as there are such; pegged ones may come on top."""
    pool = ["product_id", "warehouse_id"]
    left = (queue["open_quantity"] - queue["ship_now_quantity"]).where(queue["override"] != "exclude", 0.0)
    wanted = left.groupby([queue[name] for name in pool]).sum()
    is_pegged = inbound["for_order_line_id"].notna()
    shared, pegged = (
        inbound[rows].groupby(pool)[["units_waiting", "open_quantity"]].sum() for rows in (~is_pegged, is_pegged)
    )
    pools = shared.join(wanted.rename("wanted")).join(pegged["units_waiting"].rename("pegged")).fillna(0.0)
    could_be = np.minimum(pools["open_quantity"], pools["wanted"] - pools["pegged"])
    return np.allclose(pools["units_waiting"], could_be, rtol=1e-9, atol=1e-6)


def _counts_inbound(out, inbound, late, queue):
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    said, loss = manifest["inbound"], inbound["loss_waiting"]
    left = (1 - queue["ship_now_quantity"] / queue["open_quantity"]).where(queue["override"] != "exclude", 0.0)
    on_nothing = (queue["loss_if_waits"] * left).sum() - loss.sum()
    counted = [len(inbound), late.sum(), loss.sum(), loss[late].sum(), on_nothing]
    names = ["lines", "overdue", "loss_waiting", "loss_waiting_on_overdue", "loss_waiting_on_nothing"]
    return manifest["files"]["inbound.csv"]["rows"] == len(inbound) and np.allclose(
        [said[name] for name in names], counted
    )


def _csv_equal(cells, queue):
    if len(cells) != len(queue):
        return False
    table = pd.DataFrame(cells, columns=queue.columns, dtype="str")
    for name in TEXTS:
        want = queue[name].astype("str").fillna("").astype("str")
        if not (table[name].str.replace(r"^'(?='*[=+\-@])", "", regex=True) == want).all():
            return False
    numbers = [*NUMBERS, *OFTEN_EMPTY_NUMBERS]
    read = table[numbers].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    return np.array_equal(read, queue[numbers].astype("Float64").to_numpy(dtype=float, na_value=np.nan), equal_nan=True)
