"""Grades a class in parallel, each submission in a cage; only an instructor runs it.

See README.md in this folder for what the cage protects against and what it doesn't.
"""

import sys

if "jsonschema" not in sys.modules:
    # jsonschema, which nbformat imports, would take a second to compile the grammar of a format that no notebook has.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # Python's documented way to have an import fail
    import jsonschema  # noqa: F401

    del sys.modules["rfc3987_syntax"]
