"""What no module may do with data from outside: run it, unpickle it, paste it into SQL or a page, name a file after it."""

import ast
import re
from pathlib import Path

import pytest

from tasks.models.settings import ModelSettings
from tasks.sql import quote_identifier, quote_literal, run
from tests.fuzz.material import ODD_IDS

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for folder in ("tasks", "flows") for path in (ROOT / folder).rglob("*.py"))
UNPICKLES = {"tasks/models/devices.py"}  # what the process that started it hands over, through its standard input
EXECUTES_SQL = {"tasks/sql.py", "tasks/audit/fill.py", "tasks/audit/source.py"}  # the audit quotes by tasks.sql


def calls():
    """(module, dotted name, keyword arguments) of each call."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.relative_to(ROOT).as_posix(), ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}


@pytest.mark.fault(
    "code, pickles and archives from outside", "every call in the source is looked at: eval, shells, pickle, unpacking, `trust_remote_code`"
)
def test_nothing_from_outside_is_run_or_unpickled():
    seen = set()
    for module, function, given in calls():
        last = function.rpartition(".")[2]
        seen.add(function)
        assert function not in ("eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load"), f"{module}: {function}"
        assert given.get("shell") != "True", f"{module}: {function} through a shell"
        assert given.get("allow_pickle", "False") == "False", f"{module}: {function}"
        assert function not in ("pickle.load", "pickle.loads", "joblib.load", "cloudpickle.loads") or module in UNPICKLES, module
        assert function != "torch.load" or given.get("weights_only") == "True", module
        assert function != "np.load" or given.get("allow_pickle") == "False", module
        assert last not in ("extractall", "unpack_archive"), f"{module}: {function} writes where an archive says"
        assert given.get("trust_remote_code", "False") != "True", f"{module}: {function}"
        assert function != "yaml.compose" or given.get("Loader") == "yaml.SafeLoader", module
    assert {"yaml.safe_load", "torch.load", "pickle.load"} <= seen, "the check sees no call"
    assert ModelSettings(path="x").trust_remote_code is False


@pytest.mark.fault("SQL pasted together", "every call in the source is looked at: who executes, who quotes")
def test_sql_is_executed_and_quoted_in_one_place():
    homes = {module for module, function, _ in calls() if function.rpartition(".")[2] in ("execute", "executemany")}
    assert homes <= EXECUTES_SQL, homes - EXECUTES_SQL
    doubled = {path.relative_to(ROOT).as_posix() for path in MODULES if """replace("'", "''")""" in path.read_text()}
    assert doubled == {"tasks/sql.py"}


@pytest.mark.fault("ids that look like SQL", "each as a literal, a column and a parameter")
@pytest.mark.parametrize("name", ODD_IDS[:-1])
def test_odd_ids_are_values_whatever_they_look_like(name):
    table = run(f"SELECT {quote_literal(name)} AS {quote_identifier(name)}, $name AS given", {}, {"name": name})
    assert table.to_pylist() == [{name: name, "given": name}]


@pytest.mark.fault("a page without escaping", "every template is looked at")
def test_pages_escape_what_they_are_given():
    templates = list(ROOT.rglob("tasks/report/*.j2"))
    assert templates
    for template in templates:
        for before in re.split(r"\|\s*safe\b", template.read_text())[:-1]:
            assert before.rstrip().endswith(("'", '"')), f"{template}: {before[-40:]}"  # constants of the template alone
        assert "autoescapefalse" not in template.read_text().replace(" ", ""), template
