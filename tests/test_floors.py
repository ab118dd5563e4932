"""Who may import whom: every floor only from below, never from beside."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Parts of tf_slim_compat, from which alone they are imported.
FLOOR_0 = {"tf_slim_compat", "slim_batch_norm", "slim_moving_averages"}
PACKAGES = {"datasets", "deployment", "nets", "preprocessing", *FLOOR_0}
ENTRY_SCRIPTS = sorted(
    path.name for path in ROOT.glob("*.py") if path.stem not in {"setup", *PACKAGES}
)
ALLOWED = {
    **{f"{name}.py": FLOOR_0 for name in sorted(FLOOR_0)},
    "datasets": {"tf_slim_compat", "datasets"},
    "nets": {"tf_slim_compat", "nets"},
    "preprocessing": {"tf_slim_compat", "preprocessing"},
    "deployment": {"tf_slim_compat", "deployment"},
}
# The folders in deployment/, each with those from which it may import besides itself
# and what all of them share.
ALLOWED_IN_DEPLOYMENT = {
    "models": set(),
    "tasks": {"models"},
    "optimize": {"models"},
    "predict": {"models", "tasks"},
    "formats": {"models", "tasks", "predict"},
    "evaluate": {"models", "tasks"},
    "train": {"models", "tasks", "optimize", "evaluate"},
    "inspect": {"models"},
    "compare": {"models"},
}
# The modules directly in deployment/ that may import from folders.
ALLOWED_AT_THE_TOP = {"settings.py": {"models"}}


def imports_of(path):
    """The first parts of what a file imports, of this project."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


@pytest.mark.parametrize("place", ALLOWED)
def test_floors_import_only_from_below(place):
    root = ROOT / place
    files = [root] if root.is_file() else sorted(root.rglob("*.py"))
    assert files
    own = PACKAGES | {pathlib.Path(name).stem for name in ENTRY_SCRIPTS}
    for path in files:
        foreign = own.intersection(imports_of(path)) - ALLOWED[place]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_the_folders_in_deployment_are_layers():
    root = ROOT / "deployment"
    folders = {path.parent.name for path in root.glob("*/__init__.py")}
    assert folders == set(ALLOWED_IN_DEPLOYMENT)
    for path in root.rglob("*.py"):
        place = path.parent.name
        allowed = {place, *ALLOWED_IN_DEPLOYMENT.get(place, ())}
        if path.parent == root:
            allowed |= ALLOWED_AT_THE_TOP.get(path.name, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                foreign = folders.intersection(node.module.split(".")) - allowed
                assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_tensorflow_is_loaded_by_the_compat_module_alone():
    """It holds back what TensorFlow prints as it loads, if it is the first to."""
    for package in ("datasets", "nets", "preprocessing", "deployment"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text()).body:
                names = [alias.name for alias in getattr(node, "names", ())]
                names.append(getattr(node, "module", None) or "")
                assert not any(name.split(".")[0] == "tensorflow" for name in names), (
                    path.relative_to(ROOT)
                )


def test_only_entry_scripts_touch_flags():
    for package in ("datasets", "nets", "preprocessing", "deployment"):
        for path in (ROOT / package).rglob("*.py"):
            names = {
                n.id
                for n in ast.walk(ast.parse(path.read_text()))
                if isinstance(n, ast.Name)
            }
            assert "FLAGS" not in names, path.relative_to(ROOT)


@pytest.mark.parametrize("script", ENTRY_SCRIPTS)
def test_main_fits_on_a_screen(script):
    functions = [
        node
        for node in ast.parse((ROOT / script).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "main"
    ]
    (main,) = functions
    assert main.end_lineno - main.lineno < 40
