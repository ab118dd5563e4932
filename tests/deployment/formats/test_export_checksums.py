"""Exports have checksums, which are verified before they are opened."""

import pathlib
import shutil
import subprocess

import pytest

from deployment import formats
from deployment.models import checksums


def test_changed_exports_are_refused(exported, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(exported.folder, folder)
    for path in exported.paths.values():
        path = folder / pathlib.Path(path).name
        formats.open_predictor(str(path)).close()
        own = [path / name for name in ("saved_model.pb", "model.xml")]
        changed = next((file for file in own if file.exists()), path)
        content = bytearray(changed.read_bytes())
        content[len(content) // 2] ^= 1
        changed.write_bytes(content)
        message = f"^'{changed}' is damaged or was changed since its export, .* again"
        for opened in (path, changed, f"{path}/" if path.is_dir() else path):
            with pytest.raises(ValueError, match=message):
                formats.open_predictor(str(opened))
        if changed.name == "saved_model.pb":
            changed.rename(path / "saved_model.pbtxt")
            with pytest.raises(ValueError, match=f"^'{changed}' is missing since"):
                formats.open_predictor(str(path))


def test_the_file_is_that_of_sha256sum(exported, tmp_path):
    folder = pathlib.Path(exported.folder)
    if shutil.which("sha256sum"):
        command = ["sha256sum", "--check", "--strict", "--quiet", checksums.FILE_NAME]
        subprocess.run(command, cwd=folder, check=True)
