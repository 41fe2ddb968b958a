"""The form of a journal's entry: what a reader must know of to read it.

During a deploy, and after a rollback, a process meets entries of a newer release. It leaves them
where they are, for a process of that release.
"""

from typing import NamedTuple


class Form(NamedTuple):
    """`version` is that of the entry's fields; columns are only ever added, at the end."""

    version: int
    batch_columns: int
    event_columns: int

    def is_readable_by(self, reader: "Form") -> bool:
        return all(own <= known for own, known in zip(self, reader, strict=True))

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "Form":
        """ValueError: it is none."""
        version, batch_columns, event_columns = map(int, text.split("."))
        return cls(version, batch_columns, event_columns)


class NewerEntry(Exception):
    """An entry of a newer release. Not a fault of the entry: it must stay in its journal."""

    def __init__(self, form: Form) -> None:
        super().__init__(f"it is of a newer release (form {form}) and waits for that one")
        self.form = form
