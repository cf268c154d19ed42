"""The planner's words that the store keeps: pin, hold or exclude a line, order, customer or product, until a day.

They stand in `overrides.csv` of the store in the columns of the contract's table `overrides` and count beside the words
of the extract. Rows are only ever added: to take a word back adds it once more with `is_deleted`, so a past morning
still sees what held then. A word is checked when it is said, since a typo must not stop tomorrow's run.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import duckdb
import pandas as pd

from erp.contract import TABLES, ContractError
from erp.kept_files import write_text
from erp.known import Facts, local_day
from erp.ledger import lock_store
from erp.source import words_file

SCOPES = {"line": "order_line_id", "order": "order_id", "customer": "customer_id", "product": "product_id"}
ACTIONS = ("pin", "hold", "exclude")
COLUMNS = tuple(TABLES["overrides"].columns)
KEY = list(TABLES["overrides"].key)
# Tables of the facts that hold what a word may name.
_TABLE_OF = {"line": "order_lines", "order": "order_lines", "customer": "customers", "product": "products"}


class WordRefused(ValueError):  # noqa: N818 - what a planner is told, not what went wrong
    """A word cannot be noted; the message says why and what to do."""


@dataclass(frozen=True)
class Word:
    """What a planner says: `action` for the line, order, customer or product (`scope`) of this id."""

    action: str
    scope: str
    id: str
    who: str
    why: str
    until_on: date
    quantity: float | None = None  # of a pin: units of each line that are served first; None: all it wants


@dataclass(frozen=True)
class Seen:
    """The last published queue and the facts known then: what words may name, and which were known."""

    queue: pd.DataFrame
    facts: Facts

    def n_lines(self, scope: str, value: str) -> int:
        """Lines of the queue that this id names."""
        return int((self.queue[SCOPES[scope]] == value).sum())

    def nearest(self, scope: str, value: str) -> list[str]:
        """The three ids most like this one (letters to change, add, drop or swap), what waits before what does not.

        The first is the id itself if anything bears it.
        """
        column, file = SCOPES[scope], str(self.facts.folder / "tables" / f"{_TABLE_OF[scope]}.parquet")
        query = f"""select id from (select distinct {column} as id, 1 as waits_not from read_parquet($file)
                                    union all select unnest($waiting), 0)
                    where id is not null group by id
                    order by damerau_levenshtein(id, $id), min(waits_not), id limit 3"""
        waiting = self.queue[column].dropna().unique().tolist()
        with duckdb.connect() as connection:
            rows = connection.execute(query, {"file": file, "waiting": waiting, "id": value}).fetchall()
        return [str(row[0]) for row in rows]


@dataclass(frozen=True)
class Noted:
    """What was noted: rows in COLUMNS, how many lines of the last queue they name, and the words that they outdo."""

    rows: list[dict[str, object]]
    n_lines: int
    outdone: pd.DataFrame


def note(store: Path, seen: Seen, word: Word, at: datetime) -> Noted:
    """Note what a planner says at this UTC moment; it holds for runs as of then or later.

    Raises
    ------
    WordRefused
        If it names nothing that is known, says the same as a word that holds, or is no usable word; nothing is noted.
    StoreBusy
        If another process holds the store.
    """
    word = _checked(word, seen, at)
    with lock_store(store):
        _check_moment(store, seen, at)
        same = _about(known_words(store, seen, at), word.scope, word.id)
        holds = same[same["until_on"] >= pd.Timestamp(local_day(at, seen.facts.site))]
        _refuse_the_same_twice(holds, word)
        if (same["made_at"] == pd.Timestamp(at)).any():
            raise WordRefused(f"{word.scope} {word.id} was given a word at this very moment; say it a moment later")
        row: dict[str, object] = {
            SCOPES[word.scope]: word.id,
            "action": word.action,
            "who": word.who,
            "why": word.why,
            "made_at": at,
            "until_on": word.until_on,
            "quantity": word.quantity,
            "recorded_at": at,
        }
        _append(store, [row])
    return Noted([row], seen.n_lines(word.scope, word.id), holds)


def take_back(store: Path, seen: Seen, scope: str, value: str, who: str, why: str, at: datetime) -> Noted:
    """Take back every word about this line, order, customer or product, those of the extract and the expired too.

    Raises
    ------
    WordRefused
        If none is known; the words most like it are named.
    StoreBusy
        If another process holds the store.
    """
    who, why = _told("who", who), _told("why", why)
    with lock_store(store):
        _check_moment(store, seen, at)
        words = known_words(store, seen, at)
        gone = _about(words, scope, value)
        if gone.empty:
            raise WordRefused(f"no word about {scope} {value} is known; {_known_ones(words)}")
        if (gone["known_at"] >= pd.Timestamp(at)).any():
            raise WordRefused(f"the word about {scope} {value} was said at {at} itself; take it back a moment later")
        said = gone.drop(columns="known_at").to_dict("records")
        told = {"who": who, "why": why, "recorded_at": at, "is_deleted": True}
        rows = [{str(name): None if pd.isna(cell) else cell for name, cell in row.items()} | told for row in said]
        _append(store, rows)
    return Noted(rows, seen.n_lines(scope, value), gone)


def known_words(store: Path, seen: Seen, at: datetime) -> pd.DataFrame:
    """Words that were not taken back by `at`, those of the extract and of the store, oldest first.

    Returns
    -------
    The ids, action, quantity, who, why, made_at, until_on, and known_at.
    """
    history = pd.read_parquet(seen.facts.folder / "tables" / "overrides.parquet")
    told = read_words(store)
    told = told[told["recorded_at"] <= pd.Timestamp(at)]
    told = told.assign(known_at=told[["recorded_at", "made_at"]].max(axis=1))
    columns = [*KEY[:-1], "action", "quantity", "who", "why", "made_at", "until_on", "known_at", "is_deleted"]
    parts = [_typed(history[history["superseded_at"].isna()][columns]), _typed(told[columns])]
    words = pd.concat(parts, ignore_index=True).sort_values("known_at", kind="stable")
    words = words.drop_duplicates(KEY, keep="last")
    return words[~words["is_deleted"]].drop(columns="is_deleted").reset_index(drop=True)


def read_words(store: Path) -> pd.DataFrame:
    """Every row of the store's own words, in the order in which they were noted.

    Raises
    ------
    ContractError
        If the file was changed so that it cannot be read.
    """
    path = words_file(store)
    empty = pd.DataFrame({name: pd.Series(dtype="str") for name in COLUMNS})
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""]) if path.exists() else empty
        return _typed(table[list(COLUMNS)])
    except (KeyError, ValueError) as error:
        raise ContractError(f"{path} cannot be read ({error}); restore it as the command wrote it") from error


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give each column of words its type: text, units, UTC times, days, flags."""
    kinds = {name: TABLES["overrides"].kind(name) for name in table.columns if name in COLUMNS} | {"known_at": "time"}
    typed = {name: _cells(table[name], kinds[name]) for name in table.columns}
    return pd.DataFrame(typed, index=table.index)


def _cells(cells: pd.Series, kind: str) -> pd.Series:
    if kind in ("time", "day"):
        moments = pd.to_datetime(cells, format="ISO8601", utc=True).dt.tz_localize(None)
        return moments.astype("datetime64[us]" if kind == "time" else "datetime64[s]")
    if kind == "flag":
        return cells.astype("str").str.lower() == "true"
    return cells.astype("float64") if kind == "count" else cells.astype("str").where(cells.notna())


def _checked(word: Word, seen: Seen, at: datetime) -> Word:
    """Refuse a word that no run could use; spaces and line breaks in who and why become single spaces."""
    if word.action not in ACTIONS or word.scope not in SCOPES:
        raise WordRefused(f"{word.action} {word.scope} is no word; say {', '.join(ACTIONS)} of a {', '.join(SCOPES)}")
    if word.quantity is not None and word.action != "pin":
        raise WordRefused(f"a quantity belongs to a pin; a {word.action} is for all of a line: leave the quantity out")
    if word.quantity is not None and not (math.isfinite(word.quantity) and word.quantity > 0):
        raise WordRefused(f"the quantity is {word.quantity:g}; a pin is for more than 0 units, or without one for all")
    today = local_day(at, seen.facts.site)
    if word.until_on < today:
        raise WordRefused(f"until {word.until_on} lies before {today}, the day it is said; name its last day")
    nearest = seen.nearest(word.scope, word.id)
    if word.id not in nearest[:1]:
        like = f"most like it: {', '.join(nearest)}" if nearest else f"no {word.scope} is known at all"
        raise WordRefused(
            f"no {word.scope} {word.id} was known as of {seen.facts.as_of}; {like}. What came in since then can be"
            " named after the next run"
        )
    who, why = _told("who", word.who), _told("why", word.why)
    return replace(word, who=who, why=why)


def _told(name: str, text: str) -> str:
    if not text.split():
        raise WordRefused(f"{name} is empty; say who wants it and why, so that others can ask")
    return " ".join(text.split())


def _check_moment(store: Path, seen: Seen, at: datetime) -> None:
    """Words are noted one after the other, and none in what a published morning has already seen."""
    if at <= seen.facts.as_of:
        raise WordRefused(
            f"the queue as of {seen.facts.as_of} is published and would not be what was known then; say it as of"
            " later than that, and run again as of later still"
        )
    newest = read_words(store)["recorded_at"].max()
    if pd.notna(newest) and newest > pd.Timestamp(at):
        raise WordRefused(f"a word was noted at {newest}; what is said as of {at} would come before it: say it later")


def _refuse_the_same_twice(holds: pd.DataFrame, word: Word) -> None:
    same = (holds["action"] == word.action) & (holds["until_on"] == pd.Timestamp(word.until_on))
    same &= (holds["quantity"] == word.quantity) | (holds["quantity"].isna() & (word.quantity is None))
    if same.any():
        who, made_at = holds[same][["who", "made_at"]].iloc[-1]
        raise WordRefused(
            f"{who} said the same at {made_at}: {word.action} {word.scope} {word.id} until {word.until_on};"
            " nothing was noted"
        )


def _about(words: pd.DataFrame, scope: str, value: str) -> pd.DataFrame:
    return words[words[SCOPES[scope]] == value]


def _known_ones(words: pd.DataFrame) -> str:
    """Name the words that are known, as far as a line holds them."""
    named = [f"{scope} {value}" for scope, column in SCOPES.items() for value in words[column].dropna().unique()]
    return f"known are {len(named)}: {', '.join(named[:10])}" if named else "none is known at all"


def _append(store: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Add rows to the store's words, all of them or none."""
    path, text = words_file(store), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(COLUMNS)
    writer.writerows([_cell(row.get(name)) for name in COLUMNS] for row in rows)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, before + ("" if before.endswith("\n") or not before else "\n") + text.getvalue())


def _cell(value: object) -> str:
    """Write a cell as the contract reads it: UTC times, ISO dates, empty for nothing."""
    if value is None or value is False:
        return ""
    if isinstance(value, datetime):
        is_day = value.time() == datetime.min.time() and isinstance(value, pd.Timestamp) and value.unit == "s"
        return value.date().isoformat() if is_day else f"{value.isoformat()}Z"
    if isinstance(value, date):
        return value.isoformat()
    return "true" if value is True else f"{value:.15g}" if isinstance(value, float) else str(value)
