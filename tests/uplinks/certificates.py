"""A private certificate authority of a test, with a server's and a client's certificate."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import need

_NEW = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")


def authority(folder: Path, name: str = "ca") -> Path:
    """`NAME.pem` and `NAME.key` of a new authority; returns the certificate."""
    return _made(folder, name, "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign")


def certificate(folder: Path, name: str, ca: str = "ca") -> Path:
    """`NAME.pem` and `NAME.key`, vouched for by an authority, good for 127.0.0.1."""
    signed_by = ("-CA", str(folder / f"{ca}.pem"), "-CAkey", str(folder / f"{ca}.key"))
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
    return _made(folder, name, "-subj", f"/CN={name}", *names, *signed_by)


def _made(folder: Path, name: str, *more: str) -> Path:
    files = ("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))
    subprocess.run([need("openssl", "openssl"), *_NEW, *files, *more], check=True, capture_output=True)
    return folder / f"{name}.pem"
