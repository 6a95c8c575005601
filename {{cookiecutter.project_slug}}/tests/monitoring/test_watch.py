"""A watch over many days: quiet while nothing happens, and what it says of gaps, units, changes and late labels."""

import json
from datetime import UTC, date, datetime, timedelta
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import insert

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
aside = import_module(f"{PACKAGE}.training.aside")
columns = import_module(f"{PACKAGE}.datasets.columns")
days = import_module(f"{PACKAGE}.monitoring.days")
drift = import_module(f"{PACKAGE}.monitoring.drift")
labels = import_module(f"{PACKAGE}.serving.labels")
loading = import_module(f"{PACKAGE}.registry.loading")
log = import_module(f"{PACKAGE}.serving.log_store")
performance = import_module(f"{PACKAGE}.monitoring.performance")
retrains = import_module(f"{PACKAGE}.monitoring.retrains")
prediction_log = import_module(f"{PACKAGE}.serving.prediction_log")
profiles = import_module(f"{PACKAGE}.retraining.profiles")
retrain = import_module(f"{PACKAGE}.retraining.retrain")
tables = import_module(f"{PACKAGE}.datasets.table")
triggers = import_module(f"{PACKAGE}.monitoring.triggers")
versions = import_module(f"{PACKAGE}.registry.versions")
watch = import_module(f"{PACKAGE}.monitoring.watch")
workspace = import_module(f"{PACKAGE}.training.workspace")

FIRST, LENGTH, ROWS = date(2026, 1, 1), 65, 30  # of a log, and rows a day


@pytest.fixture(autouse=True)
def engine(trained, tmp_path, monkeypatch):
    """A log of its own for each test."""
    monkeypatch.setenv("PREDICTION_LOG", f"sqlite:///{tmp_path / 'log.db'}")
    engine = log.open_log()
    days.prepare(engine)
    triggers.prepare(engine)
    return engine


@pytest.fixture
def answered(model, holdout):
    """Held-out rows as requests, the champion's answers to them, and what turned out true."""
    version = loading.load_served(model.name, versions.champion(model.name))
    part = holdout.sample(200, replace=True, random_state=0).reset_index(drop=True)
    requests = columns.records(part[[column.name for column in version.signature.inputs]])
    answers = columns.records(version.predict(part))
    return version.number, requests, answers, columns.records(part[[model.table.target]])


def fill(engine, model, answered, change=lambda row, day: row, length=LENGTH, labelled=0.0, wrong=lambda day: False):
    """Log ROWS a day, of those days the newest with what `change` makes of a request; its first row has the key 7."""
    number, requests, answers, truths = answered
    generator = np.random.default_rng(0)
    predictions, labels = [], []
    for day in range(length):
        start = log.micros_of(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(day))
        request, places = f"{start:013x}00000000", generator.choice(len(requests), ROWS)
        predictions.append(
            {
                "request_id": request,
                "event_timestamp": start,
                "model": model.name,
                "model_version": number,
                "rows": ROWS,
                "inputs": json.dumps([change(dict(requests[place]), day) for place in places]),
                "predictions": json.dumps([answers[place] for place in places]),
                "latency_ms": 1.0,
            }
        )
        for row in np.flatnonzero(generator.random(ROWS) < labelled):
            place = places[row] + (1 + row if wrong(day) else 0)
            truth, answer = truths[place % len(truths)][model.table.target], answers[places[row]]
            if wrong(day) and "low" in answer:  # far off by as much as its own series is
                truth = answer["prediction"] + 2 * (answer["high"] - answer["low"])
            own = {"prediction_id": log.row_id(request, row), "label": json.dumps(truth)}
            labels.append(own | {"label_timestamp": start, "received_at": start})
    newest = {"prediction_id": log.row_id(predictions[-1]["request_id"], 0), "model": model.name, "entity_key": "7"}
    with engine.begin() as connection:
        connection.execute(insert(log.REQUESTS), predictions)
        connection.execute(insert(log.KEYS), newest)
        if labels:
            connection.execute(insert(log.LABELS), labels)


def now(length=LENGTH):
    return datetime(FIRST.year, FIRST.month, FIRST.day, 3, tzinfo=UTC) + timedelta(length)


def column_of(model, kind):
    """An input of this kind that is watched, or the test is skipped."""
    profile = profiles.known_profile(model, versions.champion(model.name))
    for name, column in profile.columns.items():
        busy = sum(cell > 0 for cell in column.counts.cells) > 2
        if column.kind == kind and column.closed and busy and not name.startswith(profiles.ANSWER):
            return name
    return pytest.skip(f"no input is a {kind} that can be watched")


def test_days_like_those_before_alarm_nothing_and_are_counted_once(engine, model, answered):
    fill(engine, model, answered)
    [found] = watch.watch([model.name], now())

    assert found.alarms == []
    assert [*found.rows.values()] == [ROWS] * LENGTH
    assert found.changes
    assert any(words.startswith("performance: ") for words in found.unknown)
    assert days.count_days(engine, model.name, found.profile, [*found.rows]) == 0


def test_few_days_are_said_to_be_few(engine, model, answered):
    fill(engine, model, answered, length=10)
    [found] = watch.watch([model.name], now(10))

    assert found.alarms == []
    assert any("days to compare with, 56 are needed" in words for words in found.unknown)


def test_without_a_log_it_says_what_it_cannot_tell(model):
    [found] = watch.watch([model.name], now())

    assert [words for words in found.unknown if "no prediction was logged" in words]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda value: value * 1000 + 1e9, "unit"),
        (lambda value: None, "missing"),
        (lambda value: 1.0, "constant"),
    ],
)
def test_a_broken_column_is_found_on_its_first_day_and_nothing_is_retrained(
    engine, model, answered, change, kind, monkeypatch
):
    name = column_of(model, "number")
    broken = lambda row, day: row | {name: change(row[name])} if day == LENGTH - 1 and row[name] is not None else row  # noqa: E731
    fill(engine, model, answered, broken)
    asked = []
    monkeypatch.setattr(retrains, "retrain", lambda *arguments, **_: asked.append(arguments))
    [found] = watch.watch([model.name], now(), act=True)

    assert {(each.kind, each.column) for each in found.alarms} >= {("quality", name)}
    assert asked == []
    assert triggers.waiting(engine) == []
    listed = aside.read(model.files.set_aside)
    assert {*listed["key"]} == {"7"}
    assert listed["batch"].tolist() == [f"asked on {FIRST + timedelta(LENGTH - 1)}"]
    model.files.set_aside.unlink()


def test_a_shift_is_found_and_asks_for_one_retrain_that_is_not_lost(engine, model, answered, monkeypatch):
    name = column_of(model, "number")
    values = [row[name] for row in answered[1] if row[name] is not None]
    high = float(np.quantile(values, 0.8))
    fill(
        engine,
        model,
        answered,
        lambda row, day: row | {name: max(row[name] or high, high)} if day >= LENGTH - 2 else row,
    )

    def busy(*_, **__):
        raise package.Refused("another training is at work")

    monkeypatch.setattr(retrains, "retrain", busy)
    [found] = watch.watch([model.name], now(), act=True)
    assert [each.column for each in found.alarms if each.kind == "drift"] == [name]
    [trigger] = triggers.waiting(engine)
    assert name in trigger.reason

    reasons = []
    outcome = retrain.Outcome(model.name, "kept", "1", "kept")
    monkeypatch.setattr(retrains, "retrain", lambda names, reason, **_: reasons.append((names, reason)) or [outcome])
    for _ in range(2):
        watch.watch([model.name], now(), act=True)
    assert reasons == [([model.name], trigger.reason)]
    assert triggers.waiting(engine) == []


def test_labels_tell_whether_the_promise_holds(engine, model, answered):
    fill(engine, model, answered, labelled=0.9)
    [found] = watch.watch([model.name], now())

    assert found.performance.now is not None
    assert 0.8 < found.performance.share < 1
    assert found.performance.interval[0] < found.performance.now < found.performance.interval[1]
    assert [each for each in found.alarms if each.kind == "performance"] == []


def test_answers_that_turn_wrong_are_found(engine, model, answered):
    fill(engine, model, answered, labelled=0.9, wrong=lambda day: day >= LENGTH - 7)
    [found] = watch.watch([model.name], now())

    assert [each.kind for each in found.alarms] == ["performance"]


@pytest.mark.parametrize(("newest", "alarms"), [([1.0, 1.2], True), ([1.0, 0.1], False), ([0.15, 0.16], False)])
def test_two_days_far_worse_than_all_before_alarm_without_waiting_for_a_week(newest, alarms):
    losses = [*np.random.default_rng(0).uniform(0.05, 0.12, 12), *newest]
    outcomes = {FIRST + timedelta(i): days.Outcome(60, 60, loss=60 * loss) for i, loss in enumerate(losses)}
    told = performance.judged(outcomes, (0.08, 0.05, 0.11), FIRST + timedelta(len(losses)))

    assert told.alarm == alarms
    assert performance.judged({}, (0.08, 0.05, 0.11), FIRST + timedelta(len(losses)), outcomes).alarm == alarms
    assert told.sudden == (pytest.approx(np.mean(newest)) if alarms else None)


def test_after_a_performance_alarm_retrains_go_on_until_it_is_old(engine, model):
    alarm = triggers.Alarm(model.name, "performance", "", FIRST, "worse")
    triggers.record_alarms(engine, [alarm, triggers.Alarm(model.name, "drift", "x", FIRST, "moved")])

    assert triggers.unsettled(engine, model.name, now(13)).startswith("performance: ")
    assert triggers.unsettled(engine, model.name, now(15)) == ""
    assert triggers.by_alarm(triggers.unsettled(engine, model.name, now(13)))


def test_a_day_with_few_labels_does_not_count(engine, model, answered):
    fill(engine, model, answered, labelled=0.1)
    [found] = watch.watch([model.name], now())

    assert found.performance.p is None
    assert 0.05 < found.performance.share < 0.2
    assert any("days count, 5 of a week are needed" in words for words in found.unknown)


def test_labels_that_come_later_are_taken_up(engine, model, answered):
    fill(engine, model, answered, length=10)
    watch.watch([model.name], now(10))
    with engine.begin() as connection:
        requests = connection.scalars(log.REQUESTS.select()).all()
        truth = json.dumps(answered[3][0][model.table.target])
        names = [log.row_id(request, row) for request in requests for row in range(ROWS)]
        late = [{"prediction_id": name, "label": truth, "label_timestamp": 1, "received_at": 1} for name in names]
        connection.execute(insert(log.LABELS), late)
    [found] = watch.watch([model.name], now(10))

    assert len(found.performance.days) == 10
    assert found.performance.share == 1


def test_each_step_of_a_forecast_is_judged_by_the_truth_about_its_series_and_time(engine, model, holdout):
    version = loading.load_served(model.name, versions.champion(model.name))
    if not version.forecasts:
        pytest.skip("it answers for no time to come")
    requests = columns.records(holdout[[model.table.group]].head(1) if model.table.group else holdout[[]].head(1))
    frame = version.signature.typed(pd.DataFrame.from_records(requests, index=[0]))
    answers = version.module.prediction_responses(version.estimator, frame)
    steps = answers[0]["forecast"]
    start = log.micros_of(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC))
    with engine.begin() as connection:
        for request in (f"{start:013x}00000000", f"{start:013x}00000001"):
            answered = prediction_log.Answered(request, start, version, requests, answers, 1.0)
            connection.execute(insert(log.REQUESTS), answered.line())
            connection.execute(insert(log.KEYS), answered.entities())
    keys = [tables.key_text([(requests[0] | step).get(name) for name in model.table.keys]) for step in steps]
    known = [labels.Label(step["prediction"] + 1, key=key) for step, key in zip(steps[1:], keys[1:], strict=True)]
    assert labels.add_labels(engine, model.name, known, every=True) == (len(steps) - 1, [])

    context = profiles.loss_context(model, version.number)
    days.judge_days(engine, model, [FIRST], context)
    [outcome] = days.read_outcomes(engine, model.name)[FIRST].values()
    assert (outcome.rows, outcome.labelled) == (2 * len(steps), 2 * (len(steps) - 1))
    group = {model.table.group: requests[0][model.table.group]} if model.table.group else {}
    own = context[(context[list(group)] == pd.Series(group)).all(axis=1)] if group else context
    assert outcome.loss == pytest.approx(outcome.labelled / own.drop(columns=list(group)).iloc[0, 0])


def test_an_old_version_that_nothing_replaces_is_said_to_be_old(model):
    made = versions.champion_version(model.name).made
    [young], [old] = (watch.watch([model.name], made + timedelta(days)) for days in (watch.STALE, watch.STALE + 2))

    assert not [each for each in young.alarms if each.kind == "staleness"]
    assert [each.kind for each in old.alarms] == ["staleness"]


def test_the_command_writes_a_page_and_metrics_and_its_status_tells(engine, model, answered, command, trained):
    name = column_of(model, "number")
    fill(engine, model, answered, lambda row, day: row | {name: None} if day == LENGTH - 1 else row)
    with package.clock_set(now):
        said = command("watch", model.name, status=1)
    page = (trained / "reports" / f"{model.name}-watch.html").read_text(encoding="utf-8")

    assert f"quality: {FIRST + timedelta(LENGTH - 1)}: {name}: 100% of the values are missing" in said
    assert "What does not hold now" in page
    assert "<svg" in page and "data:image" not in page
    metrics = (trained / "reports" / "watch.prom").read_text(encoding="utf-8")
    assert [line for line in metrics.splitlines() if line.startswith("model_quality_alarms{") and line.endswith(" 1")]


def test_counts_add_up():
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "number": np.where(generator.random(500) < 0.1, np.nan, generator.normal(size=500).round(1)),
            "text": generator.choice(["a", "b", None], 500),
            "flag": generator.random(500) < 0.5,
        }
    )
    profile = profiles.profile_of(rows, list(rows))
    for name, column in profile.columns.items():
        whole, parts = column.count(rows[name]), [column.count(rows[name][:200]), column.count(rows[name][200:])]
        assert (parts[0] + parts[1]).cells == whole.cells == column.counts.cells
        assert sum(whole.cells) == rows[name].notna().sum() == whole.present
        assert whole.outside == 0
        if column.kind == "number":
            assert float(np.array(whole.cells) @ column.ranks / whole.present) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_the_mean_of_labelled_weeks_has_an_honest_interval(scale):
    """With day effects that are alike from day to day; benchmarks/monitoring.py of the template has more runs."""
    hits = 0
    for seed in range(200):
        generator, effect, losses = np.random.default_rng(seed), 0.0, {}
        for day in range(28):
            effect = 0.5 * effect + generator.normal(0, scale)
            losses[FIRST + timedelta(day)] = 1 + effect + generator.normal(0, 0.05)
        low, high = performance.block_interval(losses)
        hits += low <= 1 <= high
    assert 0.88 <= hits / 200 <= 0.99
