"""What the processor of this machine is, as Linux tells it."""

import functools
import pathlib
import platform

# Instructions that multiply numbers in bfloat16, by their names in /proc/cpuinfo: of
# x86 (AVX-512 and AMX) and of Arm.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
_FEATURE_KEYS = ("flags", "Features")
_NAME_KEYS = ("model name", "CPU part")


@functools.cache
def get_name() -> str:
    """Returns the processor's name, such as 'AMD EPYC 9R14'."""
    facts = _read_facts()
    names = (facts[key] for key in _NAME_KEYS if facts.get(key))
    return next(names, platform.processor() or platform.machine())


@functools.cache
def get_instructions() -> frozenset[str]:
    """Returns the names of its instruction sets, such as 'avx512f', if known."""
    facts = _read_facts()
    return frozenset(
        name for key in _FEATURE_KEYS for name in facts.get(key, "").split()
    )


def has_bfloat16() -> bool:
    """Returns whether the processor multiplies in bfloat16."""
    return bool(_BFLOAT16 & get_instructions())


def _read_facts(path: str = "/proc/cpuinfo") -> dict[str, str]:
    """Returns what is known of the first core."""
    try:
        text = pathlib.Path(path).read_text()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
