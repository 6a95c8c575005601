"""Models that go on learning: whatever the rows are, a step is bounded, and what was learned before is not lost."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
modules = import_module(f"{PACKAGE}.training.modules")
TABLE = SimpleNamespace(name="own", features=["a", "b c", "empty"], target="y", time=None, group=None)


@pytest.fixture(params=["online_classifier", "online_regressor"])
def module(request):
    """A module that can learn, of those that the project has."""
    try:
        return modules.load_module(request.param)
    except package.Refused:
        pytest.skip(f"no models/{request.param}.py here")


def rows_of(module, size, seed, turned=False):
    random = np.random.default_rng(seed)
    rows = pd.DataFrame({"a": random.normal(size=size), "b c": random.choice(["x", "y"], size), "empty": np.nan})
    score = (-3 if turned else 3) * rows["a"] + (rows["b c"] == "x") + random.normal(0, 0.5, size)
    return rows.assign(y=score if "regressor" in module.__name__ else np.where(score > 0, "yes", "no"))


def loss(module, estimator, rows):
    return module.losses(rows, module.predict(estimator, rows), TABLE).mean()


def test_it_is_as_good_as_a_model_fitted_at_once_and_follows_a_change(module):
    before, after = rows_of(module, 1000, 1), rows_of(module, 1000, 2, turned=True)
    fitted = module.fit(rows_of(module, 1000, 0), TABLE, module.Params())
    linear = module.baselines(rows_of(module, 1000, 0), TABLE, module.Params())["linear"]
    frozen = loss(module, fitted, after)

    assert loss(module, fitted, before) < 1.1 * loss(module, linear, before)
    for start in range(0, 600, 50):
        fitted = module.learn(fitted, rows_of(module, 600, 3, turned=True).iloc[start : start + 50], TABLE)
    assert loss(module, fitted, after) < 0.2 * frozen


def test_no_row_moves_it_far(module):
    """Neither a value nor a target far beyond all others, nor a category that it has never seen."""
    test, fitted = rows_of(module, 500, 1), module.fit(rows_of(module, 500, 0), TABLE, module.Params())
    naive = module.baselines(test, TABLE, module.Params())["naive"]
    before, wild = loss(module, fitted, test), rows_of(module, 1, 2).assign(**{"a": 1e300, "b c": "new"})
    wild["y"] = -1e300 if "regressor" in module.__name__ else "no"
    fitted = module.learn(fitted, wild, TABLE)

    assert np.isfinite(module.predict(fitted, wild).select_dtypes("number")).all(axis=None)
    assert loss(module, fitted, test) < (before + loss(module, naive, test)) / 2


def test_rows_of_unknown_classes_alone_teach_nothing(module):
    if "regressor" in module.__name__:
        pytest.skip("a number has no class")
    fitted = module.fit(rows_of(module, 100, 0), TABLE, module.Params())
    before = fitted[-1].coef_.copy()

    assert np.array_equal(module.learn(fitted, rows_of(module, 9, 1).assign(y="perhaps"), TABLE)[-1].coef_, before)
