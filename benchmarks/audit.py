"""How long the audit of a large study takes, on a hub of this machine that answers at once.

python benchmarks/audit.py [--repos 7] [--steps 140]

The hub is the one of the tests. The first audit lists every revision, the second only asks which
commit each one is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.fake_hub import FakeHub  # noqa: E402


def main() -> None:
    """Print seconds and requests of both audits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--repos", type=int, default=7)
    parser.add_argument("--steps", type=int, default=140)
    asked = parser.parse_args()
    hub = FakeHub()
    os.environ |= {"HF_ENDPOINT": hub.address, "NO_PROXY": "127.0.0.1,localhost"}
    from circuitlapse.hub.audit import Asked, Listings, audit
    from circuitlapse.hub.retry import RetryPolicy

    places = []
    for repo in (f"lab/model-{n}" for n in range(asked.repos)):
        for step in range(asked.steps):
            hub.add(repo, f"step{step}", {"model.safetensors": f"{repo} {step}".encode()})
            places.append(Asked(repo, step, repo, f"step{step}", "step{step}"))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first", "second"):
            hub.requests.clear()
            start = time.perf_counter()
            audit(places, Listings.at(Path(folder) / "listings.json"), RetryPolicy())
            seconds = time.perf_counter() - start
            n_requests = len(hub.asked("/api/models/*"))
            print(f"{name}: {len(places)} revisions, {n_requests} requests, {seconds:.1f} s")
    hub.close()


if __name__ == "__main__":
    main()
