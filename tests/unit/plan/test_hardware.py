import pytest

from circuitlapse.errors import UnknownNameError
from circuitlapse.plan.cost import PYTHIA_SHAPES, Work
from circuitlapse.plan.hardware import GPUS, Machine, find_gpu
from circuitlapse.settings.analysis import Compute


def test_a_job_takes_its_start_its_reading_and_the_slower_of_arithmetic_and_kernels():
    shape, machine = PYTHIA_SHAPES["70m"], Machine(per_second=1e12, memory_gb=80.0)
    assert machine.seconds(Work(5e12, 1.0, 3.0), shape) == pytest.approx(6 + 3 + 5)
    assert machine.seconds(Work(0.0, 1000.0), shape) == pytest.approx(6 + 1000 * 6 * 60 * 8e-6)


def test_a_machine_reaches_a_share_of_the_data_sheet():
    machine = Machine.of(GPUS["a100"], Compute())
    assert machine.per_second == pytest.approx(0.5 * 19.5e12)
    assert machine.memory_gb == 80
    assert GPUS["a100"].usable_gb == pytest.approx(0.93 * 80)


@pytest.mark.parametrize("how", [{"matmul": "tf32"}, {"dtype": "bfloat16"}])
def test_tensor_cores_count_where_they_are_used(how):
    fast = Machine.of(GPUS["a100"], Compute(**how))
    assert fast.per_second == pytest.approx(0.22 * 156e12)
    assert Machine.of(GPUS["v100"], Compute(**how)).per_second == pytest.approx(0.5 * 15.7e12)


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_is_found_by_its_name(name):
    assert find_gpu(name) is GPUS[name]


def test_an_unknown_gpu_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown GPU 'a10'; did you mean 'a100'"):
        find_gpu("a10")
