"""What every uplink over a network shares: who we are, and how the way there is secured.

What comes in: the keys `tls`, `username` and `password` of an uplink. What goes out: an `ssl.SSLContext` (TLS 1.2
and later, the far end's certificate and name checked). Files are looked for beside the site file, and `check`
reads them, so that a certificate that is not there, or no certificate, is found before the daemon starts.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from drivers.profile import Strict
from edge.uplinks.shape import UplinkSettings

_FILES = ("ca", "cert", "key")


class TlsSpec(Strict):
    """How the far end is known, and how it knows us."""

    ca: Path | None = None
    """Certificates (PEM) of who may vouch for the far end; without it those that the system trusts."""
    cert: Path | None = None
    """Our own certificate (PEM), for a far end that asks for one."""
    key: Path | None = None
    """Its key (PEM, without a pass phrase); without it the key is looked for in `cert`."""
    insecure: bool = False
    """Take whoever answers. For a test on a bench only: anybody on the way can read and change everything."""

    @model_validator(mode="after")
    def _key_has_cert(self) -> TlsSpec:
        if self.key is not None and self.cert is None:
            raise ValueError("has a key without its certificate; add cert, or remove key")
        return self


def _spelt_out(found: Any) -> Any:
    """`true` is a mapping that says nothing, `false` is none."""
    return {} if found is True else None if found is False else found


class NetworkSettings(UplinkSettings):
    """Keys that all uplinks over a network have. Each destination extends it."""

    tls: Annotated[TlsSpec | None, BeforeValidator(_spelt_out, json_schema_input_type=bool | TlsSpec)] = None
    """`true`, or a mapping of `ca`, `cert`, `key`, `insecure`."""
    username: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _password_has_username(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("has a password without a username, and so would send neither; add username")
        return self

    @property
    def secret(self) -> str | None:
        """The password as it is sent."""
        return self.password.get_secret_value() if self.password else None

    def context(self) -> ssl.SSLContext | None:
        """What the connection is secured with; None where it is not. Raises OSError for files that are no good."""
        return context(self.tls) if self.tls else None

    def placed(self, folder: Path, note: Callable[[tuple[str, ...], str], None]) -> Self:
        """With the names of files followed from `folder`; what is wrong with them goes to `note(keys, message)`."""
        if self.tls is None:
            return self
        given = {name: folder / path for name in _FILES if (path := getattr(self.tls, name)) is not None}
        tls = self.tls.model_copy(update=given)
        for name, path in given.items():
            try:
                path.read_bytes()
            except OSError as error:
                note(("tls", name), f"{path} cannot be read ({error.strerror}); put the file there")
                return self
        try:
            context(tls)
        except OSError as error:
            note(("tls",), str(error))
        return self.model_copy(update={"tls": tls})


def context(spec: TlsSpec) -> ssl.SSLContext:
    """A context of these settings. Raises OSError, which names the file."""
    try:
        made = ssl.create_default_context(cafile=spec.ca)
    except (OSError, ssl.SSLError) as error:
        raise OSError(f"ca: {spec.ca} holds no certificates in PEM form ({_said(error)})") from error
    if spec.cert is not None:
        try:
            made.load_cert_chain(spec.cert, spec.key, _no_pass_phrase)
        except (OSError, ssl.SSLError, ValueError) as error:
            key = f" with key {spec.key}" if spec.key else " and its key"
            raise OSError(
                f"cert: {spec.cert}{key} cannot be used ({_said(error)}); give a certificate and its own key in PEM "
                "form, the key without a pass phrase"
            ) from error
    if spec.insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _no_pass_phrase() -> str:
    """Instead of a question on the terminal, which no daemon can answer."""
    raise ValueError("the key has a pass phrase")


def _said(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
