"""Zip files in a submission: what they hold takes their place, and the manifest that ``pack`` wrote is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping

from autograder.archives import MAX_NESTING, Budget, add, unpacked
from autograder.submission import MAX_BYTES, MAX_FILES, TIMESTAMP, can_be_kept, make_room, shown
from course_utils.pack import MANIFEST, digests, fingerprint_of

#: The longest manifest that is read, in bytes.
_MAX_MANIFEST = 1_000_000


def open_zips(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """The files of a submission, with what is in its zip files in the place of these.

    What ``python -m course_utils pack`` wrote counts before files of the same names beside it: its fingerprint says
    what was handed in. What any other zip file holds gets another name where there is a file of its name. When a
    submission came is said by a file beside a zip file, and never by one in it.

    Parameters
    ----------
    files : dict
        Relative path -> content, as from :func:`autograder.submission.collect`.

    Returns
    -------
    files : dict
    trouble : list of str
    """
    zips = sorted(name for name in files if name.lower().endswith(".zip"))
    kept = {name: content for name, content in files.items() if name not in zips}
    budget = Budget(MAX_FILES - len(kept) - len(zips), MAX_BYTES - sum(map(len, kept.values())))
    pack, trouble = "", []
    for name in zips:
        opened = unpacked(name, files[name], budget)
        if opened is None:
            kept[name] = files[name]
            trouble.append(f"{shown(name)} can't be unpacked and was kept as it is")
            continue
        held = {path: content for path, content in opened[0].items() if can_be_kept(path) and path != TIMESTAMP}
        trouble += [*opened[1], *(f"{shown(path)} was left out" for path in opened[0].keys() - held.keys())]
        if MANIFEST in held and not pack:
            pack = name
            trouble += make_room(kept, held)
            replaced = sorted(path for path in held if kept.get(path, held[path]) != held[path])
            trouble += [f"{shown(path)} was taken from {shown(name)}, not from beside it" for path in replaced]
            kept.update(held)
        elif MANIFEST in held:
            kept[name] = files[name]
            trouble.append(f"{shown(name)} was not graded: {shown(pack)} is packed too")
        else:
            for path, content in held.items():
                add(kept, path, content, budget, MAX_NESTING)
    return kept, trouble


def compare(files: Mapping[str, bytes]) -> tuple[str, list[str]]:
    """Compare the files of a submission with its manifest.

    Parameters
    ----------
    files : dict
        Relative path -> content, zip files opened.

    Returns
    -------
    fingerprint : str
        Of the listed files as they are: what ``pack`` printed, if nothing was changed since. Empty if there is no
        manifest.
    trouble : list of str
        A sentence for each listed file that isn't as it was, and each notebook that isn't listed.
    """
    try:
        listed = json.loads(files[MANIFEST][:_MAX_MANIFEST])["files"]
        expected = {str(name): str(digest) for name, digest in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", []
    there = {name: files[name] for name in expected if name in files}
    actual = digests(there)
    altered = {name for name in expected if actual.get(name) != expected[name]}
    altered |= {name for name in files if name.endswith(".ipynb")} - expected.keys()
    return fingerprint_of(there), [f"{shown(name)} is not as it was packed" for name in sorted(altered)]
