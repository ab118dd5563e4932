"""A few kills, power cuts and full disks; `fault_cases.py` runs any number of them."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent

# Replaces a file, with and without syncs, and tells what faults make of it.
SELF_TEST = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
import faults, power_cuts
base = pathlib.Path(sys.argv[2])

def replace(folder, is_synced):
    partial, path = folder / ".a.partial", folder / "a"
    with open(partial, "w") as file:
        file.write("new content")
        file.flush()
        if is_synced:
            os.fsync(file.fileno())
    os.rename(partial, path)
    if is_synced:
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

def run(name, is_synced=False, **options):
    folder, grave = base / name, base / f"{name}.grave"
    folder.mkdir(), grave.mkdir()
    (folder / "a").write_text("old content")
    journal = base / f"{name}.journal"
    fault = faults.Fault(folder, journal=journal, grave=grave, **options)

    def work():
        fault.arm()
        try:
            replace(folder, is_synced)
        except OSError as error:
            return error.errno

    status = faults.fork(base / "log", work)
    return status, folder, grave, power_cuts.read_journal(journal)

status, folder, _, journal = run("whole")
print(status, (folder / "a").read_text(), *(o.kind for o in journal))
for kill_at in (2, 3):
    status, folder, _, _ = run(f"kill{kill_at}", kill_at=kill_at, tear=True)
    print(status, (folder / "a").read_text(), sorted(os.listdir(folder)))
print((folder / ".a.partial").read_text())
status, folder, _, _ = run("disk", budget=5)
print(status, (folder / "a").read_text(), (folder / ".a.partial").read_text())
for is_synced in (False, True):
    found = set()
    for seed in range(30):
        _, folder, grave, journal = run(f"cut{is_synced}{seed}", is_synced)
        power_cuts.cut_power(folder, grave, journal, seed)
        found.add((folder / "a").read_text().rstrip("\\0"))
    print("old content" in found, "new content" in found, len(found) > 2)
"""


@pytest.fixture(scope="module")
def preloaded():
    sys.path.insert(0, str(HERE))
    try:
        import faults
    finally:
        sys.path.remove(str(HERE))
    library = faults.build_library()
    if library is None:
        pytest.skip("needs a C compiler")
    return {**os.environ, "LD_PRELOAD": str(library)}


def run(preloaded, *arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=preloaded, capture_output=True, text=True)


def test_faults_do_what_they_say(preloaded, tmp_path):
    done = run(preloaded, "-c", SELF_TEST, HERE, tmp_path)
    assert done.stdout.splitlines() == [
        "0 new content create write rename",
        "-9 old content ['.a.partial', 'a']",
        "-9 old content ['.a.partial', 'a']",
        "new content",
        "28 old content new c",
        # Without syncs a power cut leaves the old, the new, or a damaged file.
        "True True True",
        "False True False",
    ], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count", "stride"), [("kills", 8, 53), ("cuts", 2, 1), ("disks", 6, 1)]
)
def test_nothing_is_lost(preloaded, tmp_path, kind, count, stride):
    program = HERE / "fault_cases.py"
    numbers = (f"--count={count}", f"--stride={stride}", "--jobs=1")
    done = run(preloaded, program, kind, *numbers, f"--output={tmp_path / 'cases'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} ok, 0 failed" in done.stdout
