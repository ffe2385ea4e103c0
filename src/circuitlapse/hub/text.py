"""Running text from a dataset of the hub."""

from __future__ import annotations

from itertools import islice

from circuitlapse.errors import HubError
from circuitlapse.hub.refusals import described
from circuitlapse.io.corpus import BLANK_LINES


def dataset_texts(dataset: str, *, n_documents: int, min_letters: int) -> list[str]:
    """Return the first documents of a dataset that are long enough, without blank lines.

    Only as much is downloaded as is read, so nothing of it is in a cache, and a dataset of the hub
    cannot be read with `HF_HUB_OFFLINE=1`. `HF_ENDPOINT`, `HF_HOME` and tokens are those of the
    `datasets` library; no code of the dataset is run.

    Args:
        dataset: its name on the hub, or a folder of files; the split is `train`.
        n_documents: so many at most.
        min_letters: shorter ones are passed over.

    Raises:
        HubError: if it cannot be read, has no column `text`, or no document is long enough. Its
            message has no token, and no address with credentials or a signature.
    """
    from datasets import load_dataset

    try:
        rows = load_dataset(dataset, split="train", streaming=True)
        texts = (BLANK_LINES.sub("\n", str(row["text"])).strip() for row in rows)
        found = list(islice((text for text in texts if len(text) >= min_letters), n_documents))
    except KeyError as error:
        raise HubError(
            f"dataset {dataset}: has no column {error}; expected a column text"
        ) from None
    except Exception as error:  # the library raises whatever its many parts raise
        raise HubError(
            f"dataset {dataset}: cannot be read ({described(error)}); without a network, name a "
            "text file in heads.text, or run the target `models` first where there is one"
        ) from None
    if not found:
        raise HubError(f"dataset {dataset}: no document has {min_letters} letters or more")
    return found
