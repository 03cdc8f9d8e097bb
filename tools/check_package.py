"""Say what a wheel and a source archive hold that they should not, or lack that they should hold."""

import sys
import tarfile
import zipfile
from pathlib import Path

BESIDE = {"PKG-INFO", "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", ".gitignore"}


def names_in(path: Path) -> list[str]:
    """Return the files of an archive; of a source archive without its first folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.namelist()
    with tarfile.open(path) as source:
        return [member.name.partition("/")[2] for member in source.getmembers() if member.isfile()]


def problems_of(path: Path) -> list[str]:
    """Return what is wrong with the archive."""
    names = names_in(path)
    strange = [
        name
        for name in names
        if not name.startswith("django_midtrans/") and ".dist-info/" not in name and name not in BESIDE
    ]
    missing = [
        name for name in ("django_midtrans/py.typed", "django_midtrans/client.py") if name not in names
    ]
    return [f"{path.name} holds {name}" for name in strange] + [
        f"{path.name} lacks {name}" for name in missing
    ]


if __name__ == "__main__":
    found = [problem for name in sys.argv[1:] for problem in problems_of(Path(name))]
    sys.exit("\n".join(found) if found else 0)
