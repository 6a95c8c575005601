"""Classes are compared as values, whatever type the target has by now."""

import io
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
classes = import_module(f"{PACKAGE}.features.classes")


class Table:
    target = "truth"


@pytest.mark.parametrize("learned", [[0, 1], [0.0, 1.0], [False, True], ["0", "1"]])
@pytest.mark.parametrize("truth", [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], ["0", "1", "1"]])
def test_a_target_of_another_type_has_the_same_classes(learned, truth):
    chances = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])
    predictions = classes.predicted(chances, np.array(learned), pd.RangeIndex(3))

    losses = classes.losses(pd.DataFrame({"truth": truth}), predictions, Table())
    np.testing.assert_allclose(losses, -np.log([0.75, 0.5, 0.75]))


def test_a_class_that_nobody_learned_is_a_miss():
    predictions = classes.predicted(np.array([[0.75, 0.25]]), np.array(["True", "1"]), pd.RangeIndex(1))
    losses = [classes.losses(pd.DataFrame({"truth": [each]}), predictions, Table())[0] for each in ("True", "1", "2")]

    np.testing.assert_allclose(losses, -np.log([0.75, 0.25, classes.FLOOR]))


def test_the_report_counts_each_class():
    chances = np.array([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05]])
    predictions = classes.predicted(chances, np.array([1, 2, 3]), pd.RangeIndex(4))
    rows = pd.DataFrame({"truth": [1.0, 2.0, 2.0, 4.0]})
    found = classes.tables(rows, predictions, Table())

    expected = pd.DataFrame(
        {
            "class": ["1", "2", "3", "4.0"],
            "rows": [1, 2, 0, 1],
            "predicted": [3, 1, 0, 0],
            "precision": [1 / 3, 1.0, np.nan, np.nan],
            "recall": [1.0, 0.5, np.nan, 0.0],
        }
    )
    pd.testing.assert_frame_equal(found["Classes"], expected, check_dtype=False)
    assert found["Most frequent confusions"].to_numpy().tolist() == [["2", "1", 1, 0.5], ["4.0", "1", 1, 1.0]]


@pytest.mark.parametrize("count", [2, 40])
def test_the_report_draws_any_number_of_classes_and_a_constant_prediction(count):
    names = [f"a class with a long name, number {i}" for i in range(count)]
    predictions = classes.predicted(np.full((80, count), 1 / count), np.array(names), pd.RangeIndex(80))
    (figures,) = classes.plots(pd.DataFrame({"truth": names * (80 // count)}), predictions, Table()).values()

    for figure in figures.values():
        figure.savefig(io.BytesIO())
    assert len(figures) == (3 if count == 2 else 2)
