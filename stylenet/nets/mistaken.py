"""Files that are not style files but are given as such: what they are, by their first bytes, and what to do.

Reads bytes; executes nothing.
"""

import re
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

HEAD = 512  # bytes from which a kind of file is told
PART = 2**20  # bytes of it that are looked through for more

_ANEW = "train the style anew: python scripts/train.py style=custom style.custom.image=painting.jpg"
_TAR = 257  # where a tar archive says what it is
_TORCH7 = (b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1", b"\x03\0\0\0\x01\0\0\0", b"4\n1\n3\nV 1")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_PACKED = (b"\x1f\x8b", b"7z\xbc\xaf'\x1c", b"Rar!")
_TENSORFLOW = (".pb", ".meta", ".index", ".data-00000-of-00001")


def is_safetensors(path: Path) -> bool:
    """Whether a file is to be read as safetensors: by how it begins, and by its name where that tells nothing."""
    head = _head(path)
    begins = 2 <= int.from_bytes(head[:8], "little") < 2**27 and head[8:9] == b"{"
    return begins or (path.suffix == ".safetensors" and not _of_torch(head))


def is_onnx(path: Path) -> bool:
    """Whether a file is an ONNX model, by how it begins or by its name. Raises OSError."""
    return _onnx(_head(path), path.name.lower())


def kind(path: Path) -> str | None:
    """ "a <kind of file>. <What to do>", to follow "it is"; None for all that may be a style. Raises OSError."""
    head = _head(path)
    if head[:2] == b"PK":
        return _of_zip(path)
    return next((told(path) for tells, told in _KINDS if tells(head, path.name.lower())), None)


def whole_network(path: Path) -> bool:
    """Whether a pickle holds a network as an object, with its code's names, rather than its weights. Raises OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            with archive.open(names[0]) as file:
                data = file.read(PART)
    except (zipfile.BadZipFile, IndexError, RuntimeError, NotImplementedError, EOFError):
        data = _bytes(path, 0)
    return b"_modules" in data and b"_parameters" in data


def _head(path: Path) -> bytes:
    return _bytes(path, 0, HEAD)


def _of_torch(head: bytes) -> bool:
    return head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _bytes(path: Path, start: int, count: int = PART) -> bytes:
    """``count`` bytes, from the end where ``start`` is below 0."""
    with path.open("rb") as file:
        if start < 0:
            file.seek(max(0, path.stat().st_size + start))
        return file.read(count)


# --- kinds: what tells it, from (head, lower-case name), and what is said of it, from the path


def _torch7(head: bytes, name: str) -> bool:
    return head.startswith(_TORCH7) or (name.endswith(".t7") and not _of_torch(head))


def _onnx(head: bytes, name: str) -> bool:
    return (head[:1] == b"\x08" and b"\0" < head[1:2] < b"\x20" and head[2:3] == b"\x12") or name.endswith(".onnx")


def _web_page(head: bytes, name: str) -> bool:
    return head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))


def _told(text: str) -> Callable[[Path], str]:
    return lambda path: text


def _told_onnx(path: Path) -> str:
    made = _exported(_bytes(path, -PART))
    if made != "." and find_spec("onnx") is None:
        return f"an ONNX file{made} To stylize with it: pip install 'stylenet[onnx]'."
    return (
        f"an ONNX file{made} ONNX files are for other programs; scripts/evaluate.py measures "
        f"them too. Give the style file that it was made from, or {_ANEW}"
    )


def _told_openvino(path: Path) -> str:
    text = _bytes(path, -PART).replace(b"&quot;", b'"')
    return f"an OpenVINO model{_exported(text)} Such files are for other programs: give the style file."


_KINDS: list[tuple[Callable[[bytes, str], bool], Callable[[Path], str]]] = [
    (_torch7, _told(f"a Torch7 file, which only Lua can read. Get the style as a file of PyTorch, or {_ANEW}")),
    (_onnx, _told_onnx),
    (lambda head, name: head.startswith(b"<?xml") and b"<net" in head, _told_openvino),
    (
        _web_page,
        _told("a web page: the page about the file was saved, not the file. Get it again from its download link."),
    ),
    (
        lambda head, name: head.startswith(b"version https://git-lfs"),
        _told("a pointer of Git LFS, not the file itself. Get the file with: git lfs pull"),
    ),
    (
        lambda head, name: head[:4] == b"\x89HDF" or head[4:8] == b"TFL3" or name.endswith(_TENSORFLOW),
        _told(f"a file of Keras or TensorFlow, which nothing here reads. Get it as a file of PyTorch, or {_ANEW}"),
    ),
    (
        lambda head, name: head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
        lambda path: (
            "a picture, and ckpt= takes styles that were trained. Train one from it: "
            f"python scripts/train.py style=custom style.custom.image={path.name} experiment=quick"
        ),
    ),
    (
        lambda head, name: head[_TAR : _TAR + 5] == b"ustar" or head.startswith(_PACKED),
        _told("a packed archive. Unpack it, and give the style file that is in it."),
    ),
]


# --- zip archives, which PyTorch's files are too


def _of_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            said = [name for name in names if name.endswith("/stylenet.json")]
            text = b""
            if said:
                with archive.open(said[0]) as file:
                    text = file.read(PART)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        return None
    give = "Give the style file that it was made from, or save the network's state_dict"
    if any("/code/" in name for name in names) and any(name.endswith("/constants.pkl") for name in names):
        how = "torch.save(torch.jit.load('it.pt').state_dict(), 'style.pth')"
        return f"a TorchScript program{_exported(text)} It would have to be run: refused. {give}: {how}"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        how = "torch.save(torch.export.load('it.pt2').state_dict, 'style.pth')"
        return f"a torch.export program{_exported(text)} It would have to be run: refused. {give}: {how}"
    if not any(name.endswith("data.pkl") for name in names):
        held = ", ".join(names[:3])[:100] or "nothing"
        return f"a zip archive with {held!r} in it. Unpack it, and give the style file that is in it."
    return None


def _exported(text: bytes) -> str:
    """ " that stylenet made of <style>.", where the file says so, else "." """
    found = re.search(rb'"styles": \[\{"name": "([^"\\]{1,80})"', text)
    return f", made by stylenet of the style {found[1].decode(errors='replace')}." if found else "."
