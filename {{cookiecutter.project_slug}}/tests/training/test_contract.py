"""A wrong block of params.yaml is refused in one line that names the key."""

from dataclasses import dataclass, fields
from importlib import import_module
from types import SimpleNamespace

import pandas as pd
import pandera.pandas as pa
import pytest
import yaml
from pydantic import PositiveFloat

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
contract = import_module(f"{PACKAGE}.training.contract")
params = import_module(f"{PACKAGE}.training.params")
table_module = import_module(f"{PACKAGE}.datasets.table")


@dataclass(frozen=True)
class Params:
    """Parameters of a module of some team."""

    rate: float = 0.1
    positive: PositiveFloat = 1.0
    rounds: int = 3
    word: str = ""
    fast: bool = False


def refusal(monkeypatch, name, block):
    """Return what is said of a block of params.yaml."""
    monkeypatch.setattr(contract, "model_blocks", lambda names: {name: block})
    with pytest.raises(package.Refused) as refused:
        contract.load_models([name])
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def params_yaml(project):
    """The copy's params.yaml, which is put back afterwards."""
    path = project / "params.yaml"
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_an_unknown_parameter_is_named(params_yaml, model):
    params_yaml.write_text(f"models:\n  {model.name}:\n    rubbish: 1\n", encoding="utf-8")

    with pytest.raises(package.Refused, match=f"params.yaml: {model.name} has an unknown key 'rubbish'"):
        contract.load_models([])


def test_a_number_that_yaml_takes_for_text_is_written_as_yaml_takes_it(monkeypatch, model):
    monkeypatch.setattr(model.module, "Params", Params)
    for text, number in [("1e-3", "0.001"), ("1e-10", "1.0e-10"), ("5e20", "5.0e+20")]:
        assert yaml.safe_load(number) == float(text)
        assert refusal(monkeypatch, model.name, {"rate": text}).endswith(f": YAML reads that as text, write {number}")
    assert "YAML" not in refusal(monkeypatch, model.name, {"rate": "fast"})


@pytest.mark.parametrize("value", ["1e-3", None, True, float("nan"), float("inf")])
def test_a_parameter_of_another_kind_is_named(monkeypatch, model, value):
    field = next((each for each in fields(model.params) if isinstance(each.default, float)), None)
    block = {field.name: value} if field else pytest.skip("no parameter is a float")

    assert refusal(monkeypatch, model.name, block).startswith(f"params.yaml: {model.name}: {field.name} is {value!r}")


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"rubbish": 1}, " has an unknown key 'rubbish': use fast, positive, rate, rounds, word"),
        ({"rate": "1e-3"}, ": rate is '1e-3', but input should be a valid number"),
        ({"rate": float("nan")}, ": rate is nan, but input should be a finite number"),
        ({"rate": float("-inf")}, ": rate is -inf, but input should be a finite number"),
        ({"positive": -1}, ": positive is -1, but input should be greater than 0"),
        ({"rounds": 2.5}, ": rounds is 2.5, but input should be a valid integer"),
        ({"rounds": True}, ": rounds is True, but input should be a valid integer"),
        ({"word": 7}, ": word is 7, but input should be a valid string"),
        ({"fast": 1}, ": fast is 1, but input should be a valid boolean"),
        ({"fast": "False"}, ": fast is 'False', but input should be a valid boolean"),
        ({"table": "nowhere"}, " learns from table 'nowhere', but data.py has ["),
        ({"module": "no body"}, " names module 'no body', which is no file in src/*/models/"),
        ({"module": 1}, " names module 1, which is no file in src/*/models/"),
        ({"target": "nothing"}, " predicts 'nothing', but table "),
        ({"target": 1}, ": target is 1, but input should be a valid string"),
        ({"slices": ["nothing"]}, " slices by 'nothing', which is no column of "),
        ({"slices": "nothing"}, ": slices is 'nothing', but input should be a valid "),
        ({"gate": 1}, ": gate is 1, but input should be "),
    ],
)
def test_what_a_block_may_not_say_is_named(monkeypatch, block, words):
    monkeypatch.setattr(contract, "load_module", lambda name: SimpleNamespace(Params=Params))

    assert refusal(monkeypatch, "any", block).startswith(f"params.yaml: any{words}")


def test_a_whole_number_is_a_number_and_what_is_not_given_has_its_default(monkeypatch):
    monkeypatch.setattr(contract, "load_module", lambda name: SimpleNamespace(Params=Params))
    monkeypatch.setattr(contract, "model_blocks", lambda names: {"any": {"rate": 1, "slices": None, "gate": None}})
    model = contract.load_model("any")

    assert (model.params.rate, model.params.rounds, model.slices, model.gate) == (1.0, 3, [], {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "names no model: it needs a block under `models:` for each"),
        ("models: 1\n", "names no model: it needs a block under `models:` for each"),
        ("models: {}\n", "names no model: it needs a block under `models:` for each"),
        ("models: [\n", "params.yaml cannot be read: .*line 2, column 1"),
        ("models:\n  one: 1\n", "one must be a block of `key: value` lines"),
        ("models:\n  one:\n  two:\n", "say which model: one, two"),
        ("models:\n  ../one:\n", "'../one' cannot name a model: use letters, digits, _ and -, a letter first"),
        ("models:\n  1:\n", "'1' cannot name a model"),
    ],
)
def test_a_file_that_names_no_models_is_refused(params_yaml, content, words):
    params_yaml.write_text(content, encoding="utf-8")

    with pytest.raises(package.Refused, match=words):
        params.single_name([])


def test_blocks_of_one_module_are_models_of_their_own_and_a_target_is_no_feature_of_any(monkeypatch):
    names = ["key", "size", "price", "late"]
    schema = pa.DataFrameSchema({name: pa.Column(int) for name in names})
    rows = pd.DataFrame({name: range(4) for name in names})
    table = table_module.Table("sales", lambda: rows, schema, "price", "key", targets=("late",))
    blocks = {"first": {"module": "one", "rounds": 5}, "second": {"module": "one", "target": "late"}, "one": {}}
    made = {"one": SimpleNamespace(Params=Params)}
    monkeypatch.setattr(contract, "load_module", made.get)
    monkeypatch.setattr(contract, "model_blocks", lambda names: blocks)
    monkeypatch.setattr(contract, "TABLES", [table])
    first, second, one = contract.load_models([])

    assert first.module is second.module is one.module
    assert [each.params.rounds for each in (first, second, one)] == [5, 3, 3]
    assert [each.table.target for each in (first, second, one)] == ["price", "late", "price"]
    assert first.table.features == second.table.features == ["size"]
    assert [each.name for each in second.inputs(second.table.rows())] == ["size"]
    assert len({each.files.folder for each in (first, second, one)}) == 3


def test_a_further_target_that_is_missing_in_a_row_is_bad_data():
    schema = pa.DataFrameSchema({name: pa.Column(float, nullable=True) for name in ("key", "price", "late")})
    rows = pd.DataFrame({"key": [1.0, 2.0], "price": [1.0, 2.0], "late": [1.0, None]})
    table = table_module.Table("sales", lambda: rows, schema, "price", "key", targets=("late",))

    with pytest.raises(package.Refused, match=r"late: missing, though it is .*target"):
        table.rows()


def test_an_unknown_model_is_named():
    with pytest.raises(package.Refused, match=r"params\.yaml has no model 'nobody', only "):
        contract.load_model("nobody")
