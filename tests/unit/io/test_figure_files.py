from matplotlib.figure import Figure

from circuitlapse.io.figure_files import write_figure


def test_every_target_is_written_in_the_format_of_its_ending(tmp_path):
    targets = [str(tmp_path / name) for name in ("a.pdf", "a.png")]
    write_figure(Figure(figsize=(1, 1)), targets)
    starts = [(tmp_path / name).read_bytes()[:4] for name in ("a.pdf", "a.png")]
    assert starts == [b"%PDF", b"\x89PNG"]
    assert len(list(tmp_path.iterdir())) == 2
