"""A model exported to all formats once, shared by the tests of formats."""

import dataclasses

import exported_models
import pytest

from deployment import formats
from deployment.formats import checking, exporting, freezing
from deployment.formats.base import ExportOptions


@dataclasses.dataclass(frozen=True)
class Exported:
    """The shared model: its configuration, images, folder, and format name to path."""

    config: freezing.ExportConfig
    model: freezing.FrozenModel
    samples: checking.Samples
    folder: object
    paths: dict


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    config = exported_models.make_config()
    path = exported_models.save_checkpoint(folder / "run" / "model.ckpt")
    model = freezing.freeze(config, path)
    samples = exported_models.read_samples(config, model, 6)
    options = ExportOptions(config.preprocessing_fn, samples.pixels)
    paths = exporting.export(
        model, str(folder / "out"), formats.list_formats(), options
    )
    return Exported(config, model, samples, folder / "out", paths)
