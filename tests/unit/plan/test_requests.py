"""Memory that jobs request."""

from circuitlapse.plan.requests import VERIFYING, loading_mb, memory_mb


def test_a_retry_gets_more_memory_for_all_but_snakemake():
    assert memory_mb(1000, 1) == 1350
    assert memory_mb(1000, 2) == 2350


def test_memory_for_models_is_that_of_the_largest_as_far_as_they_exist(tmp_path):
    for name, mb in (("small", 1), ("large", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(bytes(mb * 2**20))
    folders = [tmp_path / name for name in ("small", "large", "missing")]
    assert loading_mb(folders) == 6
    assert loading_mb(folders, VERIFYING) == 8
    assert loading_mb(folders[2:]) == 0
