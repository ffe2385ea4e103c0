"""Pictures and times of the explorer, from the explorer.html of a finished `make demo`.

    python benchmarks/explorer.py results/explorer.html --pictures docs    draw those of the pages
    python benchmarks/explorer.py results/explorer.html                    measure it

It needs Chromium, as the tests do: `make browser`.
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

WIDTH = 880
"""Width of the pictures, in pixels."""
COLOURS = 128
"""Colours of a picture: its text stays sharp, and its file small."""
SETTLED_MS, PASSING_MS = 850, 140
"""How long the film shows a step, and the change to it."""
LAST_MS = 2500
VIEW = "#task=ioi"
STILLS = {
    "explorer_compare": f"{VIEW}&compare=step&other={{first}}",
    "explorer_head": f"{VIEW}&pick=a3.h0",
}
"""Pictures of docs/explorer.md besides the film -> their view."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser of the system, or else that of Playwright."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def opened(browser: Browser, path: Path, view: str) -> Page:
    """Open the page at a view, on a screen of 1280 pixels."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(path.resolve().as_uri() + view)
    page.wait_for_selector("body[data-ready]")
    return page


def picture(page: Page, height: int) -> Image.Image:
    """Return the upper part of the page with few colours."""
    shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": 1280, "height": height})
    whole = Image.open(io.BytesIO(shot)).convert("RGB")
    small = whole.resize((WIDTH, round(height * WIDTH / 1280)), Image.Resampling.LANCZOS)
    return small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def film(page: Page) -> tuple[list[Image.Image], list[int]]:
    """Return the pictures of a film through all steps, and how long each is shown in ms."""
    height = int(page.evaluate("document.querySelector('#legend').getBoundingClientRect().bottom"))
    steps = page.locator("#slider .tick").count()
    pictures, times = [], []
    for _ in range(steps):
        page.wait_for_timeout(60)
        pictures.append(picture(page, height + 10))
        page.wait_for_timeout(500)
        pictures.append(picture(page, height + 10))
        times += [PASSING_MS, SETTLED_MS]
        page.keyboard.press("ArrowRight")
    return pictures, [*times[:-1], LAST_MS]


def draw(browser: Browser, path: Path, folder: Path) -> None:
    """Write the film, its last picture, and the other pictures of docs/explorer.md."""
    pictures, times = film(opened(browser, path, f"{VIEW}&step=0"))
    first, *others = pictures
    first.save(folder / "explorer.gif", save_all=True, append_images=others, duration=times, loop=0)
    pictures[-1].save(folder / "explorer.png", optimize=True)
    for name, view in STILLS.items():
        page = opened(browser, path, VIEW)
        ticks = page.locator("#slider .tick.there title").all_text_contents()
        step = ticks[0].split(" ")[1].replace(",", "")
        page = opened(browser, path, view.format(first=step))
        page.wait_for_timeout(500)
        picture(page, 1120).save(folder / f"{name}.png", optimize=True)


FRAMES = """() => new Promise((done) => {
  const times = [];
  let last = performance.now();
  const next = (now) => {
    times.push(now - last);
    last = now;
    times.length < 240 ? requestAnimationFrame(next) : done(times);
  };
  document.getElementById("play").click();
  requestAnimationFrame(next);
})"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def measure(browser: Browser, path: Path) -> None:
    """Print the size of the page, when it is there, and the time of a frame while it plays."""
    start = time.perf_counter()
    page = opened(browser, path, f"{VIEW}&most=500")
    ready = time.perf_counter() - start
    edges = page.locator(".edge").count()
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    print(f"first paint after {page.evaluate(PAINT):.0f} ms, all drawn after {1000 * ready:.0f} ms")
    frames = page.evaluate(FRAMES)
    slow = quantiles(frames, n=20)[-1]
    print(f"{edges} edges: a frame takes {median(frames):.1f} ms, one in 20 over {slow:.0f} ms")


def main() -> None:
    """Do what the module docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("page", type=Path, help="explorer.html of a finished run")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw pictures there")
    asked = parser.parse_args()
    with chromium() as browser:
        if asked.pictures:
            draw(browser, asked.page, asked.pictures)
        else:
            measure(browser, asked.page)


if __name__ == "__main__":
    main()
