import json
import os
import subprocess
import sys
import textwrap

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from circuitlapse.errors import ArtifactError
from circuitlapse.io.corpus_files import read_documents, read_tokenizer
from circuitlapse.io.provenance import weights_hash
from circuitlapse.io.weight_files import read_fingerprint
from tests.fake_hub import FakeHub, Fault

RUN = """
    import runpy, sys
    from types import SimpleNamespace
    script, log, *outputs = sys.argv[1:]
    for revision, output in zip(("step1", "step1000"), outputs):
        source = {"repo": "lab/model", "revision": revision}
        params = SimpleNamespace(source=source, where={})
        given = {"params": params, "log": [log + revision]}
        given["config"] = {"checkpoints": {"longest_hours": 3}}
        given["input"] = SimpleNamespace(audited=log + "none")
        given["wildcards"] = SimpleNamespace(model="model", step=revision.removeprefix("step"))
        given = SimpleNamespace(**given, output=[output, output + ".h5"])
        try:
            runpy.run_path(script, {"snakemake": given})
        except SystemExit as error:
            print(error)
"""


@pytest.fixture
def small(random_folder):
    """A model of 100 kB and a tokenizer, as files by name."""
    names = ("config.json", "model.safetensors")
    files = {name: (random_folder / name).read_bytes() for name in names}
    return files | {"tokenizer.json": Tokenizer(WordLevel({"a": 0}, "a")).to_str().encode()}


def run(root, tmp_path, **environment):
    """Run the script as a user's shell would, for a step that is not there and one that is."""
    outputs = [str(tmp_path / "step1"), str(tmp_path / "step1000")]
    script = str(root / "scripts" / "fetch_step.py")
    command = [sys.executable, "-c", textwrap.dedent(RUN), script, f"{tmp_path}/logs/", *outputs]
    where = {"HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1,localhost"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        command, env=clean | where | environment, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def test_the_environment_says_where_the_hub_is_and_who_asks(root, small, tmp_path):
    hub = FakeHub()
    hub.add("lab/model", "step1000", small)
    hub.token, hub.gated = "hf_sesame", True
    hub.faults = [Fault("/api/*/step1000", status=429, headers={"Retry-After": "0"})]
    said = run(root, tmp_path, HF_ENDPOINT=hub.address, HF_TOKEN="hf_sesame")
    hub.close()
    port = f"127.0.0.1:{hub.port}"
    missing = f"HubError: lab/model: no revision 'step1' on {port}; nearest: step1000"
    assert missing in said
    assert "Traceback" not in said
    made = tmp_path / "step1000"
    assert (made / "model.safetensors").read_bytes() == small["model.safetensors"]
    logs = [(tmp_path / f"logs/{step}").read_text() for step in ("step1", "step1000")]
    assert missing in logs[0]
    assert "HTTP 429 Too Many Requests" in logs[1]
    assert "model.safetensors: " in logs[1]
    assert not (tmp_path / "step1").exists()
    assert not any("sesame" in text for text in (said, *logs))
    assert b"sesame" not in (made / "provenance.json").read_bytes()


def test_credentials_in_the_address_of_the_hub_stay_secret(root, small, tmp_path):
    hub = FakeHub()
    hub.add("lab/model", "step1000", small)
    hub.faults = [Fault("*/resolve/*", status=403)]
    said = run(root, tmp_path, HF_ENDPOINT=hub.address.replace("//", "//lab:sesame@"))
    hub.close()
    logs = [(tmp_path / f"logs/{step}").read_text() for step in ("step1", "step1000")]
    assert "denies access (HTTP 403 Forbidden)" in said
    assert not any("sesame" in text for text in (said, *logs))


def test_without_a_network_the_message_has_the_command_that_fills_the_cache(root, tmp_path):
    said = run(root, tmp_path, HF_HUB_OFFLINE="1")
    cache = tmp_path / "home" / "hub"
    assert f"HubError: lab/model at step1000 in the hub cache {cache}: not found" in said
    assert "hf download lab/model --revision step1000 --include '*.json'" in said
    assert "Traceback" not in said


def test_a_folder_is_a_source_too(run_script, small, tmp_path):
    lab, made = tmp_path / "lab", tmp_path / "step1"
    lab.mkdir()
    for name, content in small.items():
        (lab / name).write_bytes(content)
    params = {"source": {"folder": str(lab)}, "where": {"model": "m", "step": 1}}
    run_script("fetch_step", inputs={}, output=[made, tmp_path / "1.h5"], params=params)
    assert read_fingerprint(tmp_path / "1.h5").where == params["where"]
    assert weights_hash(made) == weights_hash(lab)
    origin = json.loads((made / "provenance.json").read_text())
    assert origin["settings"] == {"folder": str(lab)}
    tokenizer = tmp_path / "tokenizer.json"
    source = {"source": {"folder": str(lab)}}
    record = tmp_path / "provenance.json"
    run_script("take_tokenizer", inputs={}, output=[tokenizer, record], params=source)
    assert not tokenizer.is_symlink()
    assert tokenizer.read_bytes() == small["tokenizer.json"]
    assert json.loads(record.read_text())["settings"] == {"folder": str(lab)}
    read_tokenizer(tokenizer)
    flip_a_bit(tokenizer)
    with pytest.raises(ArtifactError, match="damaged: expected SHA-256"):
        read_tokenizer(tokenizer)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_in_a_fetched_text_is_found(run_script, tmp_path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "train.jsonl").write_text('{"text": "a b c d e f"}\n')
    params = {"dataset": str(tmp_path / "lab"), "n_documents": 1, "min_letters": 2}
    text, record = tmp_path / "text.txt", tmp_path / "provenance.json"
    run_script("fetch_text", inputs={}, output=[text, record], params=params)
    tokenizer = Tokenizer(WordLevel(dict(zip("? abcdef", range(8), strict=True)), "?"))
    assert len(read_documents(text, tokenizer)) == 1
    flip_a_bit(text)
    with pytest.raises(ArtifactError, match="damaged: expected SHA-256"):
        read_documents(text, tokenizer)
