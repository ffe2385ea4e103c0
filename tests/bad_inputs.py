"""Inputs that must be refused with one clear message: how to make each, and what is said.

`BAD_INPUTS` lists them. A test of one is `refused(case, folder)`, which returns the message.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from circuitlapse.config import load_config
from circuitlapse.config.__main__ import checked
from circuitlapse.errors import CircuitlapseError

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
    """Make an input in an empty folder, use it, and return the message of its refusal."""
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
    "too many entries": (b"seed: [" + 100_000 * b"1," + b"]", "at most 10000 keys and values"),
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
    "a list 10000 deep": ("seed=" + 10_000 * "[", "--config: seed = '[[[["),
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
        from snakemake.cli import parse_config
        from snakemake.utils import update_config

        merged = yaml.safe_load(BASE)
        update_config(merged, parse_config([text]))
        return load_config(merged, [Path("base.yaml")])

    return load


_TEXTS = {name: (holding(USER, text), words) for name, (text, words) in YAML_TEXTS.items()}
BAD_INPUTS = [
    BadInput(f"configuration: {name}", _on_base(make), _check, (f"{USER}: ", words))
    for name, (make, words) in {**NO_FILES, **_TEXTS}.items()
] + [
    BadInput(f"--config: {name}", holding("base.yaml", BASE), _with_arguments(text), (words,))
    for name, (text, words) in COMMAND_LINES.items()
]
