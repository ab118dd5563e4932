"""How training reads its dataset."""

import pytest

from deployment.config_flags import SettingError
from deployment.train.input_config import InputConfig


def test_values_are_checked():
    assert InputConfig() == InputConfig(False, "stop")
    with pytest.raises(SettingError, match="on_bad_record must be stop or skip"):
        InputConfig(on_bad_record="ignore")
