"""What a power cut leaves of a folder, from the journal of `faults.c`.

What was not synced may be lost: of each file, what was written since its last `fsync`;
of each folder, its last changes since its own. Folders are created for good, as
journaling file systems do once something inside them is synced.
"""

import dataclasses
import os
import pathlib
import random


@dataclasses.dataclass
class Operation:
    """A line of the journal; see `faults.c`."""

    number: int
    kind: str
    inode: int
    size: int
    path: str
    other: str

    @property
    def changed_path(self) -> str:
        """The entry of a folder that the operation made, or removed."""
        return self.other or self.path


def read_journal(path: pathlib.Path) -> list[Operation]:
    """Returns the operations in their order."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [
        Operation(int(number), kind, int(inode), int(size), first, second)
        for number, kind, inode, size, first, second in (
            line.split("\t") for line in lines
        )
    ]


def cut_power(
    folder: pathlib.Path, grave: pathlib.Path, journal: list[Operation], seed: int
) -> list[str]:
    """Takes from a folder what a power cut may take; returns what, a line each."""
    rng = random.Random(seed)
    lost = _damage_files(folder, grave, journal, rng)
    return lost + _undo_changes(grave, journal, rng)


def _damage_files(folder, grave, journal, rng):
    """Truncates or zeroes what was not synced, in any file that still has a name."""
    synced, dirty = {}, set()
    for operation in journal:
        if operation.kind == "create" and operation.inode not in synced:
            synced[operation.inode] = 0
        elif operation.kind == "reopen":  # It was truncated.
            synced[operation.inode] = 0
            dirty.add(operation.inode)
        elif operation.kind == "write":
            dirty.add(operation.inode)
        elif operation.kind == "sync":
            synced[operation.inode] = operation.size
            dirty.discard(operation.inode)
    lost, seen = [], set()
    for path in sorted([*folder.rglob("*"), *grave.iterdir()]):
        info = path.lstat()
        if not path.is_file() or info.st_ino not in dirty or info.st_ino in seen:
            continue
        seen.add(info.st_ino)
        start = min(synced.get(info.st_ino, 0), info.st_size)
        how = rng.choice(("kept", "truncated", "cut", "zeroed"))
        if how == "kept" or start == info.st_size:
            continue
        with path.open("r+b") as file:
            if how == "zeroed":
                file.seek(start)
                file.write(bytes(info.st_size - start))
            else:
                end = start if how == "truncated" else rng.randint(start, info.st_size)
                file.truncate(end)
        lost.append(f"{path}: {how} from byte {start} of {info.st_size}")
    return lost


def _undo_changes(grave, journal, rng):
    """Undoes the last unsynced changes of each folder."""
    pending = {}
    for operation in journal:
        if operation.kind == "sync":
            pending.pop(operation.path, None)
        elif operation.kind in ("create", "rename", "exchange", "unlink", "rmdir"):
            parent = os.path.dirname(operation.changed_path)
            pending.setdefault(parent, []).append(operation)
    undone = []
    for changes in pending.values():
        undone += changes[rng.randint(0, len(changes)) :]
    undone.sort(key=lambda operation: -operation.number)
    numbers = {operation.number for operation in undone}
    renames = [o for o in journal if o.kind in ("rename", "exchange")]
    kept = [o for o in renames if o.number not in numbers]
    return [line for o in undone for line in _undo(o, grave, kept)]


def _undo(operation, grave, renames):
    def follow(path):
        """Returns where a path is after the later renames of folders above it."""
        for rename in renames:
            if rename.number > operation.number and path.startswith(f"{rename.path}/"):
                path = rename.other + path[len(rename.path) :]
        return pathlib.Path(path)

    buried = grave / str(operation.number)
    path, other = follow(operation.path), follow(operation.other)
    try:
        if operation.kind == "create":
            path.unlink()
        elif operation.kind == "rmdir":
            path.mkdir()
        elif operation.kind == "unlink":
            buried.rename(path)
        elif operation.kind == "exchange":
            aside = path.with_name(f"{path.name}.exchanged")
            path.rename(aside)
            other.rename(path)
            aside.rename(other)
        else:
            other.rename(path)
            if buried.exists():
                buried.rename(other)
    except OSError:
        return []  # Its folder is gone, too, or its old name is in use again.
    return [f"{operation.kind} of {operation.changed_path} is undone"]
