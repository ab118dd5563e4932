"""How much more memory this process can have, as Linux tells it."""

import pathlib
import resource
from collections.abc import Iterator

_LIMITS = {  # By the entry in /proc/self/status that counts against it.
    "VmSize": resource.RLIMIT_AS,
    "VmData": resource.RLIMIT_DATA,
}
# Per version of control groups: limit, usage.
_CGROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def find_available(root: str = "/") -> int | None:
    """Returns the bytes that this process can still allocate; None if unknown.

    That is the least of what is free in the machine, swap space and file caches
    included, what the control groups of the process leave, and what its own limits
    (`ulimit`) leave.

    Args:
      root: the folder that holds `proc` and `sys`.
    """
    base = pathlib.Path(root)
    memory = _read_table(base / "proc/meminfo")
    if "MemAvailable" not in memory:
        return None
    swap = memory.get("SwapFree", 0)
    rooms = [memory["MemAvailable"] + swap]
    rooms += [room + swap for room in _list_cgroup_rooms(base)]
    status = _read_table(base / "proc/self/status")
    for name, limit in _LIMITS.items():
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY and name in status:
            rooms.append(soft - status[name])
    return max(0, min(rooms))


def _list_cgroup_rooms(base: pathlib.Path) -> Iterator[int]:
    """Yields what each control group of this process leaves, without swap space."""
    for line in _read(base / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        mount = base / "sys/fs/cgroup" / controllers
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            yield from _find_room(folder)
            if folder == mount:
                break


def _find_room(folder: pathlib.Path) -> Iterator[int]:
    for limit_name, usage_name in _CGROUP_FILES:
        limit, usage = _read(folder / limit_name), _read(folder / usage_name)
        if limit.strip().isdigit() and usage.strip().isdigit():
            # Caches of files are dropped when memory is needed.
            lines = (line.split() for line in _read(folder / "memory.stat").split("\n"))
            cached = {name: int(count) for name, count in filter(None, lines)}
            prefix = "total_" if "total_active_file" in cached else ""
            files = (cached.get(f"{prefix}{k}_file", 0) for k in ("active", "inactive"))
            yield int(limit) - int(usage) + sum(files)


def _read_table(path: pathlib.Path) -> dict[str, int]:
    """Returns the entries of a file such as /proc/meminfo that are in kB, in bytes."""
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if row[2:] == ["kB"]}


def _read(path: pathlib.Path) -> str:
    """Returns the text of a file; "" if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
