"""TransformerLens beside our own decoder: the notebook's model, and the judge of every other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from tokenizers import Tokenizer
from torch import Tensor

from circuitlapse.errors import ModelError
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.families.base import ConfigFile, Weights
from circuitlapse.models.load import (
    DTYPES,
    Opened,
    decoder_of,
    family_of,
    open_folder,
    refuse_device_or_dtype,
    refuse_infinite,
)
from circuitlapse.models.snapshot import no_progress_bars

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    Bridge: TypeAlias = TransformerBridge
    Model: TypeAlias = Decoder | TransformerBridge
else:  # TransformerLens is not imported just to name its class
    Bridge = Model = Any

_WRAPPER = "_original_component."
"""What a bridge adds to the names of weights."""
_tokenizers: WeakKeyDictionary[Any, Tokenizer | None] = WeakKeyDictionary()
"""The tokenizers of models from `load_model`; TransformerLens adds tokens to its own."""
_adapted: WeakKeyDictionary[Any, tuple[tuple[int, ...], Decoder]] = WeakKeyDictionary()


def load_model(path: str | Path, device: str = "cpu", dtype: str = "float32") -> TransformerBridge:
    """Load a folder laid out like a hub snapshot as a model of TransformerLens, with raw weights.

    Every function of this library takes it, and computes with its weights: hooks of TransformerLens
    are not called. Where no hooks are needed, `load_decoder` is faster.

    Args:
        path: see `load_decoder`.
        device: see `load_decoder`.
        dtype: see `load_decoder`.

    Raises:
        ModelError: see `load_decoder`; also if TransformerLens cannot load the model.
    """
    refuse_device_or_dtype(device, dtype)
    with open_folder(path) as found:
        tokenizer = found.tokenizer
        _refuse_for_bridge(found)
    from transformer_lens.model_bridge import TransformerBridge

    try:
        with no_progress_bars():
            model = TransformerBridge.boot_transformers(
                str(path), device=device, dtype=DTYPES[dtype]
            )
    # it raises AssertionError, ValueError and others for what it does not support
    except Exception as error:
        why = ": ".join(filter(None, (type(error).__name__, str(error))))  # some say nothing
        raise ModelError(
            f"{path}: TransformerLens cannot load it ({why}); load_decoder can"
        ) from error
    for name, weight in model.original_model.state_dict().items():
        refuse_infinite(weight, name.replace(_WRAPPER, ""), path)
    _tokenizers[model] = tokenizer
    return model.eval().requires_grad_(False)


def _refuse_for_bridge(found: Opened) -> None:
    """Refuse by name what TransformerLens would refuse by an assertion without a word."""
    neox = found.family.architecture == "GPTNeoXForCausalLM"
    if neox and not found.config.flag("attention_bias", default=True):
        found.config.wrong(
            "attention_bias", "true, which TransformerLens asks for; load_decoder reads this model"
        )


def as_decoder(model: Model) -> Decoder:
    """Return a decoder with the weights of a model.

    Args:
        model: a `Decoder`, which is returned as it is, or a `TransformerBridge`. Of a bridge the
            decoder is kept, and made again when a weight has been changed.

    Raises:
        ModelError: if it is another kind of model, or of an architecture that is not supported.
    """
    if isinstance(model, Decoder):
        return model
    if type(model).__name__ != "TransformerBridge":
        raise ModelError(
            f"the model is a {type(model).__name__}, expected what load_decoder or load_model "
            "returns, or another TransformerBridge of TransformerLens"
        )
    state = model.original_model.state_dict()
    weights = {name.replace(_WRAPPER, ""): tensor for name, tensor in state.items()}
    # A tensor counts the changes that are made to it in place.
    version = tuple(
        part for weight in weights.values() for part in (weight.data_ptr(), weight._version)
    )
    kept = _adapted.get(model)
    if kept is None or kept[0] != version:
        kept = _adapted[model] = (version, _adapt(model, weights))
    return kept[1]


def _adapt(model: TransformerBridge, weights: Mapping[str, Tensor]) -> Decoder:
    original: Any = model.original_model
    name = str(model.cfg.model_name)
    values = original.config.to_dict() | {"architectures": [type(original).__name__]}
    config = ConfigFile(values, f"{name}: the configuration")
    # A bridge without a tokenizer of ours has been made elsewhere.
    tokenizer = _tokenizers.get(model, getattr(model.tokenizer, "backend_tokenizer", None))
    shapes = {key: tuple(weight.shape) for key, weight in weights.items()}
    found = Opened(name, family_of(config), config, shapes, weights.__getitem__, tokenizer)
    some = next(original.parameters())
    built = found.family.build(config, Weights(shapes, some.device, found.read))
    return decoder_of(built, found, dtype=some.dtype, device=some.device)
