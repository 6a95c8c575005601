"""Models that go on learning from logged rows: nothing before it was predicted, nothing twice, judged by the rest."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from itertools import count

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from sqlalchemy import insert, update

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
columns = import_module(f"{PACKAGE}.datasets.columns")
contract = import_module(f"{PACKAGE}.training.contract")
gate = import_module(f"{PACKAGE}.retraining.gate")
lineage = import_module(f"{PACKAGE}.retraining.lineage")
restore = import_module(f"{PACKAGE}.retraining.restore")
retrain = import_module(f"{PACKAGE}.retraining.retrain")
deployments = import_module(f"{PACKAGE}.registry.deployments")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
learned = import_module(f"{PACKAGE}.registry.learned")
learning = import_module(f"{PACKAGE}.monitoring.learning")
loading = import_module(f"{PACKAGE}.registry.loading")
log = import_module(f"{PACKAGE}.serving.log_store")
page = import_module(f"{PACKAGE}.monitoring.page")
watch = import_module(f"{PACKAGE}.monitoring.watch")
profiles = import_module(f"{PACKAGE}.retraining.profiles")
provenance = import_module(f"{PACKAGE}.registry.provenance")
table_module = import_module(f"{PACKAGE}.datasets.table")
train = import_module(f"{PACKAGE}.training.train")
versions = import_module(f"{PACKAGE}.registry.versions")

NAME, ROWS, SIZE = "online", 40, "size, in m²"  # of the model; rows a day; a column
REQUESTS = count()  # numbers of requests, each with ids of its own
SEEDS = count()  # of parameters, which begin with a fit of their own


@pytest.fixture(scope="module", params=["online_classifier", "online_regressor"])
def kind(request, project):
    """A module that can learn, of those that the project has."""
    if not (project / "src" / PACKAGE / "models" / f"{request.param}.py").exists():
        pytest.skip(f"no models/{request.param}.py here")
    return request.param


def rows_of(kind, size, seed, changed=False):
    """Rows with names, gaps and tails as people's own tables have them; `changed` turns what the size means around."""
    random = np.random.default_rng(seed)
    wide = random.standard_t(3, size)
    rows = pd.DataFrame(
        {"id": [f"{seed}-{i}" for i in range(size)], SIZE: wide, "Farbe": random.choice(["a", "b"], size)}
    )
    rows["empty"] = np.nan
    score = (-2 if changed else 2) * wide + (rows["Farbe"] == "a") + random.normal(0, 0.5, size)
    rows["outcome"] = np.where(score > 0.5, "yes", "no") if kind == "online_classifier" else 1e6 * score
    return rows


@pytest.fixture
def online(kind, project, tmp_path, monkeypatch):
    """A model that learns, fitted, with a champion and a log of its own."""
    import pandera.pandas as pa

    target = pa.Column(str, pa.Check.isin(["yes", "no"])) if kind == "online_classifier" else pa.Column(float)
    schema = {"id": pa.Column(str), SIZE: pa.Column(float), "Farbe": pa.Column(str)}
    schema |= {"empty": pa.Column(float, nullable=True), "outcome": target}
    own = table_module.Table(
        name="own", load=lambda: rows_of(kind, 400, 0), schema=pa.DataFrameSchema(schema), target="outcome", key="id"
    )
    monkeypatch.setattr(contract, "TABLES", [own])
    monkeypatch.setenv("PREDICTION_LOG", f"sqlite:///{tmp_path / 'log.db'}")
    before = (project / "params.yaml").read_text(encoding="utf-8")
    block = {"models": {NAME: {"module": kind, "seed": next(SEEDS)}}}
    (project / "params.yaml").write_text(json.dumps(block), encoding="utf-8")
    model = contract.load_model(NAME)
    for step in (train.split, train.fit, evaluate.score):
        step(model)
    scores = evaluate.read_scores(model)
    number, _ = versions.record_version(model, scores, provenance.current(NAME))
    profiles.keep_profile(model, number)
    deployments.promote(NAME, number, "tests")
    yield contract.Learning.of(model)
    (project / "params.yaml").write_text(before, encoding="utf-8")


def start(model):
    """The first day of the log: that after the fit."""
    return versions.get_version(NAME, learned.base_of(NAME, versions.champion(NAME)).number).made.date() + timedelta(1)


def moment(model, day, hour=0):
    first = start(model)
    return datetime(first.year, first.month, first.day, hour, tzinfo=UTC) + timedelta(day)


@cache
def served(number):
    return loading.load_served(NAME, number)


def fill(model, day, rows, labelled=True, keyed=False):
    """Log a day's rows, as the champion answers them; return the ids, with labels unless they come later."""
    engine, when = log.open_log(), log.micros_of(moment(model, day, 12))
    request, truths = f"{when:013x}{next(REQUESTS):08x}", rows["outcome"].tolist()
    version = served(versions.champion(NAME))
    sent = rows.drop(columns=["outcome"] if keyed else ["outcome", "id"])
    line = {"request_id": request, "event_timestamp": when, "model": NAME, "model_version": version.number}
    line |= {"rows": len(rows), "inputs": json.dumps(columns.records(sent)), "latency_ms": 1.0}
    line |= {"predictions": json.dumps(columns.records(version.predict(version.signature.typed(rows))))}
    with engine.begin() as connection:
        connection.execute(insert(log.REQUESTS), [line])
    ids = [log.row_id(request, place) for place in range(len(rows))]
    if labelled:
        label(dict(zip(ids, truths, strict=True)))
    return ids


def label(values):
    lines = [{"prediction_id": each, "label": json.dumps(value)} for each, value in values.items()]
    with log.open_log().begin() as connection:
        connection.execute(insert(log.LABELS), [line | {"label_timestamp": 1, "received_at": 1} for line in lines])


def run(model, day):
    """Learn early on a day; return the outcome."""
    [outcome] = learning.learn([NAME], moment(model, day, 5))
    assert outcome.state != "failed", outcome
    return outcome


def test_rows_are_learned_once_after_they_were_predicted_and_the_newest_day_only_judges(online, kind, monkeypatch):
    asked = []
    own = type(loading.load_version(NAME, versions.champion(NAME))).predict
    module_learn = online.module.learn

    def predict(version, rows):
        asked.append(("predict", set(rows.index)))
        return own(version, rows)

    def learn(estimator, rows, table):
        predicted = set().union(*(ids for what, ids in asked if what == "predict"))
        assert set(rows.index) <= predicted
        asked.append(("learn", set(rows.index)))
        return module_learn(estimator, rows, table)

    monkeypatch.setattr(loading.LoadedVersion, "predict", predict)
    monkeypatch.setattr(online.module, "learn", learn)
    days = [fill(online, day, rows_of(kind, ROWS, day + 1)) for day in range(4)]
    late = days[1][:5]
    with log.open_log().begin() as connection:
        connection.execute(log.LABELS.delete().where(log.LABELS.c.prediction_id.in_(late)))
    first = run(online, 4)
    tags = versions.get_version(NAME, first.version).tags

    assert first.state == "kept"
    assert f"{4 * ROWS - 5} labelled rows of 4 days, wanted 30 rows, 8 days" in first.message
    assert tags["learned_rows"] == str(3 * ROWS - 5)
    assert (tags["learned_from"], tags["learned_to"]) == (days[0][0], days[2][-1])
    assert learned.learned_rows(NAME, first.version) == {*days[0], *days[1], *days[2]} - {*late}
    assert run(online, 4).version == first.version  # once a day
    label(dict.fromkeys(late, "yes" if kind == "online_classifier" else 1.0))
    corrected = update(log.LABELS).where(log.LABELS.c.prediction_id == days[0][0]).values(received_at=2)
    with log.open_log().begin() as connection:
        connection.execute(corrected)
    days.append(fill(online, 4, rows_of(kind, ROWS, 9)))
    second = run(online, 5)
    assert int(second.version) > int(first.version)
    assert versions.get_version(NAME, second.version).tags["learned_rows"] == str(ROWS + 5)
    learns = [ids for what, ids in asked if what == "learn"]
    assert sum(map(len, learns)) == len(set().union(*learns)) == 4 * ROWS
    assert "labelled rows are new" in run(online, 6).message  # the day that judged waits for the next
    assert len(versions.versions(NAME, None)) >= 2


def test_a_changed_world_is_learned_and_the_champion_that_stood_still_is_replaced(online, kind, monkeypatch):
    """Also after a kill between verdict and promotion."""
    first, promote = versions.champion(NAME), deployments.promote
    for day in range(14):
        fill(online, day, rows_of(kind, ROWS, day + 1, changed=day >= 3))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(deployments, "promote", killed)
    with pytest.raises(KeyboardInterrupt):
        learning.learn([NAME], moment(online, 14, 5))
    monkeypatch.setattr(deployments, "promote", promote)
    made = len(versions.versions(NAME))
    outcome = run(online, 14)
    assert (outcome.state, len(versions.versions(NAME))) == ("promoted", made)
    assert f"better than version {first}" in outcome.message
    after = rows_of(kind, 500, 99, changed=True)
    losses = {}
    for number in (first, outcome.version):
        predictions = loading.load_served(NAME, number).predict(after)
        losses[number] = online.module.losses(after, predictions, online.table).mean()
    assert losses[outcome.version] < 0.4 * losses[first], losses
    assert (~learned.read_stream(NAME, outcome.version)["learned"]).sum() == ROWS
    says_what_became_of_it(first, outcome.version, monkeypatch)


def says_what_became_of_it(first, number, monkeypatch):
    """The table's own fit is not judged again, a fit like it takes nothing from the champion, and its file is kept."""
    settled = retrain.settle(contract.load_model(NAME), provenance.current(NAME), "tests", unattended=False)
    assert settled.message == f"version {number} goes on learning from the log since version {first}"
    [condition] = gate._no_learner(contract.load_model(NAME), first, number)
    assert not condition.holds
    assert any(f"after version {first}" in line for line in lineage.describe_version(NAME, number))
    words = watch._challenger(contract.load_model(NAME), number)
    assert words.startswith("the champion learns from the log: ") and f" over version {first}" in words
    assert f"  {words}" in [*page.lines(watch.Watched(NAME, challenger=words))]
    whole, folder = restore.restore, versions.version_folder(NAME, first).parent / "made again"
    (folder / "artifacts" / NAME).mkdir(parents=True)
    monkeypatch.setattr(restore, "restore", lambda *_: (folder, []))
    assert whole(NAME, number) == (folder, [])
    digest = versions.get_version(NAME, number).tags["sha256"]
    assert artifact.holds(folder / "artifacts" / NAME / "learned" / "model", digest)


def test_what_a_version_learned_that_was_rolled_back_is_not_learned_again(online, kind):
    first = versions.champion(NAME)
    bad = [each for day in range(2) for each in fill(online, day, rows_of(kind, ROWS, day + 1))]
    deployments.promote(NAME, run(online, 2).version, "by hand")
    deployments.rollback(NAME, "tests")

    assert learned.learner(online).number == first
    good = [each for day in (2, 3) for each in fill(online, day, rows_of(kind, ROWS, day + 1))]
    again = run(online, 4).version
    assert learned.learned_rows(NAME, again) == {*bad[ROWS:], *good[:ROWS]}  # the last day before had only judged


def test_it_goes_on_to_the_bit_after_loading(online, kind):
    rows = [rows_of(kind, ROWS, seed) for seed in (1, 2)]
    version = loading.load_version(NAME, versions.champion(NAME))
    one, other = (loading.load_version(NAME, version.number).estimator for _ in range(2))
    learn = online.module.learn
    one = learn(learn(one, rows[0], online.table), rows[1], online.table)
    other = learn(other, rows[0], online.table)
    folder = online.files.folder / "halfway"
    described = vars(version.signature) | {"predictions": []}
    del described["sha256"], described["lookups"]
    artifact.save(folder, other, described, online.module.TRUSTED)
    other = learn(artifact.load(folder, online.module.TRUSTED), rows[1], online.table)
    for folder, each in (("one", one), ("other", other)):
        artifact.save(online.files.folder / folder, each, described, online.module.TRUSTED)

    digests = {artifact.signature(online.files.folder / folder).sha256 for folder in ("one", "other")}
    assert len(digests) == 1


def test_bad_rows_days_and_labels_are_not_learned_and_one_run_at_a_time_learns(online, kind, project):
    with FileLock(project / ".training.lock"), pytest.raises(package.Refused, match="another training is at work"):
        learning.learn([NAME], moment(online, 1))
    fill(online, 0, rows_of(kind, ROWS, 1))
    fill(online, 1, rows_of(kind, ROWS, 2).assign(**{SIZE: 1e9}))
    ids = fill(online, 2, rows_of(kind, ROWS, 3), labelled=False)
    wrong = ["perhaps", 17] if kind == "online_classifier" else ["much", None]
    label(dict(zip(ids, wrong, strict=False)))
    table = rows_of(kind, 400, 0)
    known = fill(online, 3, table.head(10), keyed=True)
    fill(online, 4, rows_of(kind, ROWS, 4))
    outcome = run(online, 5)

    assert learned.learned_rows(NAME, outcome.version).isdisjoint([*ids, *known])
    assert len(learned.learned_rows(NAME, outcome.version)) == ROWS
    assert f"{SIZE}: " in outcome.message
