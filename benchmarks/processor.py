"""What a measurement says about the processor that it ran on."""

import os
import pathlib
import platform

# What Linux calls the instruction sets for matrix products in low precision.
_INSTRUCTION_SETS = {
    "AMX": "amx_bf16",
    "AVX512-BF16": "avx512_bf16",
    "AVX512-VNNI": "avx512_vnni",
}


def describe() -> dict[str, object]:
    """Returns its name, number of cores and instruction sets.

    Outside of Linux, the instruction sets are None.
    """
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return {
            "name": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "instruction_sets": None,
        }
    fields = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return {
        "name": fields.get("model name", platform.machine()),
        "cores": os.cpu_count(),
        "instruction_sets": {
            name: flag in flags for name, flag in _INSTRUCTION_SETS.items()
        },
    }


def format_description(described: dict[str, object]) -> str:
    """Returns what `describe` returned, in one line."""
    sets = described["instruction_sets"]
    if sets is None:
        words = "instruction sets unknown"
    else:
        words = ", ".join(f"{'' if has else 'no '}{name}" for name, has in sets.items())
    return f"{described['name']}, {described['cores']} cores; {words}"
