"""Print the gate's error rates, found by simulation, in Markdown.

A generated project's Python runs it, with its package importable:

    cd PROJECT && uv run python TEMPLATE/benchmarks/gate.py PACKAGE [TRIALS] [--json]

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
SHARED = 0.9  # part of that variance which the models share: they learned from mostly the same rows
STEPS, CREEP, CREEPING = 200, (0.01, 0.03), 250  # retrains in a row, how much worse each is, and held-out rows
MANY = 400_000  # rows that stand for all


def logits(generator, rows):
    """Return the true logits, and an error of variance 1 that both models make."""
    return generator.normal(0, 2, rows), generator.normal(0, 1, rows)


def losses(generator, truth, shared, labels, error, share):
    """Return the log loss of a model with this much error, for each row."""
    own = generator.normal(0, 1, len(truth))
    said = truth + error * (np.sqrt(share) * shared + np.sqrt(1 - share) * own)
    chance = 1 / (1 + np.exp(-said))
    return -np.log(np.clip(np.where(labels, chance, 1 - chance), 1e-6, 1))


def draw(generator, rows, *errors, share=SHARED):
    """Return the losses of a champion, and of a model with each of these errors, on the same new rows."""
    truth, shared = logits(generator, rows)
    labels = generator.random(rows) < 1 / (1 + np.exp(-truth))
    return [losses(generator, truth, shared, labels, each, share) for each in (ERROR, *errors)]


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


def rates(project, rows, difference, whole, error, trials, share=SHARED):
    """Return the share of trials in which the challenger is promoted by default, and with `min_gain: 0`."""
    generator = np.random.default_rng([rows, round(1000 + difference * 1000)])
    passed, better, gain_interval = 0, 0, project.gain_interval
    for _ in range(trials):
        champion, challenger = draw(generator, rows, error, share=share)
        gain, units = champion - challenger, np.arange(rows)
        bounds = gain_interval(gain, units)
        project.gain_interval = lambda *_, bounds=bounds: bounds  # the same for both, and it takes the time
        passed += project.compared(gain, units, {}, whole, project.Limits())[0].holds
        better += project.compared(gain, units, {}, whole, project.Limits(min_gain=0.0))[0].holds
    project.gain_interval = gain_interval
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


def creep(project, known, anchored, seed):
    """Return the share of the skill kept after many retrains, each a little worse, and how many were promoted.

    Args:
        project: The gate's conditions.
        known: Differences, as shares of the skill, and the error that makes each: two arrays.
        anchored: Whether a challenger also meets the anchor.
        seed: Of the run.
    """
    generator, limits, units = np.random.default_rng([4, seed]), project.Limits(), np.arange(CREEPING)
    champion = anchor = 0.0  # differences from the first champion
    promoted = 0
    for _ in range(STEPS):
        challenger = champion - generator.uniform(*CREEP)
        errors = np.interp([champion, anchor, challenger], *known)
        _, served, best, ours = draw(generator, CREEPING, *errors)
        holds = project.compared(served - ours, units, {}, np.log(2) - served.mean(), limits)[0].holds
        better, above = project.gain_interval(served - ours, units)[0] > 0, False
        if anchored and anchor != champion:
            skill = np.log(2) - best.mean()
            met, above = project.not_below_anchor("", best - ours, units, skill, limits)
            holds &= met.holds
        else:
            above = better
        if holds:
            champion, anchor, promoted = challenger, challenger if above else anchor, promoted + 1
    return 1 + champion, promoted


def main():
    package, trials = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    project = import_module(f"{package}.retraining.conditions")  # which also names the gate's Limits
    whole = skill()
    errors = {difference: error_for(difference, whole) if difference else ERROR for difference in DIFFERENCES}
    found = {}
    for rows in SIZES:
        for difference, error in errors.items():
            found[f"{rows} {difference}"] = rates(project, rows, difference, whole, error, trials)
            if "--json" not in sys.argv:
                found[f"{rows} {difference} alone"] = rates(project, rows, difference, whole, error, trials, share=0.0)
    for rows in (300, 1000):
        for loss in (0.0, 0.5, 1.0):
            found[f"slices {rows} {loss}"] = slices(project, rows, loss, whole, trials // 2)
    steps = np.linspace(-1, 0, 11)
    known = steps, np.array([error_for(each, whole) if each else ERROR for each in steps])
    for anchored in (False, True):
        count = trials // (100 if "--json" in sys.argv else 25)
        runs = [creep(project, known, anchored, seed) for seed in range(max(count, 2))]
        kept, promoted = np.transpose(runs)
        found[f"creep {anchored}"] = [float(each) for each in (kept.mean(), kept.min(), promoted.mean())]
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    head = "| challenger's true gain, as a share of the champion's skill | " + " | ".join(f"{n} rows" for n in SIZES)
    kinds = ("promoted by default", "promoted with `min_gain: 0`")
    for which, words, kind in [(i, words, kind) for kind in ("", " alone") for i, words in enumerate(kinds)]:
        print(f"\n{words}{', errors independent' if kind else ''}\n\n{head} |\n|---|" + "---|" * len(SIZES))
        for difference in DIFFERENCES:
            shares = " | ".join(f"{found[f'{rows} {difference}{kind}'][which]:.1%}" for rows in SIZES)
            print(f"| {difference:+.0%} | {shares} |")
    print(
        f"\n{STEPS} retrains, each worse, {CREEPING} rows\n\n| | skill kept | at worst | promoted |\n|---|---|---|---|"
    )
    for anchored, words in ((False, "champion only"), (True, "champion and anchor")):
        kept, worst, promoted = found[f"creep {anchored}"]
        print(f"| {words} | {kept:.0%} | {worst:.0%} | {promoted:.0f} |")
    print("\nrefused because of a slice, ten slices\n\n| loss on one of them | 300 rows | 1000 rows |\n|---|---|---|")
    for loss in (0.0, 0.5, 1.0):
        print(f"| {loss:.0%} | " + " | ".join(f"{found[f'slices {rows} {loss}']:.1%}" for rows in (300, 1000)) + " |")


if __name__ == "__main__":
    main()
