"""The user's own files are read before the first job."""

import io
import json

import pytest

from circuitlapse.pocket import check_files
from circuitlapse.pocket.check_files import main, problems
from circuitlapse.pocket.corpus import make_documents
from circuitlapse.types import MIN_PROMPTS

TEXT = "\n\n".join(make_documents(20, corpus_seed=0))
HEAD = "clean,corrupted,correct,wrong"


@pytest.fixture(autouse=True)
def _made_once(tokenizer, monkeypatch):
    monkeypatch.setattr(check_files, "make_pocket_tokenizer", lambda: tokenizer)


def asked_of(
    tmp_path, *, first="So Mary is,So John is, she, he", text=TEXT, n_mean=20, tokenizer=None
):
    rows = [f"So {name} is,So John is, she, he" for name in ("Mary", "Sarah") * MIN_PROMPTS]
    (tmp_path / "mine.csv").write_text("\n".join([HEAD, first, *rows]))
    (tmp_path / "text.txt").write_text(text)
    task = {"name": "mine", "file": str(tmp_path / "mine.csv"), "metric": "logit_diff"}
    task |= {"n_prompts": None, "seed": 0, "prepend_bos": False}
    needs = {"n_mean": n_mean, "n_documents": 2, "n_positions": 61}
    about = {"path": str(tmp_path / "text.txt"), **needs}
    return {"tokenizer": tokenizer, "tasks": [task], "text": about}


def test_good_files_pass(tmp_path):
    assert problems(asked_of(tmp_path)) == []
    assert problems(asked_of(tmp_path) | {"text": None}) == []


def test_each_file_that_cannot_be_used_is_one_sentence(tmp_path):
    word, text = problems(asked_of(tmp_path, first="Xyzzy is,So John is, she, he", n_mean=21))
    assert word.startswith(f"task mine: {tmp_path}/mine.csv: ")
    assert "line 2:" in word
    assert "Xyzzy" in word
    assert text.startswith(f"{tmp_path}/text.txt: found 20 documents of at least heads.n_positions")
    assert "expected heads.n_mean = 21" in text


def test_documents_without_blank_lines_are_one(tmp_path):
    joined = TEXT.replace("\n\n", "\n")
    (text,) = problems(asked_of(tmp_path, text=joined))
    assert "found 1 documents" in text


def test_a_tokenizer_in_a_file_is_read(tmp_path, tokenizer):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    assert problems(asked_of(tmp_path, tokenizer=str(path))) == []
    path.write_text("{")
    (found,) = problems(asked_of(tmp_path, tokenizer=str(path)))
    assert found.startswith(f"{path}: ")


def test_the_command_prints_and_fails_only_for_a_problem(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked_of(tmp_path))))
    main()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked_of(tmp_path, n_mean=21))))
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().out.count("\n") == 1
