"""What YAML may hold; `tests/bad_inputs.py` lists what it may not."""

import pytest
import yaml

from circuitlapse.config.yaml_text import (
    DEEPEST,
    LARGEST_KB,
    MOST_VALUES,
    parsed,
    read_yaml,
    refuse_unusable,
)
from circuitlapse.errors import ConfigError


def test_every_configuration_of_the_repository_is_read_as_by_the_library(root):
    for path in root.glob("config/*.yaml"):
        assert read_yaml(path) == yaml.safe_load(path.read_text())
        refuse_unusable(read_yaml(path))


def test_a_byte_order_mark_and_no_content_are_fine(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfseed: 1")
    (tmp_path / "b.yaml").write_bytes(b"")
    assert read_yaml(tmp_path / "a.yaml") == {"seed": 1}
    assert read_yaml(tmp_path / "b.yaml") is None


def test_anchors_and_merged_mappings_work():
    text = "a: &a {x: 1, y: [1]}\nb: {<<: *a, x: 2}\nc: [*a, *a]"
    assert parsed(text) == yaml.safe_load(text)


@pytest.mark.parametrize("n", [MOST_VALUES, MOST_VALUES + 1])
def test_what_an_alias_repeats_counts_every_time(n):
    """The mapping, two keys, two lists and an alias are six; the rest is in the lists."""
    inner = (n - 6) // 2
    text = f"a: &a [{','.join(inner * ['1'])}]\nb: [*a{(n - 6) % 2 * ',1'}]"
    if n > MOST_VALUES:
        with pytest.raises(ConfigError, match="at most 10000 keys and values"):
            parsed(text)
    else:
        refuse_unusable(parsed(text))


def test_limits_of_depth_agree():
    deep = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    refuse_unusable(parsed(deep))
    inside: list = []
    inside.append(inside)
    with pytest.raises(ConfigError, match="levels"):
        refuse_unusable(inside)
    with pytest.raises(ConfigError, match="levels"):
        parsed("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


def test_the_largest_file_is_read(tmp_path):
    text = b"seed: 1 #"
    (tmp_path / "a.yaml").write_bytes(text.ljust(1024 * LARGEST_KB, b"x"))
    assert read_yaml(tmp_path / "a.yaml") == {"seed": 1}
    (tmp_path / "a.yaml").write_bytes(text.ljust(1024 * LARGEST_KB + 1, b"x"))
    with pytest.raises(ConfigError, match="at most 256 kB"):
        read_yaml(tmp_path / "a.yaml")
