"""What several tests share: where the reference facts and the photographs lie."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
REFERENCE = pathlib.Path(os.environ.get("REFERENCE_DIR", SHARED / "reference"))
SATELLITE = pathlib.Path(
    os.environ.get("SATELLITE_DIR", SHARED / "data" / "satellite" / "train")
)

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the reference facts are not here (REFERENCE_DIR)"
)
needs_satellite = pytest.mark.skipif(
    not SATELLITE.is_dir(),
    reason="the satellite photographs are not here (SATELLITE_DIR)",
)
