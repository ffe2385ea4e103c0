import base64
import hashlib
import re

import pytest

from circuitlapse.explorer import bundle
from circuitlapse.explorer.bundle import MODULES, page, script, source
from circuitlapse.explorer.packing import decompressed

HOSTILE = {"title": "</script><b>{{style}}</b>"}
PAGE = page(HOSTILE)


def hash_of(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_data_come_back_from_the_page_whatever_is_in_them():
    (text,) = re.findall(r'<script type="text/plain" id="data">(.*?)</script>', PAGE)
    assert decompressed(text) == HOSTILE
    assert "<b>" not in PAGE


def test_the_policy_allows_the_style_and_the_script_of_the_page_and_nothing_from_elsewhere():
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', PAGE)
    (style,) = re.findall(r"<style>(.*?)</style>", PAGE, re.DOTALL)
    (code,) = re.findall(r'<script type="module">(.*?)</script>', PAGE, re.DOTALL)
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src '{hash_of(style)}'" in policy
    assert f"script-src '{hash_of(code)}'" in policy
    assert "unsafe" not in policy
    assert re.findall(r'(?:src|href)="(?!data:)', PAGE) == []
    assert set(re.findall(r"https?://[\w./]+", PAGE)) == {"http://www.w3.org/2000/svg"}


def test_text_is_set_as_text():
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script()) == []


def test_every_file_of_the_page_is_used_and_small():
    folder = bundle.files(bundle.__package__) / "page"
    found = {file.name for file in folder.iterdir()}
    assert found == {f"{name}.js" for name in MODULES} | {"page.html", "style.css"}
    assert all(len(source(name).splitlines()) <= 400 for name in found)


def test_a_module_that_imports_what_is_not_there_is_refused(monkeypatch):
    texts = {"a.js": "export const one = 1;\n", "b.js": 'import { two } from "./a.js";\n'}
    monkeypatch.setattr(bundle, "MODULES", ("a", "b"))
    monkeypatch.setattr(bundle, "source", texts.__getitem__)
    with pytest.raises(ValueError, match=r"b.js imports \['two'\], which a.js lacks"):
        script()


def test_modules_become_functions_that_return_what_they_export(monkeypatch):
    texts = {
        "a.js": "let kept = 0;\nexport async function one() {}\n",
        "b.js": 'import { one } from "./a.js";\none();\n',
    }
    monkeypatch.setattr(bundle, "MODULES", ("a", "b"))
    monkeypatch.setattr(bundle, "source", texts.__getitem__)
    assert script() == (
        "const $a = (() => {\nlet kept = 0;\nasync function one() {}\nreturn { one };\n})();\n"
        "const $b = (() => {\nconst { one } = $a;\none();\nreturn {  };\n})();"
    )
