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
