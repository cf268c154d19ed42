"""LightGBM as this project uses it: same seeds, same order, same bytes; text files and JSON, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from models.inputs import Inputs

N_THREADS = 1
SAME_BYTES = {"deterministic": True, "force_row_wise": True, "num_threads": N_THREADS, "verbosity": -1}
FORM = 5  # of model.json; a file of another form is of another version of this code, and is not read
STOP_AFTER_ROUNDS = 30  # without improvement on the rows that validate


@dataclass(frozen=True)
class TrainingRows:
    """What a booster learns from; all arrays have one entry per row.

    Parameters
    ----------
    values : (n_rows, n_inputs) from `Inputs.matrix`
    target : what is to be predicted
    weight : how many observed rows each row stands for
    offset : where the booster starts from, on its own scale; None: from the mean of the target
    """

    inputs: Inputs
    values: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    offset: np.ndarray | None = None

    def dataset(self, params: Mapping[str, Any]) -> lgb.Dataset:
        """Put the rows into LightGBM's bins, once."""
        data = lgb.Dataset(
            self.values,
            label=self.target,
            weight=self.weight,
            init_score=self.offset,
            feature_name=list(self.inputs.columns),
            categorical_feature=list(self.inputs.codes),
            params={**SAME_BYTES, **params},
            free_raw_data=False,
        )
        return data.construct()


def loss_by_rounds(
    data: lgb.Dataset, trains: np.ndarray, judges: np.ndarray, params: Mapping[str, Any], most: int
) -> tuple[lgb.Booster, np.ndarray]:
    """Learn from the earlier rows; return the booster, and the loss on the later rows after each tree.

    `trains` and `judges` are the places of the rows; the bins are those of all rows, since bin edges know no outcome.
    """
    losses: dict[str, Any] = {}
    stops = [lgb.early_stopping(STOP_AFTER_ROUNDS, verbose=False), lgb.record_evaluation(losses)]
    booster = lgb.train(
        {**SAME_BYTES, **params},
        data.subset(np.sort(trains)),
        num_boost_round=most,
        valid_sets=[data.subset(np.sort(judges))],
        callbacks=stops,
    )
    return booster, np.array(next(iter(losses["valid_0"].values())))


def boost(data: lgb.Dataset, params: Mapping[str, Any], n_rounds: int) -> lgb.Booster:
    """Train `n_rounds` trees on all rows."""
    return lgb.train({**SAME_BYTES, **params}, data, num_boost_round=n_rounds)


def predict_rows(booster: lgb.Booster, inputs: Inputs, values: np.ndarray, raw_score: bool = False) -> np.ndarray:
    """Predict, one number per row of `values`; with `raw_score` its logarithm or log-odds.

    Raises
    ------
    ValueError
        If the booster was trained on other columns, or on the same in another order: LightGBM would not notice.
    """
    if tuple(booster.feature_name()) != inputs.columns:
        raise ValueError(
            f"the booster reads {booster.feature_name()[:3]}... but the model's list begins {list(inputs.columns[:3])};"
            " its files do not belong together: load the model again from one folder"
        )
    return np.asarray(booster.predict(values, raw_score=raw_score, num_threads=N_THREADS))


def raw_scores(booster: lgb.Booster, rows: TrainingRows, which: np.ndarray, n_rounds: int) -> np.ndarray:
    """Log-odds (or logarithms) that the first `n_rounds` trees give to the rows at these places."""
    values = rows.values[which]
    return np.asarray(booster.predict(values, num_iteration=n_rounds, raw_score=True, num_threads=N_THREADS))


def save_files(folder: Path, saved: Mapping[str, Any], **boosters: lgb.Booster | None) -> None:
    """Write model.json and NAME.txt for each booster there is; the same model gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"written_by": FORM, **saved}, sort_keys=True, indent=1, allow_nan=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8")
    for name, booster in boosters.items():
        if booster is not None:
            (folder / f"{name}.txt").write_text(booster.model_to_string(), encoding="utf-8")


def load_files(folder: Path) -> tuple[dict[str, Any], dict[str, lgb.Booster]]:
    """Undo `save_files`: what was saved, and the boosters by name.

    Raises
    ------
    ValueError
        If another version of this code wrote them.
    """
    if not is_readable(folder):
        raise ValueError(f"{folder.name}: the model is of another version of backorder; train again")
    saved = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    del saved["written_by"]
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.txt")}
    return saved, {name: lgb.Booster(model_str=text) for name, text in texts.items()}


def is_readable(folder: Path) -> bool:
    """Whether `load_files` can read what lies there."""
    return bool(json.loads((folder / "model.json").read_text(encoding="utf-8")).get("written_by") == FORM)
