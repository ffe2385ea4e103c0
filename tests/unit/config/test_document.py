"""The JSON schema and the tables of the pages follow the Python source."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from circuitlapse.config import load_config
from circuitlapse.config.document import (
    BEGIN,
    END,
    PAGES,
    REPAIR,
    SCHEMA,
    schema_text,
    with_text,
    write_all,
)
from circuitlapse.config.keys import json_schema, resolved
from circuitlapse.config.schema import Config
from circuitlapse.config.sources import merged_values, read_sources
from circuitlapse.errors import ConfigError


def leaves(node, where=()):
    """Yield every key with its node, through sections and lists."""
    for name, child in node["properties"].items():
        child = {"x-reruns": node.get("x-reruns")} | resolved(child)
        yield (*where, name), child
        inner = resolved(child.get("items", child))
        if "properties" in inner:
            yield from leaves(inner, (*where, name, 0) if "items" in child else (*where, name))


KEYS = dict(leaves(json_schema()))
MARK = BEGIN.format(REPAIR)


def test_the_schema_on_disk_is_up_to_date(root):
    on_disk = (root / SCHEMA).read_text(encoding="utf-8")
    assert on_disk == schema_text(), f"repair it with: {REPAIR}"


@pytest.mark.parametrize("path", PAGES)
def test_the_table_of_a_page_is_up_to_date(root, path):
    page = (root / path).read_text(encoding="utf-8")
    assert page == with_text(page, PAGES[path]()), f"repair it with: {REPAIR}"


def test_the_text_around_a_table_is_kept():
    page = f"before\n{MARK}\nstale row\n{END}\nafter\n"
    assert with_text(page, "new row\n") == f"before\n{MARK}\nnew row\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["", MARK, END, f"{END}\n{MARK}", f"{MARK}{END}{MARK}{END}"])
def test_a_page_needs_each_mark_once_and_in_order(page):
    with pytest.raises(ValueError, match=r"expected one line '<!-- begin: .*one line '<!-- end"):
        with_text(page, "row\n")


def test_writing_makes_the_schema_and_names_a_page_without_marks(tmp_path):
    for path in (SCHEMA, *PAGES):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{MARK}\n{END}\n")
    write_all(tmp_path)
    assert (tmp_path / SCHEMA).read_text() == schema_text()
    for path, table in PAGES.items():
        assert (tmp_path / path).read_text() == f"{MARK}\n{table()}{END}\n"
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match=r"^README\.md: expected"):
        write_all(tmp_path)


def test_the_module_prints_the_schema():
    command = [sys.executable, "-m", "circuitlapse.config"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert yaml.safe_load(printed) == json_schema()


@pytest.mark.parametrize(("files", "results"), [([], "results"), (["mine.yaml"], "elsewhere")])
def test_the_module_says_where_the_report_goes(root, tmp_path, files, results):
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "mine.yaml").write_text("results: elsewhere\n")
    command = [sys.executable, "-m", "circuitlapse.config", "--report", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{results}/report.html\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("my own.yaml", "seed: 1", None),
        ("absent.yaml", None, "absent.yaml: cannot be read: No such file or directory."),
        ("broken.yaml", "steps: [0", "broken.yaml: line 1, column 10, is not valid YAML: "),
        ("empty.yaml", "# seed: 1", "empty.yaml: has no keys; Snakemake refuses it, "),
        ("wrong.yaml", "seed: x", "wrong.yaml: seed = 'x' must be a whole number"),
    ],
)
@pytest.mark.parametrize("question", ["--check", "--report"])
def test_the_module_says_what_is_wrong_with_a_file(root, tmp_path, question, name, text, message):
    shutil.copytree(root / "config", tmp_path / "config")
    if text is not None:
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "circuitlapse.config", question, name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if message else 0)
    assert done.stderr.startswith(f"ConfigError: {message}" if message else "")
    assert len(done.stderr.splitlines()) == (1 if message else 0)


def test_the_example_of_errors_in_the_readme_is_what_one_gets(root, tmp_path, monkeypatch):
    readme = (root / "config/README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```text\n(.*?)\n```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shipped = (root / "config/config.yaml").read_text(encoding="utf-8")
    wrong = shipped.replace("\nsteps: [0, ", "\nsteps: [0, 3, ")
    mine = "circuits: {treshold: 0.9}"
    for path, text in (("config/config.yaml", wrong), ("my.yaml", mine)):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    files = [Path("config/config.yaml"), Path("my.yaml")]
    merged = merged_values(read_sources(files)) | {"seed": -7}
    with pytest.raises(ConfigError) as caught:
        load_config(merged, files)
    assert str(caught.value) == example


@pytest.mark.parametrize("where", KEYS, ids=lambda where: ".".join(map(str, where)))
def test_every_key_has_a_sentence_and_a_default_or_an_example(where):
    node = KEYS[where]
    assert node["description"].endswith(".")
    assert {"default", "x-otherwise", "examples"} & set(node)


@pytest.mark.parametrize("where", KEYS, ids=lambda where: ".".join(map(str, where)))
def test_every_key_that_is_no_section_says_what_runs_again(where):
    node = KEYS[where]
    is_section = "properties" in resolved(node.get("items", node))
    assert is_section or node["x-reruns"]


def test_the_readme_has_a_row_for_every_key_that_is_no_section(root):
    readme = (root / "config/README.md").read_text(encoding="utf-8")
    for where, node in KEYS.items():
        path = "".join("[]" if step == 0 else f".{step}" for step in where).removeprefix(".")
        is_section = "properties" in resolved(node.get("items", node))
        assert is_section or f"| `{path}` |" in readme


def test_the_shipped_files_obey_the_schema_by_an_independent_validator(root):
    validator = Draft202012Validator(json_schema())
    Draft202012Validator.check_schema(json_schema())
    config = yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8"))
    assert not list(validator.iter_errors(config))
    config["circuits"]["treshold"] = 1
    assert "treshold" in next(validator.iter_errors(config)).message


def test_examples_and_defaults_obey_the_schema_of_their_key():
    definitions = {"$defs": json_schema()["$defs"]}
    for node in KEYS.values():
        validator = Draft202012Validator(definitions | node)
        for value in (*node.get("examples", ()), *([node["default"]] if "default" in node else ())):
            assert not list(validator.iter_errors(value))


def test_no_field_is_without_description():
    sections = [Config]
    while sections:
        section = sections.pop()
        for field in section.model_fields.values():
            assert field.description
            kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
            sections += [kind for kind in kinds if isinstance(kind, type(Config))]


def test_importing_the_configuration_loads_no_numerical_library():
    heavy = "{'torch', 'numpy', 'pandas', 'matplotlib', 'h5py', 'transformer_lens'}"
    code = f"import sys, circuitlapse.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
