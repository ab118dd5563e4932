"""How training reads its dataset."""

import pytest

from deployment.config_flags import SettingError
from deployment.train.input_config import InputConfig


def test_values_are_checked():
    assert InputConfig() == InputConfig(False, "stop")
    with pytest.raises(SettingError, match="on_bad_record must be stop or skip"):
        InputConfig(on_bad_record="ignore")
    with pytest.raises(SettingError, match="cache must be auto, ram, disk or off"):
        InputConfig(cache="tape")


def test_images_that_another_process_reads_are_not_cached_here():
    assert InputConfig().list_reading_options()["cache"] == "auto"
    assert InputConfig().list_reading_options("grpc://host")["cache"] == "off"
    with pytest.raises(SettingError, match="cache=disk keeps images in this process"):
        InputConfig(cache="disk").list_reading_options("grpc://host")
