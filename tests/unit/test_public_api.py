import subprocess
import sys

import pytest

import circuitlapse


@pytest.mark.parametrize("name", circuitlapse.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name):
    assert getattr(circuitlapse, name).__doc__


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_modl'"):
        circuitlapse.load_modl  # noqa: B018


def test_importing_the_package_does_not_import_torch():
    code = "import sys, circuitlapse; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
