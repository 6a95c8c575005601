"""Print the gate's error rates, found by simulation, in Markdown.

A generated project's Python runs it, with its package importable:

    cd PROJECT && uv run python TEMPLATE/benchmarks/gate.py PACKAGE [TRIALS]

Two models of the same noisy truth give probabilities to held-out rows; the gate sees only their losses. Their true
difference is known, because each model's error is known: the same for both, or larger for one of them.
"""

import json
import sys
from importlib import import_module

import numpy as np

SIZES = (50, 100, 250, 1000)  # held-out rows
DIFFERENCES = (-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2)  # of the champion's skill; above 0: challenger is better
ERROR = 0.8  # standard deviation of the champion's logits around the true ones
SHARED = 0.9  # part of that variance which both models share: they learned from mostly the same rows
MANY = 400_000  # rows that stand for all


def logits(generator, rows):
    """Return the true logits, and an error of variance 1 that both models make."""
    return generator.normal(0, 2, rows), generator.normal(0, 1, rows)


def losses(generator, truth, shared, labels, error):
    """Return the log loss of a model with this much error, for each row."""
    own = generator.normal(0, 1, len(truth))
    said = truth + error * (np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own)
    chance = 1 / (1 + np.exp(-said))
    return -np.log(np.clip(np.where(labels, chance, 1 - chance), 1e-6, 1))


def draw(generator, rows, error):
    """Return the losses of a champion and of a challenger with this error on the same new rows."""
    truth, shared = logits(generator, rows)
    labels = generator.random(rows) < 1 / (1 + np.exp(-truth))
    return losses(generator, truth, shared, labels, ERROR), losses(generator, truth, shared, labels, error)


def skill():
    """Return how much lower the champion's true loss is than the naive baseline's, log 2."""
    champion, _ = draw(np.random.default_rng(1), MANY, ERROR)
    return float(np.log(2) - champion.mean())


def error_for(difference, whole):
    """Return the challenger's error at which it is better by this share of the champion's skill."""
    low, high = 0.0, 3.0
    for _ in range(25):
        middle = (low + high) / 2
        champion, challenger = draw(np.random.default_rng(2), MANY, middle)
        low, high = (middle, high) if champion.mean() - challenger.mean() > difference * whole else (low, middle)
    return middle


def rates(project, rows, difference, whole, error, trials):
    """Return the share of trials in which the challenger is promoted by default, and with `min_gain: 0`."""
    generator = np.random.default_rng([rows, round(1000 + difference * 1000)])
    passed, better = 0, 0
    for _ in range(trials):
        champion, challenger = draw(generator, rows, error)
        gain, units = champion - challenger, np.arange(rows)
        passed += project.compared(gain, units, {}, whole, project.Limits())[0].holds
        better += project.compared(gain, units, {}, whole, project.Limits(min_gain=0.0))[0].holds
    return passed / trials, better / trials


def slices(project, rows, loss, whole, trials):
    """Return the share of trials in which ten slices refuse a challenger that is worse on the first only."""
    generator = np.random.default_rng(3)
    worse, refused = error_for(-loss, whole) if loss else ERROR, 0
    for _ in range(trials):
        champion, challenger = draw(generator, rows, ERROR)
        inside = np.arange(rows) % 10 == 0
        before, after = draw(generator, rows, worse)
        gain = np.where(inside, before - after, champion - challenger)
        masks = {f"slice {each}": np.arange(rows) % 10 == each for each in range(10)}
        refused += not project.compared(gain, np.arange(rows), masks, whole, project.Limits())[1].holds
    return refused / trials


def main():
    package, trials = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    project = import_module(f"{package}.retraining.conditions")  # which also names the gate's Limits
    whole = skill()
    errors = {difference: error_for(difference, whole) if difference else ERROR for difference in DIFFERENCES}
    found = {}
    for rows in SIZES:
        for difference, error in errors.items():
            found[f"{rows} {difference}"] = rates(project, rows, difference, whole, error, trials)
    for rows in (300, 1000):
        for loss in (0.0, 0.5, 1.0):
            found[f"slices {rows} {loss}"] = slices(project, rows, loss, whole, trials // 2)
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    head = "| challenger's true gain, as a share of the champion's skill | " + " | ".join(f"{n} rows" for n in SIZES)
    for which, words in enumerate(("promoted by default", "promoted with `min_gain: 0`")):
        print(f"\n{words}\n\n{head} |\n|---|" + "---|" * len(SIZES))
        for difference in DIFFERENCES:
            shares = " | ".join(f"{found[f'{rows} {difference}'][which]:.1%}" for rows in SIZES)
            print(f"| {difference:+.0%} | {shares} |")
    print("\nrefused because of a slice, ten slices\n\n| loss on one of them | 300 rows | 1000 rows |\n|---|---|---|")
    for loss in (0.0, 0.5, 1.0):
        print(f"| {loss:.0%} | " + " | ".join(f"{found[f'slices {rows} {loss}']:.1%}" for rows in (300, 1000)) + " |")


if __name__ == "__main__":
    main()
