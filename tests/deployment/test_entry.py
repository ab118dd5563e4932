"""What entry scripts do around their main."""

import os
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

# Runs an expression as the `main` of a script.
CODE = f"""if True:
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    from absl import flags
    from deployment import entry
    flags.DEFINE_integer("batch_size", 32, "Images.")
    expression = sys.argv.pop(1)
    entry.run(lambda argv: eval(expression))
"""


def run_expression(expression, *flags, tmp_path=None, redirection=""):
    command = [sys.executable, "-c", CODE, expression, *flags]
    return subprocess.run(
        f"{shlex.join(command)} {redirection}",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )


@pytest.mark.parametrize("lines", [2, 100_000])
def test_output_that_is_not_read_to_its_end_is_no_error(lines):
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, f"print('line\\n' * {lines}, end='')"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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


@pytest.mark.parametrize(
    "expression", ["{}['a\\x1b[2J']", "1 + 'a'", "(_ for _ in ()).throw(RuntimeError)"]
)
def test_a_fault_ends_in_one_sentence_and_a_file_to_report(expression, tmp_path):
    done = run_expression(expression, "--batch_size=7", tmp_path=tmp_path)
    (report,) = tmp_path.iterdir()
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
    assert "error: This is a fault of the program, not of its input (" in done.stderr
    assert f"please report it with the file {str(report)!r}" in done.stderr
    content = report.read_text()
    assert "Traceback (most recent call last)" in content
    assert "--batch_size=7\n" in content and "tensorflow: " in content


def test_the_traceback_of_a_fault_is_shown_on_demand_and_where_no_file_can_be(tmp_path):
    shown = run_expression("1 / 0", "--verbosity=1", tmp_path=tmp_path)
    assert "Traceback (most" in shown.stderr and "please report it" in shown.stderr
    code = "entry.faults.tempfile.__dict__.update(tempdir='/proc/no') or 1 / 0"
    assert "with what follows" in (told := run_expression(code).stderr)
    assert "Traceback (most" in told and "ZeroDivisionError" in told


def test_too_little_memory_has_a_remedy():
    done = run_expression("bytearray(1 << 60)")
    assert done.returncode == 1
    assert done.stderr.endswith(
        "error: The memory is not enough: lower --batch_size (32 now), or end "
        "other programs.\n"
    )


@pytest.mark.parametrize("lines", [1, 100_000])
def test_an_output_on_a_full_disk_is_an_error(lines):
    done = run_expression(f"print('line\\n' * {lines})", redirection="> /dev/full")
    assert done.returncode == 1
    assert done.stderr.endswith(
        "error: The standard output cannot be written: No space left on device.\n"
    )
    assert done.stderr.count("\n") == 1


def test_a_closed_output_is_no_error():
    done = run_expression("print('nowhere')", redirection=">&-")
    assert (done.returncode, done.stderr) == (0, "")
