"""The structure of the project: who may import whom, and how long anything may be.

Every floor imports only from floors below it, never from beside it.
"""

import ast
import pathlib
from collections.abc import Iterator

import conftest
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOOR_0 = {"tf_slim_compat", "checked_json", "remote_files"}
ABOVE = ("datasets", "nets", "preprocessing", "deployment")
FOLDERS = ("tf_slim_compat", "remote_files", *ABOVE)
PACKAGES = {*FOLDERS, *FLOOR_0}
# A module beside the entry scripts: like them, it may import everything.
TOP_MODULE = "slim_estimator.py"
ENTRY_SCRIPTS = sorted(
    {path.name for path in ROOT.glob("*.py") if path.stem not in {"setup", *PACKAGES}}
    - {TOP_MODULE}
)
PYTHON_PLACES = (*FOLDERS, "checked_json.py", TOP_MODULE, *ENTRY_SCRIPTS)
OTHER_PLACES = ("tests", "benchmarks", "scripts")
ALLOWED = {
    "checked_json.py": {"checked_json"},
    "tf_slim_compat": {"tf_slim_compat"},
    "remote_files": {"checked_json", "remote_files"},
    "datasets": {"tf_slim_compat", "checked_json", "remote_files", "datasets"},
    "nets": {"tf_slim_compat", "nets"},
    "preprocessing": {"tf_slim_compat", "preprocessing"},
    "deployment": {"tf_slim_compat", "checked_json", "remote_files", "deployment"},
}
# The folders in deployment/, each with those that it may import from, besides itself
# and the modules beside these folders.
ALLOWED_IN_DEPLOYMENT = {
    "models": set(),
    "tasks": {"models"},
    "optimize": {"models"},
    "predict": {"models", "tasks", "quantize"},
    "formats": {"models", "tasks", "predict", "quantize"},
    "classify": {"models", "tasks", "predict", "formats"},
    "evaluate": {"models", "tasks", "quantize"},
    "train": {"models", "tasks", "optimize", "evaluate", "quantize", "cluster"},
    "inspect": {"models", "quantize"},
    "recipes": {"models", "tasks", "train"},
    "compare": {"models"},
    "quantize": set(),
    "cluster": set(),
}
# The modules directly in deployment/ that may import from folders.
ALLOWED_AT_THE_TOP = {"remote.py": {"cluster"}, "settings.py": {"models"}}
MOST_LINES_IN_A_FILE = 400
MOST_LINES_IN_A_FUNCTION = 60
MOST_LINES_IN_A_NETWORK = 80
MOST_LINES_IN_MAIN = 40


def list_sources(*places: str) -> list[pathlib.Path]:
    """Returns the Python files at these places of the project."""
    found = []
    for place in places:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert found
    return found


def list_imports(path: pathlib.Path) -> Iterator[str]:
    """Yields the dotted names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def list_functions(path: pathlib.Path) -> Iterator[ast.FunctionDef]:
    """Yields every function of a file, nested ones included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


def list_public_functions(
    node: ast.Module | ast.ClassDef,
) -> Iterator[tuple[ast.FunctionDef, bool]]:
    """Yields public functions and methods, each with whether it is a method."""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from list_public_functions(child)
        elif isinstance(child, ast.FunctionDef) and (
            not child.name.startswith("_") or child.name in ("__init__", "__call__")
        ):
            yield child, isinstance(node, ast.ClassDef)


def is_annotated(function: ast.FunctionDef, is_method: bool) -> bool:
    """Whether all arguments and the result have a type; `__init__` returns nothing."""
    found = function.args
    is_static = any(
        isinstance(d, ast.Name) and d.id == "staticmethod"
        for d in function.decorator_list
    )
    places = [*found.posonlyargs, *found.args][int(is_method and not is_static) :]
    arguments = [*places, *found.kwonlyargs, found.vararg, found.kwarg]
    has_result = function.returns is not None or function.name == "__init__"
    return has_result and all(a.annotation for a in arguments if a is not None)


def count_code_lines(function: ast.FunctionDef, lines: list[str]) -> int:
    """Returns the lines of a function without docstring, comments and blank lines."""
    body = range(function.lineno, function.end_lineno + 1)
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        body = [n for n in body if not first.lineno <= n <= first.end_lineno]
    stripped = (lines[number - 1].strip() for number in body)
    return sum(bool(line) and not line.startswith("#") for line in stripped)


@pytest.mark.parametrize("place", ALLOWED)
def test_floors_import_only_from_below(place):
    on_top = {pathlib.Path(name).stem for name in (*ENTRY_SCRIPTS, TOP_MODULE)}
    own = PACKAGES | on_top
    for path in list_sources(place):
        tops = {name.split(".")[0] for name in list_imports(path)}
        foreign = own.intersection(tops) - ALLOWED[place]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_the_folders_in_deployment_are_layers():
    root = ROOT / "deployment"
    folders = {path.parent.name for path in root.glob("*/__init__.py")}
    assert folders == set(ALLOWED_IN_DEPLOYMENT)
    for path in root.rglob("*.py"):
        place = path.relative_to(root).parts[0]
        allowed = {place, *ALLOWED_IN_DEPLOYMENT.get(place, ())}
        if path.parent == root:
            allowed |= ALLOWED_AT_THE_TOP.get(path.name, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                foreign = folders.intersection(node.module.split(".")) - allowed
                assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"
        for name in list_imports(path):
            top, _, rest = name.partition(".")
            used = {rest.split(".")[0]} if top == "deployment" else set()
            foreign = used & folders - allowed
            assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_only_the_compat_package_imports_tensorflow():
    """It must come first, to hold back what TensorFlow prints while it loads."""
    for path in list_sources(*ABOVE):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in getattr(node, "names", ())]
            names.append(getattr(node, "module", None) or "")
            assert not any(name.split(".")[0] == "tensorflow" for name in names), (
                path.relative_to(ROOT)
            )


def test_only_entry_scripts_touch_flags():
    for path in list_sources(*FOLDERS, TOP_MODULE):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert "FLAGS" not in names, path.relative_to(ROOT)


@pytest.mark.parametrize("script", ENTRY_SCRIPTS)
def test_main_fits_on_a_screen(script):
    (main,) = (f for f in list_functions(ROOT / script) if f.name == "main")
    assert main.end_lineno - main.lineno < MOST_LINES_IN_MAIN


def test_files_are_short():
    counts = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for path in list_sources(*PYTHON_PLACES, *OTHER_PLACES)
    }
    assert not {p: n for p, n in counts.items() if n > MOST_LINES_IN_A_FILE}


def test_functions_are_short():
    long = []
    for path in list_sources(*PYTHON_PLACES, *OTHER_PLACES):
        is_network = path.is_relative_to(ROOT / "nets")
        most = MOST_LINES_IN_A_NETWORK if is_network else MOST_LINES_IN_A_FUNCTION
        lines = path.read_text().splitlines()
        for function in list_functions(path):
            count = count_code_lines(function, lines)
            if count > most:
                long.append(f"{path.relative_to(ROOT)} {function.name}: {count} lines")
    assert not long


def test_public_functions_are_annotated():
    bare = []
    for path in list_sources(*PYTHON_PLACES):
        for function, is_method in list_public_functions(ast.parse(path.read_text())):
            if not is_annotated(function, is_method):
                bare.append(f"{path.relative_to(ROOT)} {function.name}")
    assert not bare


def test_files_that_the_suite_treats_apart_exist():
    for path in (*conftest.SPREAD, *conftest.NOT_QUICK):
        assert (ROOT / path).is_file(), path
