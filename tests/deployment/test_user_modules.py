"""User modules are imported from files and by name, once, with clear errors."""

import sys
from unittest import mock

import pytest

from deployment import user_modules


def test_a_file_is_imported_once_with_its_neighbors(tmp_path):
    (tmp_path / "my_layers_of_test.py").write_text("WIDTH = 3\n")
    path = tmp_path / "my_networks.py"
    path.write_text(
        "import sys, my_layers_of_test\n"
        "sys.user_module_loads = getattr(sys, 'user_module_loads', 0) + 1\n"
        "assert my_layers_of_test.WIDTH == 3\n"
    )
    try:
        assert user_modules.load([str(path)]) == (str(path),)
        assert user_modules.load([str(path), "json"]) == (str(path), "json")
        assert sys.user_module_loads == 1
    finally:
        del sys.user_module_loads
        sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.py", None, "no file"),
        ("no_such_package.nets", None, "No module named"),
        ("broken.py", "x = 1\nx +\n", "invalid syntax.*line 2"),
        ("fails.py", "\n\n1 / 0\n", "ZeroDivisionError: division by zero .line 3"),
    ],
)
def test_errors_name_the_module_and_the_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    name = str(tmp_path / name) if name.endswith(".py") else name
    with pytest.raises(ValueError, match=message) as error:
        user_modules.load([name])
    assert name in str(error.value)


def test_an_error_is_blamed_on_the_user_module_that_it_passed_through(
    tmp_path, monkeypatch
):
    path = tmp_path / "fails_later_of_test.py"
    path.write_text("def build():\n    return {}['units']\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # Restores the path at the end.
    with mock.patch.dict(user_modules._loaded), mock.patch.dict(sys.modules):
        user_modules.load([str(path)])
        with pytest.raises(KeyError) as raised:
            user_modules._loaded[str(path)].build()
        sentence = user_modules.blame(raised.value)
        assert user_modules.blame(ZeroDivisionError()) is None
    assert sentence.startswith(f"The user module {str(path)!r} failed: KeyError: ")
    assert "'units' (line 2)" in sentence
