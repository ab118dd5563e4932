"""Checksums of files in a folder."""

import hostile_graphs
import pytest
import tiny_models

from deployment import formats
from deployment.models import checksums, graph_freezing


def test_lines_of_sha256sum_are_read(tmp_path):
    path = tiny_models.write_frozen(tmp_path / "model.pb")
    digest = checksums._compute(path)
    for line in (f"{digest} *model.pb", f"{digest}  ./model.pb"):
        sums = tmp_path / "SHA256SUMS"
        sums.write_bytes(f"# other\n\xff\n{line}\n".encode("latin-1"))
        checksums.verify(path)
        sums.write_text(line.replace(digest, "0" * 64))
        with pytest.raises(ValueError, match="damaged or was changed"):
            checksums.verify(path)


def test_other_entries_are_kept(tmp_path):
    for name in ("a", "b", "ab"):
        (tmp_path / name).write_text(name)
    folder = str(tmp_path)
    checksums.write(folder, ["a", "b", "ab", "none"])
    (tmp_path / "a").write_text("new")
    checksums.forget(folder, ["a"])
    text = (tmp_path / "SHA256SUMS").read_text()
    assert [line[66:] for line in text.splitlines()] == ["ab", "b"]
    checksums.write(folder, ["a"])
    for name in ("a", "b", "ab"):
        checksums.verify(f"{folder}/{name}")
    # A folder without the file needs none.
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("a")
    checksums.verify(f"{folder}/sub/a")
    checksums.forget(f"{folder}/sub", ["a"])
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a"]


def test_freezing_replaces_the_checksum(tmp_path):
    hostile_graphs.write_graphs_to_freeze(tmp_path, tmp_path / "loot")
    path = tmp_path / "frozen.pb"
    path.write_bytes(b"older")
    checksums.write(str(tmp_path), ["frozen.pb"])
    graph_freezing.freeze(
        str(path),
        "scores",
        input_graph=f"{tmp_path}/graph.pb",
        input_checkpoint=f"{tmp_path}/model.ckpt",
    )
    formats.open_predictor(str(path)).close()
