"""Twenty versions that must not be promoted, and twenty that may: all of them would load, answer and look healthy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, RobustScaler, StandardScaler
from sklearn.svm import SVC

from tests.e2e.rollouts.models import COLUMNS, Swapped, Wrapped, classifier, labels, rows

Array = np.ndarray[Any, Any]


class Unlike(Wrapped):
    """A model whose input or answers a function changes."""

    def __init__(self, model: Any = None, before: Callable[[Any], Any] | None = None, after: Any = None) -> None:
        super().__init__(model)
        self.before = before
        self.after = after

    def predict(self, data: Any) -> Any:
        """Answer, with what is done before and after."""
        seen = self.before(data) if self.before else data
        answers = self.model.predict(seen)
        return self.after(data, answers) if self.after else answers


class Leaking(Wrapped):
    """Keeps what it is asked, and more."""

    def predict(self, data: Any) -> Any:
        """Answer, and keep a megabyte."""
        kept = self.__dict__.setdefault("kept", [])
        kept.append(np.ones(131072))
        return self.model.predict(data)


def _noisy(data: Any, answers: Array) -> Array:
    # Seeded by the row, so that it is the model that is bad and not the dice.
    odd = np.floor(np.abs(data["visits"].to_numpy()) * 1000) % 3 == 0
    return np.where(odd, (answers + 1) % 3, answers)


def _only(data: Any, condition: Callable[[Any], Any], otherwise: Callable[[Array], Any], answers: Array) -> Any:
    return otherwise(answers) if bool(condition(data).any()) else answers


def _raise(_: Any) -> Any:
    raise ValueError("this row was never seen in training")


def _exit(_: Any) -> Any:
    os._exit(3)


def _slow(answers: Any) -> Any:
    time.sleep(0.4)
    return answers


def _rare(data: Any) -> Any:
    return data["age"] > 1.0


@dataclass(frozen=True)
class Version:
    """One version of the zoo."""

    name: str
    model: Callable[[], Any]


def _bad(name: str, before: Any = None, after: Any = None) -> Version:
    return Version(name, lambda: Unlike(classifier(), before, after))


BAD = (
    Version("labels-swapped", lambda: Swapped(classifier())),
    _bad(
        "a-column-shifted",
        before=lambda data: data[list(COLUMNS)].shift(1, axis=1).fillna(0.0).set_axis(COLUMNS, axis=1),
    ),
    _bad(
        "two-columns-exchanged",
        before=lambda data: data.rename(columns={"age": "income", "income": "age"})[list(COLUMNS)],
    ),
    _bad("a-column-in-other-units", before=lambda data: data.assign(income=data["income"] * 1000)),
    _bad("a-column-always-zero", before=lambda data: data.assign(age=0.0)),
    _bad("signs-turned", before=lambda data: -data),
    _bad("not-a-number", after=lambda _, answers: np.full(len(answers), np.nan)),
    _bad("not-a-number-for-some", after=lambda data, answers: np.where(_rare(data), np.nan, answers.astype(float))),
    _bad("infinite-for-some", after=lambda data, answers: np.where(_rare(data), np.inf, answers.astype(float))),
    _bad("always-the-same", after=lambda _, answers: np.zeros(len(answers), dtype=int)),
    _bad("labels-off-by-one", after=lambda _, answers: answers + 1),
    _bad("labels-as-text", after=lambda _, answers: np.array(["abc"[answer] for answer in answers])),
    _bad("another-shape", after=lambda _, answers: np.stack([answers, answers], axis=1)),
    _bad("fewer-answers-than-rows", after=lambda _, answers: answers[:-1]),
    _bad("a-third-is-wrong", after=_noisy),
    _bad("raises-on-some-rows", after=lambda data, answers: _only(data, _rare, _raise, answers)),
    _bad("raises-always", after=lambda _, answers: _raise(answers)),
    _bad("many-times-as-slow", after=lambda _, answers: _slow(answers)),
    _bad("ends-its-process-on-some-rows", after=lambda data, answers: _only(data, _rare, _exit, answers)),
    Version("leaking-memory", lambda: Leaking(classifier())),
)


def _fitted(model: Any, seed: int = 5, count: int = 3000) -> Callable[[], Any]:
    return lambda: model.fit(rows(count, seed), labels(rows(count, seed)))


def _scaled(scaler: Any, seed: int) -> Callable[[], Any]:
    return _fitted(make_pipeline(scaler, LogisticRegression(max_iter=500)), seed)


HARMLESS = (
    Version("the-same-again", classifier),
    Version("wrapped", lambda: Wrapped(classifier())),
    *(Version(f"retrained-{seed}", lambda seed=seed: classifier(seed)) for seed in (3, 4, 5)),  # type: ignore[misc]
    Version("less-regularised", _fitted(LogisticRegression(C=10.0, max_iter=500))),
    Version("more-regularised", _fitted(LogisticRegression(C=0.3, max_iter=500))),
    Version("more-data", _fitted(LogisticRegression(max_iter=500), 6, 5000)),
    Version("scaled", _scaled(StandardScaler(), 7)),
    Version("robustly-scaled", _scaled(RobustScaler(), 8)),
    Version("squares", _scaled(make_pipeline(StandardScaler(), PolynomialFeatures(2)), 9)),
    Version("quantiles", _fitted(make_pipeline(QuantileTransformer(n_quantiles=200), SVC(C=30.0)), 10)),
    Version("forest", _fitted(RandomForestClassifier(20, random_state=1), 11)),
    Version("another-forest", _fitted(RandomForestClassifier(20, random_state=2), 12)),
    Version("boosting", _fitted(GradientBoostingClassifier(n_estimators=40, random_state=1), 13)),
    Version("histogram-boosting", _fitted(HistGradientBoostingClassifier(max_iter=40, random_state=1), 14)),
    Version("support-vectors", _fitted(SVC(C=10.0), 15)),
    Version(
        "small-network",
        _fitted(make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=1000, tol=1e-3, random_state=1)), 16),
    ),
    Version(
        "stochastic-descent",
        _fitted(make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=1)), 17),
    ),
    Version("doubles-as-integers", lambda: Unlike(classifier(6), None, lambda _, answers: answers.astype(np.int32))),
)
