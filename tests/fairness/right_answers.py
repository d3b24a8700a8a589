from __future__ import annotations
from typing import NamedTuple
class Style(NamedTuple):
    name: str
    codes: dict
RIGHT: list = []
