"""The pocket suite: small models trained on the spot, in which the abilities emerge."""
