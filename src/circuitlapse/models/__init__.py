"""Language models: loading, decoding, activations, prompts and metrics."""
