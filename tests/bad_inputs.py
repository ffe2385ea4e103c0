"""Inputs that must be refused with one clear message: how to make each, and what is said.

`BAD_INPUTS` lists them. A test of one is `refused(case, folder)`, which returns the message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import save
from snakemake.cli import parse_config
from snakemake.utils import update_config
from tokenizers import Tokenizer, models, pre_tokenizers

from circuitlapse.config import load_config
from circuitlapse.config.__main__ import checked
from circuitlapse.errors import CircuitlapseError
from circuitlapse.io.corpus_files import read_documents, refuse_short_text
from circuitlapse.models.load import load_decoder
from circuitlapse.tasks.custom import build_custom_task

Make = Callable[[Path], None]
BASE = b"""
steps: [0, 10]
models: [{name: tiny, train: {layers: 2, heads: 2, d_model: 32}}]
training: {phases: [{steps: 30}], save_steps: [0, 10, 20]}
tasks: [{name: ioi}]
"""
USER = "user.yaml"


@dataclass(frozen=True)
class BadInput:
    """An input that must be refused.

    Attributes:
        name: of the case.
        make: puts it into a folder.
        use: uses it in the current folder, as a user would.
        words: that the message must hold.
    """

    name: str
    make: Make
    use: Callable[[], object]
    words: tuple[str, ...]


def refused(case: BadInput, folder: Path) -> str:
    """Use an input in a folder, and return the message of its refusal; make it in an empty one."""
    if not any(folder.iterdir()):
        case.make(folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        case.use()
    except CircuitlapseError as error:
        return str(error)
    except SystemExit as error:
        return str(error.code)
    finally:
        os.chdir(before)
    raise AssertionError(f"{case.name}: expected a refusal, found none")


def holding(name: str, content: bytes) -> Make:
    """Return what writes a file into a folder."""
    return lambda folder: bool((folder / name).write_bytes(content)) or None


def sparse(name: str, size: int) -> Make:
    """Return what makes a file of NULs that takes no room on the disk."""

    def make(folder: Path) -> None:
        with (folder / name).open("wb") as stream:
            stream.truncate(size)

    return make


def _laughs(line: str, first: str = "x") -> bytes:
    """Return YAML in which each of nine anchors holds the one before nine times."""
    lines = [f"a: &a {line.format(','.join(9 * [first]))}"]
    for one, other in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{other}: &{other} {line.format(','.join(9 * [f'*{one}']))}")
    return "\n".join(lines).encode()


def _with_model(keys: str) -> bytes:
    shape = "layers: 2, heads: 2, d_model: 32"
    return f"models: [{{name: a, train: {{{shape}}}, {keys}}}]".encode()


YAML_TEXTS: dict[str, tuple[bytes, str]] = {
    "a date that is none": (b"results: 2026-99-99", "'2026-99-99' is no timestamp"),
    "a tagged date": (b"results: !!timestamp 2026-99-99", "'2026-99-99' is no timestamp"),
    "a text as date": (b"results: !!timestamp soon", "'soon' is no timestamp"),
    "an empty hexadecimal number": (b"seed: !!int 0x", "'0x' is no int"),
    "an empty number": (b"seed: !!int ''", "'' is no int"),
    "a text as number": (b"seed: !!float much", "'much' is no float"),
    "a text as truth": (b"seed: !!bool perhaps", "'perhaps' is no bool"),
    "a text as mapping": (b"seed: !!map foo", "line 1, column 7"),
    "a list as text": (b"seed: !!str [a]", "line 1, column 7"),
    "a number of 5000 digits": (b"seed: " + 5000 * b"9", "999...' is no int"),
    "a number of 4000 digits": (b"seed: " + 4000 * b"9", "is too large a number"),
    "a number to the base 60": (b"seed: " + b":".join(3000 * [b"1"]), "is too large a number"),
    "an infinite count": (b"seed: .inf", "seed = Infinity must be a whole number"),
    "a count that is no number": (b"seed: .nan", "seed = NaN must be a whole number"),
    "bytes that are none": (b"results: !!binary aGk", "failed to decode base64"),
    "bytes": (b"results: !!binary aGk=", "results ="),
    "a set": (b"results: !!set {a}", "results ="),
    "code": (b"results: !!python/object/apply:os.system [true]", "could not determine"),
    "an open list 100000 deep": (b"seed: " + 100_000 * b"[", "at most 50 levels"),
    "a list 100000 deep": (b"seed: " + 100_000 * b"[" + 100_000 * b"]", "at most 50 levels"),
    "a mapping 3000 deep": (3000 * b"{a: " + b"1" + 3000 * b"}", "at most 50 levels"),
    "a list in itself": (b"seed: &a [*a]", "stands inside of what it names"),
    "a mapping in itself": (b"circuits: &a {b: *a}", "stands inside of what it names"),
    "a key in itself": (b"? &a [*a]\n: 1", "stands inside of what it names"),
    "lists that explode": (_laughs("[{}]"), "at most 10000 keys and values"),
    "merged mappings that explode": (
        _laughs("{{<<: [{}]}}", "{x: 1}"),
        "at most 10000 keys and values",
    ),
    "too many entries": (b"seed: [" + 30_000 * b"1," + b"]", "at most 10000 keys and values"),
    "too many unknown keys": (
        b"".join(b"k%d: 1\n" % n for n in range(4000)),
        "and more than these 50",
    ),
    "an unknown alias": (b"seed: *b", "undefined alias 'b'"),
    "a list as key": (b"? [a, b]\n: 1", "unhashable key"),
    "a key that is null": (b"null: 1", "None is not a known key"),
    "a key with the end of a line": (b'"a\\nb": 1', "a\\nb is not a known key"),
    "a very long key": (b"? " + 3000 * b"k" + b"\n: 1", "kkk... is not a known key"),
    "a key twice": (b"seed: 1\nseed: 2", "line 2, column 1, is not valid YAML: the key 'seed'"),
    "a tab": (b"\tseed: 1", "cannot start any token"),
    "two documents": (b"seed: 1\n---\nseed: 2", "another document"),
    "a list at the top": (b"- seed", "must be a mapping of keys"),
    "an empty file": (b"", "has no keys"),
    "only a comment": (b"# nothing", "has no keys"),
    "a raw NUL": (b"results: a\0b", "found the character '\\x00'"),
    "Latin-1": (b"results: \xe9", "is not UTF-8 text"),
    "UTF-16": ("results: x\n".encode("utf-16"), "is not UTF-8 text"),
    "half of a character": (b'results: "\\ud800"', "half of a character"),
    "NUL in a path": (b'results: "a\\0b"', "results = 'a\\x00b' holds a control character"),
    "the end of a line in a path": (b'results: "a\\nb"', "results = 'a\\nb' holds a control"),
    "colours of the terminal in a path": (b'results: "a\\eb"', "'a\\x1bb' holds a control"),
    "the end of a line in a name": (b'suite: "a\\n"', "suite = 'a\\n' must be"),
    "NUL in a label": (_with_model(r'label: "x\0y"'), "models[0].label = 'x\\x00y' holds"),
    "NUL in the path of prompts": (
        b'tasks: [{name: a, metric: logit_diff, file: "a\\0.csv"}]',
        "tasks[0].file = 'a\\x00.csv' holds a control character",
    ),
    "NUL in the path of a text": (b'heads: {text: "a\\0"}', "heads.text = 'a\\x00' holds"),
    "braces in a path": (b"results: 'a{b}'", "must be a path without braces"),
    "a variable that is not set": (b"results: $NO_SUCH_VARIABLE/a", "NO_SUCH_VARIABLE"),
    "a folder of results that is a file": (b"results: user.yaml", "user.yaml' is a file"),
}
"""Text of a configuration -> words of the message."""
NO_FILES: dict[str, tuple[Make, str]] = {
    "a folder": (lambda folder: (folder / USER).mkdir(), "must be a file, found a folder"),
    "a pipe": (lambda folder: os.mkfifo(folder / USER), "must be a file, found a pipe"),
    "a device": (lambda folder: (folder / USER).symlink_to("/dev/zero"), "found a device"),
    "a link to nothing": (
        lambda folder: (folder / USER).symlink_to("nowhere"),
        "found a link that leads nowhere",
    ),
    "a link to itself": (lambda folder: (folder / USER).symlink_to(USER), "that can be opened"),
    "nothing": (lambda _: None, "No such file"),
    "a file of 100 MB": (sparse(USER, 100 * 2**20), "must have at most 256 kB"),
}
"""What stands in the place of a configuration."""


def _on_base(make: Make) -> Make:
    def both(folder: Path) -> None:
        (folder / "base.yaml").write_bytes(BASE)
        make(folder)

    return both


def _check() -> object:
    return checked([Path("base.yaml"), Path(USER)])


COMMAND_LINES: dict[str, tuple[str, str]] = {
    "a list in itself": ("seed=&a [*a]", "--config: seed = '&a [*a]' must be"),
    "lists that explode": (f"tasks={{{_laughs('[{}]').decode().replace(chr(10), ', ')}}}", "10000"),
    "a list 200 deep": ("seed=" + 200 * "[", "--config: seed = '[[[["),
    "an inner list 1000 deep": ("circuits={a: '" + 1000 * "[" + "'}", "circuits.a is not a known"),
    "a date that is none": ("seed=2026-99-99", "--config: seed = '2026-99-99' must be"),
    "a number of 5000 digits": ("seed=" + 5000 * "9", "--config: seed = "),
    "the end of a line in a path": ("results=a\n\nb", "results = 'a\\nb' holds a control"),
    "bytes that are not UTF-8": ("results=a\udcff", "--config: results = 'a\\udcff' is not UTF-8"),
    "an empty value": ("results=", "--config: results = null must be"),
}
"""What stands behind `--config` -> words of the message."""


def _with_arguments(text: str) -> Callable[[], object]:
    """Return what loads the configuration as Snakemake does, by its own parsing and merging."""

    def load() -> object:
        merged = yaml.safe_load(BASE)
        update_config(merged, parse_config([text]))
        return load_config(merged, [Path("base.yaml")])

    return load


HEAD = "clean,corrupted,correct,wrong\n"
WORDS = ("[UNK]", "So", "Mary", "John", "is", "it", "she", "he", "<|endoftext|>")
ROW = "So Mary is,So John is,she,he\n"
ROWS = "".join(f"So {a} is {b},So {c} is {b},she,he\n" for a, c, b in product(*3 * [WORDS[1:5]]))


def _rows(*bad: str, head: str = HEAD) -> bytes:
    """Return a CSV file with good rows before some bad ones."""
    good = [row + "\n" for row in ROWS.splitlines() if len(set(row.split(",")[:2])) == 2]
    return "".join([head, *good, *(f"{row}\n" for row in bad)]).encode()


def _json_rows(**changes: object) -> bytes:
    row = {"clean": "So Mary is", "corrupted": "So John is", "correct": "she", "wrong": "he"}
    return (20 * (json.dumps(row | changes) + "\n")).encode()


def _parquet(folder: Path, columns: dict[str, pa.Array]) -> None:
    pq.write_table(pa.table(columns), folder / "mine.parquet")


PROMPTS: dict[str, tuple[str, bytes | Make, str]] = {
    "an empty file": ("csv", b"", "line 1 must name the columns"),
    "only a header": ("csv", HEAD.encode(), "has 0 prompt pairs"),
    "three rows": ("csv", (HEAD + 3 * ROW).encode(), "has 3 prompt pairs"),
    "no header": ("csv", (20 * ROW).encode(), "line 1 must name the columns"),
    "semicolons": ("csv", _rows(head=HEAD.replace(",", ";")), "not ';'"),
    "a column twice": ("csv", _rows(head="clean," + HEAD), "the column clean twice"),
    "an open quote": ("csv", _rows('"So'), "has 1 cells"),
    "a cell too few": ("csv", _rows("So,Mary,is"), "has 3 cells, but line 1 names 4"),
    "a huge cell": ("csv", _rows("S" * 200_000 + ",a,b,c"), "field larger"),
    "a NUL": ("csv", _rows("So\0 Mary,So John,she,he"), "clean holds NUL"),
    "Latin-1": ("csv", HEAD.encode() + b"\xe9,a,b,c", "is not UTF-8 text"),
    "UTF-16": ("csv", HEAD.encode("utf-16"), "is not UTF-8 text"),
    "an empty prompt": ("csv", _rows(" ,So John,she,he"), "clean is empty"),
    "equal prompts": ("csv", _rows("So Mary,So Mary,she,he"), "are the same"),
    "a space at the end": ("csv", _rows("So Mary ,So John,she,he"), "ends in a space"),
    "an answer that is right and wrong": ("csv", _rows("So Mary,So John,he,he"), "'he' is among"),
    "no answer": ("csv", _rows("So Mary,So John,,he"), "is 0 tokens"),
    "an unknown word": ("csv", _rows("So Xyzzy,So John,she,he"), "does not know: 'Xyzzy'"),
    "prompts of unequal length": ("csv", _rows("So Mary is,So John,she,he"), "equally long"),
    "an answer of two tokens": ("csv", _rows("So Mary,So John,she is,he"), "is 2 tokens"),
    "a special token as answer": (
        "csv",
        _rows("So Mary,So John,<|endoftext|>,he"),
        "is a special or unknown token",
    ),
    "one group": ("csv", (HEAD + 20 * ROW).encode(), "has only twins"),
    "a file of 2 GB": ("csv", sparse("mine.csv", 2**31), "must have at most 1024 MB"),
    "an unknown end": ("txt", b"So", "that ends in .csv or"),
    "a prompt that is a number": ("jsonl", _json_rows(clean=1), "clean must be text, found 1"),
    "answers that are numbers": ("jsonl", _json_rows(wrong=[1]), "wrong must be text like"),
    "a group that is a list": ("jsonl", _json_rows(group=[1]), "group must be text or"),
    "half of a character": ("jsonl", _json_rows(clean="\ud800"), "half of a character"),
    "half of a character in an answer": ("jsonl", _json_rows(wrong=["\udfff"]), "wrong holds"),
    "a line nested too deeply": ("jsonl", 20 * (9999 * b"[" + b"\n"), "line 1: cannot be read"),
    "a number of 5000 digits": ("jsonl", 20 * (5000 * b"9" + b"\n"), "line 1: cannot be read"),
    "a line that is a list": ("jsonl", 20 * b"[1]\n", "must be an object like"),
    "lines that are no JSON": ("jsonl", 20 * b"{\n", "is not JSON"),
    "JSON without prompts": ("json", b'{"a": 1}', "must hold a list of prompts"),
    "JSON nested too deeply": ("json", 100_000 * b"[", "nested too deeply"),
    "JSON that ends early": ("json", b"[{", "is not JSON"),
    "an id that no tokenizer has": (
        "json",
        json.dumps(
            20 * [{"clean": "a b", "corrupted": "a c", "correct_idx": 10**20, "incorrect_idx": 1}]
        ).encode(),
        "expected the id of a token",
    ),
    "no Parquet": ("parquet", b"PAR1" + bytes(100) + b"PAR1", "cannot be read"),
    "Parquet that ends early": ("parquet", b"PAR1", "not a Parquet file"),
    "empty cells in Parquet": (
        "parquet",
        lambda folder: _parquet(folder, {name: pa.nulls(20) for name in HEAD.strip().split(",")}),
        "clean must be text, found None",
    ),
    "times in Parquet": (
        "parquet",
        lambda folder: _parquet(
            folder,
            {
                name: pa.array(20 * [10**14], type=pa.timestamp("s"))
                for name in HEAD.strip().split(",")
            },
        ),
        "cannot be read",
    ),
    **{
        name: ("csv", lambda folder, make=make: _elsewhere(make, folder, "mine.csv"), words)
        for name, make, words in (
            ("a folder", NO_FILES["a folder"][0], "found a folder"),
            ("a pipe", NO_FILES["a pipe"][0], "found a pipe"),
            ("a device", NO_FILES["a device"][0], "found a device"),
            ("a link to nothing", NO_FILES["a link to nothing"][0], "that leads nowhere"),
            ("nothing", NO_FILES["nothing"][0], "no such file"),
        )
    },
}
"""End of the name of a file of prompts, its content -> words of the message."""


def _elsewhere(make: Make, folder: Path, name: str) -> None:
    """Make what `NO_FILES` puts in the place of a configuration under another name."""
    make(folder)
    if os.path.lexists(folder / USER):
        (folder / USER).rename(folder / name)


def _tokenizer() -> Tokenizer:
    known = models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = Tokenizer(known)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def _build(suffix: str) -> Callable[[], object]:
    file = f"mine.{suffix}"
    return lambda: build_custom_task("mine", _tokenizer(), file=file, metric="logit_diff")


TEXTS: dict[str, tuple[bytes, str]] = {
    "an empty text": (b"", "found no text"),
    "only blank lines": (b"\n \n\n", "found no text"),
    "Latin-1": (b"\xe9", "not a readable text file in UTF-8"),
    "too few documents": (b"So Mary is\n\nSo", "found 1 documents of at least heads.n_positions"),
}
"""Text for heads -> words of the message."""


def _read_text() -> object:
    documents = read_documents("text.txt", _tokenizer())
    return refuse_short_text("text.txt", documents, n_mean=2, n_documents=1, n_positions=3)


NEOX = {
    "architectures": ["GPTNeoXForCausalLM"],
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 9,
}
MODELS: dict[str, tuple[dict[str, bytes | Make], str]] = {
    "nothing": ({}, "no config.json"),
    "no weights": ({"config.json": b"{}"}, "no model.safetensors"),
    "pickles": ({"config.json": b"{}", "pytorch_model.bin": b""}, "no model.safetensors"),
    "a configuration that is a list": ({"config.json": b"[]"}, "expected a mapping"),
    "a configuration nested too deeply": ({"config.json": 10**5 * b"["}, "nested too deeply"),
    "a configuration of NULs": ({"config.json": bytes(100)}, "not a readable JSON file"),
    "a configuration that is a folder": (
        {"config.json": lambda folder: (folder / "config.json").mkdir()},
        "found a folder",
    ),
    "a configuration that is a pipe": (
        {"config.json": lambda folder: os.mkfifo(folder / "config.json")},
        "found a pipe",
    ),
    "an unknown architecture": ({"config.json": b'{"architectures": ["Eliza"]}'}, "expected one"),
    **{
        f"{key} = {value!r:.20}": (
            {"config.json": json.dumps(NEOX | {key: value}).encode()},
            f"{key} is",
        )
        for key, value in (
            ("hidden_size", -1),
            ("hidden_size", "wide"),
            ("hidden_size", 10**300),
            ("num_hidden_layers", 10**9),
            ("num_attention_heads", 3),
            ("num_attention_heads", 0.5),
            ("vocab_size", None),
            ("architectures", 7),
        )
    },
    "empty weights": ({"model.safetensors": b""}, "not a readable safetensors file"),
    "random weights": ({"model.safetensors": bytes(range(256))}, "not a readable safetensors"),
    "a header of 10**18 bytes": (
        {"model.safetensors": (10**18).to_bytes(8, "little") + bytes(100)},
        "not a readable safetensors file",
    ),
    "a pointer of Git LFS": (
        {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"},
        "run `git lfs pull`",
    ),
    "weights of another model": (
        {"config.json": json.dumps(NEOX).encode()},
        "has no weight gpt_neox",
    ),
    "a tokenizer that is none": ({"tokenizer.json": b"{}"}, "not a readable tokenizer"),
    "a tokenizer nested too deeply": ({"tokenizer.json": 10**5 * b"["}, "not a readable tok"),
}
"""Files of a model folder that has a good configuration, and weights of another shape."""


def _model(files: dict[str, bytes | Make]) -> Make:
    def make(folder: Path) -> None:
        named = dict(files)
        if {"model.safetensors", "tokenizer.json"} & named.keys():
            named.setdefault("config.json", json.dumps(NEOX).encode())
        if "config.json" in named and named["config.json"] != b"{}":
            named.setdefault("model.safetensors", save({"a": np.zeros(3, dtype=np.float32)}))
        for name, content in named.items():
            if isinstance(content, bytes):
                (folder / name).write_bytes(content)
            else:
                content(folder)

    return make


def _load_model() -> object:
    return load_decoder(".")


_TEXTS = {name: (holding(USER, text), words) for name, (text, words) in YAML_TEXTS.items()}
BAD_INPUTS = [
    BadInput(f"configuration: {name}", _on_base(make), _check, (f"{USER}: ", words))
    for name, (make, words) in {**NO_FILES, **_TEXTS}.items()
] + [
    BadInput(f"--config: {name}", holding("base.yaml", BASE), _with_arguments(text), (words,))
    for name, (text, words) in COMMAND_LINES.items()
]
BAD_INPUTS += [
    BadInput(
        f"prompts: {name}",
        holding(f"mine.{suffix}", made) if isinstance(made, bytes) else made,
        _build(suffix),
        (f"mine.{suffix}", words),
    )
    for name, (suffix, made, words) in PROMPTS.items()
]
BAD_INPUTS += [
    BadInput(f"text: {name}", holding("text.txt", text), _read_text, ("text.txt", words))
    for name, (text, words) in TEXTS.items()
]
BAD_INPUTS += [
    BadInput(f"model: {name}", _model(files), _load_model, (words,))
    for name, (files, words) in MODELS.items()
]
