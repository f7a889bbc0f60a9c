"""questd: a self-hosted message-queue server that speaks the Amazon SQS protocol on top of Redis."""

from importlib import metadata

try:
    __version__ = metadata.version("questd")
except metadata.PackageNotFoundError:
    __version__ = "(not installed)"
