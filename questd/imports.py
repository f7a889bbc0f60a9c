"""`questd import`: which server a configuration file is of, and the libraries that reading it takes.

They are an extra, so each reader is imported only when it is wanted.
"""

import importlib
from pathlib import Path

from questd.settings import BadSetting

READERS = {".conf": "elasticmq", ".hocon": "elasticmq", ".yaml": "goaws", ".yml": "goaws"}
"""By the end of the file's name: the module that reads it."""


def toml(file: Path) -> str:
    """Return the TOML for a configuration file. Raises BadSetting when that cannot be."""
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise BadSetting(f"{file} is neither ElasticMQ's (.conf) nor goaws' (.yaml)")
    try:
        read = importlib.import_module(f"questd.{reader}").read
    except ModuleNotFoundError as error:
        raise BadSetting(f"to import, questd needs {error.name}: pip install 'questd[import]'") from None
    try:
        text: str = read(file.read_text(), file.name).text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{file} cannot be read: {error}") from None
    return text
