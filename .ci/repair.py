"""repair.py WHEEL FOLDER: the wheel as auditwheel repairs it, into FOLDER, with the licence of the
libgomp that is in it now among its metadata's, and as small as a deflated file gets (zopfli)."""

import base64
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from zopfli.zlib import compress

LIBGOMP = "GPL-3.0-or-later WITH GCC-exception-3.1"  # licenses/libgomp-*.txt


class Zopfli:
    """In the place of zlib's compressor of a file: bare deflate, without zlib's head and sum."""

    def __init__(self) -> None:
        self.content = b""

    def compress(self, more: bytes) -> bytes:
        self.content += more
        return b""

    def flush(self) -> bytes:
        return compress(self.content, numiterations=5)[2:-4]


def with_licence(wheel: Path, out: Path) -> None:
    """Copy a wheel; if it holds libgomp its expression names that's licence. Times stay."""
    with ZipFile(wheel) as source:
        files = {info: source.read(info) for info in source.infolist()}
    if any("/libgomp-" in info.filename and ".so" in info.filename for info in files):
        (record,) = (info for info in files if info.filename.endswith(".dist-info/RECORD"))
        (metadata,) = (info for info in files if info.filename.endswith(".dist-info/METADATA"))
        head, blank, text = files[metadata].partition(b"\n\n")
        lines = [
            line + f" AND {LIBGOMP}".encode() if line.startswith(b"License-Expression: ") else line
            for line in head.split(b"\n")
        ]
        files[metadata] = b"\n".join(lines) + blank + text
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[metadata]).digest()).rstrip(b"=")
        entry = f"{metadata.filename},sha256={digest.decode()},{len(files[metadata])}"
        files[record] = "".join(
            f"{entry if line.startswith(f'{metadata.filename},') else line}\n"
            for line in files[record].decode().splitlines()
        ).encode()
    with ZipFile(out, "w") as target:
        for info, content in files.items():
            info.compress_type = ZIP_DEFLATED
            with target.open(info, "w") as member:
                member._compressor = Zopfli()
                member.write(content)


if __name__ == "__main__":
    wheel, folder = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(["auditwheel", "repair", "--wheel-dir", temporary, wheel], check=True)
        (repaired,) = Path(temporary).iterdir()
        Path(folder).mkdir(parents=True, exist_ok=True)
        with_licence(repaired, Path(folder, repaired.name))
