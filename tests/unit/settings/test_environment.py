"""What a wrong variable of the environment says, and that it never repeats a secret."""

import os
import subprocess
import sys

import pytest

from circuitlapse.errors import ConfigError
from circuitlapse.settings.environment import check_environment, problems_of

WRONG = {
    "HF_ENDPOINT": [
        *(
            "",
            "huggingface.co",
            "ftp://sesame@hub",
            "https://",
            "https://lab:sesame@",
            "https://a b",
        ),
        *("https://hub:99999", "https://hub:sesame", "https://[::1", "https://hub?token=sesame"),
        *("https://hub\nsesame", "https://lab:ses/ame@hub"),
    ],
    "HF_TOKEN": ["hf_ sesame", "hf_sesame\n", "hf_sesam\u00e9", "https://sesame", " "],
    "HF_HUB_DOWNLOAD_TIMEOUT": [
        "",
        "0",
        "-1",
        "1.5",
        "nan",
        "inf",
        "ten",
        "1e3",
        "9" * 50,
        "\u00b2",
    ],
    "HF_HUB_ETAG_TIMEOUT": ["soon", " 5"],
    "HF_HUB_OFFLINE": ["ja", "2"],
    "https_proxy": ["ftp://sesame@proxy", "http://", "http://proxy:port"],
}
RIGHT = {
    "HF_ENDPOINT": ["https://huggingface.co", "http://lab:pass%2F@127.0.0.1:8000/mirror/"],
    "HF_TOKEN": ["", "hf_abc"],
    "HF_HUB_DOWNLOAD_TIMEOUT": ["1", "10", "3600"],
    "HF_HUB_OFFLINE": ["", "0", "1", "True", "YES"],
    "HTTPS_PROXY": ["", "proxy:3128", "http://lab:pass@proxy:3128", "socks5://proxy"],
}


@pytest.mark.parametrize(("name", "value"), [(name, one) for name in WRONG for one in WRONG[name]])
def test_a_wrong_variable_is_named_and_its_secret_is_not(name, value):
    (line,) = problems_of({name: value})
    assert line.startswith(f"environment: {name}: expected ")
    assert ", found " in line
    assert not any(part in line for part in ("sesam", "ame@"))
    assert line.isprintable()
    assert len(line) < 200


@pytest.mark.parametrize(("name", "value"), [(name, one) for name in RIGHT for one in RIGHT[name]])
def test_a_right_variable_is_accepted(name, value):
    check_environment({name: value})


def test_all_problems_are_in_one_message():
    wrong = {name: values[0] for name, values in WRONG.items()}
    with pytest.raises(ConfigError) as error:
        check_environment(wrong)
    assert len(str(error.value).splitlines()) == len(wrong)


def test_without_a_hub_only_what_breaks_an_import_matters():
    assert [*problems_of({"HF_ENDPOINT": "", "HF_HUB_OFFLINE": "ja"}, hub=False)] == []
    assert len([*problems_of({"HF_HUB_ETAG_TIMEOUT": "x"}, hub=False)]) == 1


def test_the_library_says_it_instead_of_failing_in_an_import():
    done = subprocess.run(
        [sys.executable, "-c", "import circuitlapse.hub"],
        env=os.environ | {"HF_HUB_DOWNLOAD_TIMEOUT": "ten"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ConfigError: environment: HF_HUB_DOWNLOAD_TIMEOUT: expected" in done.stderr
