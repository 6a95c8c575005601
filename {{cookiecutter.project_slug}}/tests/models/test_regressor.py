"""What the report shows of predicted numbers."""

import io
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
regressor = import_module(f"{PACKAGE}.models.regressor")
TABLE = SimpleNamespace(target="price")


def test_errors_are_in_the_unit_of_the_target():
    rows = pd.DataFrame({"price": [1.0, 2.0, 3.0, 4.0]})
    predictions = pd.DataFrame({"prediction": [2.0, 2.0, 3.0, 7.0]})
    sizes, parts = regressor.tables(rows, predictions, TABLE).values()

    assert sizes["value"].iloc[:3].tolist() == [1.0, 1.0, pytest.approx(np.sqrt(2.5))]
    assert parts["rows"].sum() == 4 and parts["bias"].iloc[-1] == 3.0
    assert list(regressor.loss_units(4.0, TABLE).values()) == [4.0, 2.0]


@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("constant", [True, False])
def test_figures_can_be_read_whatever_the_tails(spread, constant):
    truth = np.exp(np.random.default_rng(0).normal(0, spread, 500))
    predictions = pd.DataFrame({"prediction": np.ones(500) if constant else truth * 1.1})
    rows = pd.DataFrame({"price": truth})
    (figures,) = regressor.plots(rows, predictions, TABLE).values()

    for figure in figures.values():
        figure.savefig(io.BytesIO())
    actual = next(iter(figures.values())).axes[0]
    assert actual.get_xscale() == ("symlog" if spread == 4 else "linear")
    assert not any("$" in label.get_text() for label in actual.get_xticklabels())
    assert regressor.tables(rows, predictions, TABLE)["Errors by predicted value"]["rows"].sum() == 500
