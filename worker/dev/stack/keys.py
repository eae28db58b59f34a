"""The secrets of one data folder: made once, kept with mode 0600."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from cryptography.fernet import Fernet

from worker.dev.stack.errors import StackError
from worker.dev.stack.files import read_object, write_private


@dataclass(frozen=True, slots=True)
class Keys:
    """What the services and the worker sign and encrypt with."""

    fernet: str = field(repr=False)
    pds_admin_password: str = field(repr=False)
    pds_jwt_secret: str = field(repr=False)
    plc_rotation_key: str = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> Keys:
        """Return the keys in `file`, made now if there is no such file."""
        stored = read_object(file)
        if not stored:
            keys = cls._new()
            write_private(file, json.dumps(asdict(keys), indent=2) + "\n")
            return keys
        names = {known.name for known in fields(cls)}
        if stored.keys() != names or not all(isinstance(key, str) for key in stored.values()):
            raise StackError(f"{file} must hold the texts {', '.join(sorted(names))}.")
        return cls(**stored)

    @classmethod
    def _new(cls) -> Keys:
        return cls(
            fernet=Fernet.generate_key().decode(),
            pds_admin_password=secrets.token_urlsafe(24),
            pds_jwt_secret=secrets.token_hex(32),
            plc_rotation_key=secrets.token_hex(32),
        )
