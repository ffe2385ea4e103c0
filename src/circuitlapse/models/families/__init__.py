"""One module per family of models: how its `config.json` and weights become a `Decoder`."""
