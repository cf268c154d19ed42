"""The planner's word, applied to the lines it names."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# The narrower word wins over the wider one; of two alike, the one said last.
SCOPES = ("order_line_id", "order_id", "customer_id", "product_id")
NO_WORD = -1


@dataclass(frozen=True)
class Naming:
    """Which words that hold name which lines: one row per word and line, the lines' strongest words first."""

    line: Codes  # row of the line
    word: Codes  # row of the words
    place: Codes  # 0: this word rules the line; 1: it would if that one were not; ...

    def of_place(self, place: int, n_lines: int) -> Codes:
        """Row of the words that stands in this place for each line, NO_WORD: none; (n_lines,)."""
        found = np.full(n_lines, NO_WORD, dtype=np.int64)
        here = self.place == place
        found[self.line[here]] = self.word[here]
        return found


def naming(lines: pd.DataFrame, words: pd.DataFrame) -> Naming:
    """Find the lines that each word names, as far as it holds today.

    Parameters
    ----------
    lines : with order_line_id, order_id, customer_id, product_id
    words : each names exactly one of those ids; action, quantity, who, why, made_at, until_on, holds_today
    """
    holds = words["holds_today"].to_numpy(np.bool_)
    named = [_named_by(lines, words, holds, scope) for scope in SCOPES]
    line, word = (np.concatenate([pair[i] for pair in named]).astype(np.int64) for i in (0, 1))
    scope = np.repeat(np.arange(len(SCOPES)), [len(pair[0]) for pair in named])
    order = np.lexsort((strength(words)[word], scope, line))
    line, word = line[order], word[order]
    starts = np.flatnonzero(np.diff(line, prepend=-1))
    place = np.arange(len(line)) - np.repeat(starts, np.diff(np.append(starts, len(line))))
    return Naming(line, word, place.astype(np.int64))


def _named_by(lines: pd.DataFrame, words: pd.DataFrame, holds: Flags, scope: str) -> tuple[Codes, Codes]:
    """Rows of lines and of the words of this scope that name them."""
    rows = np.flatnonzero(words[scope].notna().to_numpy(np.bool_) & holds)
    said = pd.DataFrame({"id": words[scope].iloc[rows].astype("str").to_numpy(), "word": rows})
    have = np.flatnonzero(lines[scope].notna().to_numpy(np.bool_))
    waiting = pd.DataFrame({"id": lines[scope].iloc[have].astype("str").to_numpy(), "line": have})
    pairs = waiting.merge(said, on="id")
    return pairs["line"].to_numpy(np.int64), pairs["word"].to_numpy(np.int64)


def in_order(words: pd.DataFrame) -> pd.DataFrame:
    """Sort words by all they say, so that nothing hangs on the order in which they were handed over."""
    by = [*SCOPES, "made_at", "action", "quantity", "until_on", "who", "why"]
    return words.sort_values(by, kind="stable", ignore_index=True)


def strength(words: pd.DataFrame) -> Codes:
    """Place of each word among words of one scope: what was said last first; ties by what they say; (n_words,)."""
    order = words.reset_index(drop=True).sort_values(
        ["made_at", "action", "quantity", "until_on", "who", "why"],
        ascending=[False, True, True, True, True, True],
        kind="stable",
    )
    place = np.empty(len(words), dtype=np.int64)
    place[order.index.to_numpy()] = np.arange(len(words))
    return place


def apply_overrides(lines: pd.DataFrame, words: pd.DataFrame) -> pd.DataFrame:
    """Add override (pin, hold, exclude or null), override_quantity, _who, _why and _until_on to the lines.

    Parameters
    ----------
    lines, words : as in `naming`; words whose last day is over rule nothing

    >>> lines = pd.DataFrame({"order_line_id": ["l1", "l2"], "order_id": "o", "customer_id": "c", "product_id": "p"})
    >>> said = pd.DataFrame({"order_line_id": ["l1", None], "order_id": [None, "o"], "customer_id": None,
    ...     "product_id": None, "action": ["pin", "hold"], "quantity": [2.0, None], "who": "Ada", "why": "fair",
    ...     "made_at": pd.Timestamp("2024-01-01"), "until_on": pd.Timestamp("2024-01-09"), "holds_today": True})
    >>> apply_overrides(lines, said)["override"].tolist()
    ['pin', 'hold']
    """
    return ruled_by(lines, words, naming(lines, words).of_place(0, len(lines)))


def ruled_by(lines: pd.DataFrame, words: pd.DataFrame, word: Codes) -> pd.DataFrame:
    """Let each line be ruled by the word in this row of `words`, or by none; (n_lines,)."""
    said = words.reset_index(drop=True).reindex(pd.Index(np.where(word == NO_WORD, -1, word)))
    said = said.set_axis(lines.index)
    return lines.assign(
        override=said["action"].astype("str"),
        override_quantity=said["quantity"].astype("float64"),
        override_who=said["who"].astype("str"),
        override_why=said["why"].astype("str"),
        override_until_on=said["until_on"].astype("datetime64[s]"),
    )
