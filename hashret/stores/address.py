"""Addresses of stores: ``scheme:path?option=value``, read once, so that each engine names its options and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from hashret.errors import InputError

__all__ = ["Address"]


@dataclass(frozen=True)
class Address:
    """Where a store is.

    Attributes:
        scheme: The engine, such as ``"ray"``.
        path: What follows, percent signs decoded.
        host: Name of a server; "" where the address has none.
        port: Its port; None where the address has none.
        user: Who asks; "" where the address does not say.
        password: As the address has it; never shown.
        options: What follows the question mark.
    """

    scheme: str
    path: str
    host: str = ""
    port: int | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Address:
        """Take an address apart.

        Raises:
            InputError: A port that is none, or an option given twice or without a value.

        Example:
            >>> Address.read("clickhouse://reader@db:8123/photos?table=codes").path
            '/photos'
            >>> Address.read("chdb:runs/codes.chdb?bits=64").options
            {'bits': '64'}
        """
        parts = urlsplit(text)
        try:
            port = parts.port
        except ValueError as error:
            raise InputError(
                "address", expected="a port 0 ... 65535", got=str(error), remedy="Write scheme://host:port/path."
            ) from error
        options = {}
        for name, values in parse_qs(parts.query, keep_blank_values=True).items():
            if len(values) != 1 or not values[0]:
                raise InputError(
                    f"option {name}", expected="one value", got=f"{len([v for v in values if v])}",
                    remedy=f"Write {name}=VALUE once.",
                )  # fmt: skip
            options[name] = values[0]
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.scheme, unquote(parts.path), parts.hostname or "", port, user, password, options)

    @property
    def shown(self) -> str:
        """The address for a message: no user, no password, no options."""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}:{'//' if self.host else ''}{self.host}{port}{self.path}"

    def only(self, *names: str) -> None:
        """Refuse options that an engine does not have.

        Raises:
            InputError: One that is not among ``names``.
        """
        unknown = sorted(set(self.options) - set(names))
        if unknown:
            raise InputError(
                f"options of {self.shown}", expected=f"some of {', '.join(names)}", got=", ".join(unknown),
                remedy="Leave it out or correct its name.",
            )  # fmt: skip

    def local(self) -> str:
        """The path of an engine that has no server.

        Raises:
            InputError: The address names a server, or no path.
        """
        if self.host or self.user or not self.path:
            raise InputError(
                f"address {self.shown}", expected=f"{self.scheme}:PATH or {self.scheme}:///PATH",
                got=f"the server {self.host}" if self.host else "no path", remedy="Write :/// before the path.",
            )  # fmt: skip
        return self.path

    def number(self, name: str, default: int | None = None) -> int | None:
        """An option that is a whole number of at least 1.

        Raises:
            InputError: It is something else.
        """
        text = self.options.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise InputError(
                f"option {name}", expected="a whole number >= 1", got=repr(text), remedy=f"Write {name}=8, say."
            )
        return int(text)
