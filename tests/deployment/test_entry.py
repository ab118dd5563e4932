"""What entry scripts do around their main."""

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.parametrize("lines", [2, 100_000])
def test_output_that_is_not_read_to_its_end_is_no_error(lines):
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from deployment import entry
        entry.run(lambda argv: print("line\\n" * {lines}, end=""))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def run(*command):
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_no_error(flag):
    done = run("convert_dataset.py", flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: convert_dataset.py [--flag=value ...]\n")
    assert "tracebacks, too. (default: 0)" in done.stdout


def test_the_full_help_of_absl_still_works():
    assert "--flagfile" in run("convert_dataset.py", "--helpfull").stdout
