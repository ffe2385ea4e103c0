"""Hooks of MkDocs: pages from outside docs/, and links to files that are no pages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {
    "README.md": "index.md",
    "config/README.md": "configuration.md",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository -> the pages of the site made from them."""
SOURCES = {page: source for source, page in PAGES.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the addresses from `pyproject.toml`."""
    urls = tomllib.loads(Path("pyproject.toml").read_text())["project"]["urls"]
    config.repo_url = urls["Repository"]
    config.repo_name = urlsplit(config.repo_url).path.strip("/")
    config.site_url = urls["Documentation"]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=Path(source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Let links lead to pages of the site, or to the files of the repository."""
    here = page.file.src_uri
    source = SOURCES.get(here, join("docs", here))

    def link(found: re.Match[str]) -> str:
        target = normpath(join(dirname(source), found["path"]))
        if not Path(target).exists():  # an address, or a mistake that MkDocs reports
            return found[0]
        if target in PAGES or (target.startswith("docs/") and Path(target).is_file()):
            there = PAGES.get(target, target.removeprefix("docs/"))
            return f"]({relpath(there, dirname(here) or '.')}{found['heading'] or ''})"
        kind = "tree" if Path(target).is_dir() else "blob"
        return f"]({config.repo_url}/{kind}/main/{target}{found['heading'] or ''})"

    return re.sub(r"\]\((?P<path>[^)#\s]+)(?P<heading>#[^)]*)?\)", link, markdown)
