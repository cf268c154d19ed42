"""The planner's word, applied to the lines it names."""

import pandas as pd

# The narrower word wins over the wider one; of two alike, the one said last.
SCOPES = ("order_line_id", "order_id", "customer_id", "product_id")


def apply_overrides(lines: pd.DataFrame, overrides: pd.DataFrame) -> pd.DataFrame:
    """Add override (pin, hold, exclude or null), override_quantity, override_who and override_why to the lines.

    Parameters
    ----------
    lines : open lines with order_line_id, order_id, customer_id, product_id
    overrides : words that hold today; each names exactly one of those ids, and has action, quantity, who, why, made_at

    >>> lines = pd.DataFrame({"order_line_id": ["l1", "l2"], "order_id": "o", "customer_id": "c", "product_id": "p"})
    >>> said = pd.DataFrame({"order_line_id": ["l1", None], "order_id": [None, "o"], "customer_id": None,
    ...     "product_id": None, "action": ["pin", "hold"], "quantity": [2.0, None], "who": "Ada", "why": "fair",
    ...     "made_at": pd.Timestamp("2024-01-01")})
    >>> apply_overrides(lines, said)["override"].tolist()
    ['pin', 'hold']
    """
    words = pd.concat([_words_by(lines, overrides, place, scope) for place, scope in enumerate(SCOPES)])
    words = words.sort_values(
        ["line", "scope", "made_at", "action"], ascending=[True, True, False, True], kind="stable"
    )
    words = words.drop_duplicates("line").set_index("line").reindex(lines.index)
    return lines.assign(
        override=words["action"].astype("str"),
        override_quantity=words["quantity"].astype("float64"),
        override_who=words["who"].astype("str"),
        override_why=words["why"].astype("str"),
    )


def _words_by(lines: pd.DataFrame, overrides: pd.DataFrame, place: int, scope: str) -> pd.DataFrame:
    said = overrides.loc[overrides[scope].notna(), [scope, "action", "quantity", "who", "why", "made_at"]]
    named = lines[[scope]].assign(line=lines.index).dropna(subset=[scope])
    return named.merge(said, on=scope).drop(columns=scope).assign(scope=place)
