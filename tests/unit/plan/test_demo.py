"""The command that makes a folder with the workflow; tests of the wheel run it."""

from __future__ import annotations

import sys
import tomllib

import pytest

from circuitlapse.errors import ConfigError, UnknownNameError
from circuitlapse.plan import demo


@pytest.fixture
def project(tmp_path):
    """A workflow of one file, as the wheel would hold it."""
    folder = tmp_path / "project"
    (folder / "workflow").mkdir(parents=True)
    (folder / demo.SNAKEFILE).write_text("new")
    (folder / "config").mkdir()
    for name in ("config", "smoke"):
        (folder / f"config/{name}.yaml").touch()
    return folder


@pytest.mark.parametrize("empty", [False, True])
def test_a_new_or_empty_folder_gets_the_workflow(project, tmp_path, empty):
    folder = tmp_path / "a/b"
    if empty:
        folder.mkdir(parents=True)
    demo.make_folder(folder, project)
    assert (folder / demo.SNAKEFILE).read_text() == "new"


def test_a_folder_that_has_the_workflow_stays_as_it_is(project, tmp_path):
    demo.make_folder(tmp_path / "mine", project)
    (tmp_path / "mine" / demo.SNAKEFILE).write_text("changed")
    (tmp_path / "mine/config/smoke.yaml").unlink()
    demo.make_folder(tmp_path / "mine", project)
    assert (tmp_path / "mine" / demo.SNAKEFILE).read_text() == "changed"
    assert not (tmp_path / "mine/config/smoke.yaml").exists()


def test_a_folder_with_other_files_or_a_file_is_refused(project, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").touch()
    for path in (tmp_path / "other", tmp_path / "other/thesis.tex"):
        with pytest.raises(ConfigError, match=r"has files, but no workflow/Snakefile; name a new"):
            demo.make_folder(path, project)


def test_a_checkout_says_what_to_run_there(tmp_path):
    with pytest.raises(ConfigError, match="run `make demo` in it"):
        demo.make_folder(tmp_path / "mine", tmp_path / "not there")
    assert not (tmp_path / "mine").exists()


def test_the_configuration_is_one_of_the_folder(project):
    default = demo.snakemake(project, "config", "2")
    assert default[-4:] == ["--cores", "2", "--workflow-profile", "workflow/profiles/local"]
    assert demo.snakemake(project, "smoke", "8")[-2:] == ["--configfile", "config/smoke.yaml"]
    with pytest.raises(UnknownNameError, match="did you mean 'smoke'"):
        demo.snakemake(project, "smok", "2")


def test_the_command_reports_a_mistake_in_one_line(project, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "make_folder", lambda folder: None)
    monkeypatch.setattr(sys, "argv", ["circuitlapse", "demo", "--config", "foo", str(project)])
    with pytest.raises(SystemExit, match=r"^UnknownNameError: unknown configuration 'foo'"):
        demo.main()


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "1\n"])
def test_a_wrong_number_of_cores_is_refused_before_a_folder_is_made(text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["circuitlapse", "demo", f"--cores={text}"])
    with pytest.raises(SystemExit):
        demo.main()
    assert "expected a whole number of at least 1, or all" in capsys.readouterr().err


def test_a_bad_configuration_is_refused_before_snakemake_starts(project, tmp_path, monkeypatch):
    (project / "config/config.yaml").write_text("seed: !!int 0x")
    (project / "config/smoke.yaml").write_text("seed: 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "make_folder", lambda folder: None)
    monkeypatch.setattr(sys, "argv", ["circuitlapse", "demo", "--config", "smoke", str(project)])
    with pytest.raises(SystemExit, match="'0x' is no int"):
        demo.main()


def test_the_list_of_files_has_what_the_workflow_names(root):
    """`pyproject.toml` has the only list; what is not in it is missing in the folder."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    targets = {source: f"circuitlapse/{demo.PROJECT.name}/{source}" for source in wheel}
    assert wheel == targets
    assert all((root / source).exists() for source in wheel)
    assert {"workflow", "scripts", "config", "envs", "Makefile"} <= wheel.keys()
