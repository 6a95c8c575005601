"""Classes are compared as values, whatever type the target has by now."""

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
