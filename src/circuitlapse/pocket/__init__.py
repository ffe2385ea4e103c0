"""The pocket suite: small models that are trained here, in minutes, and learn the tasks."""
