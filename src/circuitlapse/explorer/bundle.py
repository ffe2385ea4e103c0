"""The page of the explorer: one HTML file with its style, its script and its data in it.

The browser is told to load nothing else: the policy of the page allows one style and one script,
by their hashes, and pictures that the page makes itself.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from circuitlapse.explorer.packing import compressed

MODULES = (
    "data",
    "dom",
    "view",
    "compare",
    "filter",
    "palette",
    "charts",
    "slider",
    "graph",
    "panel",
    "controls",
    "formats",
    "zip",
    "export",
    "main",
)
"""ES modules of the page; each comes after those that it imports."""
_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|const) (\w+))", re.MULTILINE)


def source(name: str) -> str:
    """Return the text of a file of the page, such as `main.js`."""
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def script() -> str:
    """Return all modules as one, so that the page needs one hash and no loader.

    Each module becomes a function that returns what it exports, so names in it stay its own.

    Raises:
        ValueError: if a module imports what no earlier module exports.
    """
    exported: dict[str, list[str]] = {}
    parts = []
    for module in MODULES:
        text = source(f"{module}.js")
        for names, origin in _IMPORT.findall(text):
            if missing := set(names.split(", ")) - set(exported.get(origin, [])):
                raise ValueError(f"{module}.js imports {sorted(missing)}, which {origin}.js lacks")
        exported[module] = [name for _, name in _EXPORT.findall(text)]
        body = _EXPORT.sub(r"\1", _IMPORT.sub(r"const { \1 } = $\2;\n", text))
        given = ", ".join(exported[module])
        parts.append(f"const ${module} = (() => {{\n{body}return {{ {given} }};\n}})();")
    return "\n".join(parts)


def page(document: Mapping[str, Any]) -> str:
    """Return the whole page as HTML.

    Args:
        document: what `run_data.document` returns.
    """
    style, code = source("style.css"), script()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(code)}'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    filling = {"policy": policy, "style": style, "script": code, "data": compressed(document)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: filling[match[1]], source("page.html"))


def _hash(text: str) -> str:
    """Return what a policy calls an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
