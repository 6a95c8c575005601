"""For every problem: a team's own rows, from the lowest level to a service (classification: test_climb.py)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from projects import HIGHEST, PROBLEMS, ROOT, TREE, Project, generate

OWN = Path(__file__).parent / "own"
CHANGED = {"regression": "rounds", "forecasting": "rounds", "image-classification": "side"}  # by the retrains
SEVEN_RETRAINS = """
import sys
from importlib import import_module
from pathlib import Path
import yaml
package, key = sys.argv[1:]
modules = ("training.params", "retraining.retrain", "registry.versions")
params_yaml, retraining, registry = (import_module(f"{package}.{name}") for name in modules)
[name] = params_yaml.model_blocks([])
params = Path("params.yaml")
for turn in range(1, 8):
    content = yaml.safe_load(params.read_text(encoding="utf-8"))
    content["models"][name][key] = 8 * (turn + 4)
    params.write_text(yaml.safe_dump(content), encoding="utf-8")
    [outcome] = retraining.retrain([], f"turn {turn}")
    assert outcome.state in ("promoted", "kept"), outcome.message
print(len(registry.versions(name)), "versions")
"""
SMALL_BENCHMARK = """
import sys
from importlib import import_module
package, folder = sys.argv[1:]
sys.path.insert(0, folder)
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor
import tables
class Shipped(tables.Set):
    def rows(self):
        return load_diabetes(as_frame=True).frame.assign(row=range(442))
peers = {tables.BOOSTED: HistGradientBoostingRegressor(random_state=0)}
line = tables.measured(package, import_module(f"{package}.models.regressor"), Shipped("x/diabetes", "target"), peers)
print(*line["losses"])
print(line["ratio"] < 1.03 and line["to plain"] < 1.03)
"""
OF_ROWS = ("tests/models/test_contract.py", "tests/serving/test_app.py")  # the project's tests of its own models
pytestmark = pytest.mark.xdist_group("problems")


@pytest.fixture(scope="module", params=[problem for problem in PROBLEMS if problem != "classification"])
def climbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose sample was replaced at the lowest level, which then climbed to the highest."""
    home = tmp_path_factory.mktemp("own rows")
    project = Project(generate(home / "work", project_slug="own-rows", problem=request.param), home / "environment")
    shutil.rmtree(project.folder / "data" / "sample")
    shutil.copy(OWN / request.param / "data.py", project.folder / "src" / "own_rows" / "data.py")
    done = project.run("uv", "run", "python", str(OWN / "problems.py"), request.param, "data")
    assert done.returncode == 0, done.stderr
    project.just("data")
    project.just("check")
    project.commit("Our own rows")
    project.just("upgrade", HIGHEST)
    project.commit("Climb")
    return project


def test_own_rows_are_trained_judged_and_served_without_an_edit(climbed):
    assert "serves" in climbed.just("retrain")
    assert "nothing new" in climbed.just("retrain")
    if climbed.models == ["forecaster"]:
        asked = climbed.run("uv", "run", "just", "forecast", "next.csv", "2")
        assert "needs 'holiday' at the times to come" in asked.stderr
    done = climbed.run("uv", "run", "pytest", "-q", *OF_ROWS, "tests/test_data.py")
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_small_part_of_the_benchmark_of_quality(climbed, request):
    if request.node.callspec.params["climbed"] != "regression":
        pytest.skip("no regressor")
    folder = str(ROOT / "benchmarks" / "quality")
    done = climbed.run("uv", "run", "python", "-c", SMALL_BENCHMARK, climbed.package, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["naive linear boosted plain mean template", "True"]


def test_a_pretrained_network_is_run_where_its_library_is(climbed, request):
    if request.node.callspec.params["climbed"] != "image-classification":
        pytest.skip("no images")
    done = climbed.run(
        "uv",
        "run",
        "--with",
        "onnxruntime",
        *["python", "-m", "pytest", "-q", "tests/models/test_images.py", "-k", "network"],
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout


def test_three_versions_are_identical_after_five_more_retrains(climbed, request):
    problem = request.node.callspec.params["climbed"]
    if problem != "forecasting":
        pytest.skip("test_faults does so for tables, and the project's own tests restore each of its models")
    done = climbed.run("uv", "run", "python", "-c", SEVEN_RETRAINS, climbed.package, CHANGED[problem])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "8 versions"
    for version in ("1", "2", "3"):
        assert "identical" in climbed.just("restore", version)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A classification project with a second model and target, in two edits, a forecaster and an image classifier.

    The modules of the latter come by one answer, once the project has its own rows for them.
    """
    home = tmp_path_factory.mktemp("mixed")
    made = generate(home / "work", project_slug="mixed", maturity_level=HIGHEST)
    project, package = Project(made, home / "environment"), made / "src" / "mixed"
    params = (made / "params.yaml").read_text(encoding="utf-8")
    params += "  second:\n    module: classifier\n    target: large\n    leaves: 4\n"
    source = TREE / "src" / "{{cookiecutter.__package}}"
    shutil.copy(TREE / "data" / "sample" / "employment.forecasting.csv", made / "data" / "sample" / "employment.csv")
    shutil.copy(TREE / "data" / "sample" / "digits.image-classification.zip", made / "data" / "sample" / "digits.zip")
    for problem, first, module in (
        ("forecasting", "employment", "series"),
        ("image-classification", "digits", "scans"),
    ):
        entry = (TREE / "data" / f"catalog.{problem}.yaml").read_text(encoding="utf-8")
        with (made / "data" / "catalog.yaml").open("a", encoding="utf-8") as catalogue:
            catalogue.write(entry[entry.index(f"\n{first}:") :])
        shutil.copy(source / f"data.{problem}.py", package / f"{module}.py")
    own = (package / "data.py").read_text(encoding="utf-8")
    own = own.replace("from .datasets import catalog\n", "from . import scans, series\nfrom .datasets import catalog\n")
    own = own.replace(
        'return catalog.read("tumours")',
        'rows = catalog.read("tumours")\n    return rows.assign(large=rows["worst_area"] > 700)',
    )
    own = own.replace('target="diagnosis",', 'target="diagnosis",\n        targets=("large",),')
    own = own.replace('"diagnosis": pa.Column', '"large": pa.Column(bool),\n                "diagnosis": pa.Column')
    (package / "data.py").write_text(own + "\nTABLES += series.TABLES + scans.TABLES\n", encoding="utf-8")
    params += "  jobs:\n    module: forecaster\n    table: employment\n  image_classifier:\n    table: digits\n"
    (made / "params.yaml").write_text(params, encoding="utf-8")
    project.run("uv", "lock")
    project.commit("Three more models")
    said = project.just("upgrade", "_also=forecasting image-classification")  # would fail with a conflict
    assert "added    src/mixed/models/forecaster.py" in said
    project.run("uv", "lock")
    project.commit("Their modules")
    return project


def test_models_of_several_problems_live_in_one_project(mixed):
    said = mixed.just("retrain")

    assert "classifier: version 1 serves" in said
    assert "jobs: version 1 serves" in said
    assert "image_classifier: version 1 serves" in said
    assert "second: version 1" in said


def test_two_models_of_one_module_predict_two_targets_and_learn_from_neither(mixed):
    predicted = {}
    for name in ("classifier", "second"):
        signature = json.loads((mixed.folder / "artifacts" / name / "model" / "signature.json").read_text())
        assert not {"diagnosis", "large"} & {column["name"] for column in signature["inputs"]}
        predicted[name] = {str(each["prediction"]) for each in signature["predictions"]}

    assert predicted["classifier"] <= {"benign", "malignant"}
    assert predicted["second"] <= {"True", "False"}
    assert "models/classifier.py" in mixed.just("lineage", "1", "second")


def test_the_project_s_own_tests_take_every_model_of_it(mixed):
    done = mixed.run("uv", "run", "pytest", "-q", *OF_ROWS)

    assert done.returncode == 0, done.stdout[-4000:]


def test_a_change_of_one_model_s_parameters_makes_that_model_again_and_no_other(mixed):
    path = mixed.folder / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("leaves: 4", "leaves: 5"), encoding="utf-8")
    said = mixed.just("retrain").splitlines()

    assert "second: fit" in said
    assert not {"classifier: fit", "jobs: fit", "image_classifier: fit"} & set(said)


def test_one_model_that_fails_leaves_the_others_as_they_are_and_is_told(mixed):
    models, params = mixed.folder / "src" / "mixed" / "models", mixed.folder / "params.yaml"
    whole, before = (models / "classifier.py").read_text(encoding="utf-8"), params.read_text(encoding="utf-8")
    (models / "broken.py").write_text(whole.replace("losses, metrics", "_, metrics"), encoding="utf-8")
    params.write_text(before + "  another:\n    module: broken\n", encoding="utf-8")
    try:
        done = mixed.run("uv", "run", "just", "retrain")
        assert done.returncode == 1
        assert "models/broken.py lacks losses" in done.stdout + done.stderr
    finally:
        params.write_text(before, encoding="utf-8")
