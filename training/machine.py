"""What the weights of a model may depend on beside sources, settings and packages: where it was trained. Light."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
VECTORS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "asimdhp", "bf16", "sve",
)  # fmt: skip
"""The instructions by which TensorFlow and oneDNN choose how they add up numbers."""
PACKAGES = ("registry", "retraining", "training")
"""Our code that trains."""
THREADS = "TF_NUM_INTRAOP_THREADS"
"""TensorFlow reads it when it starts; so do a script's processes."""


def use_threads(threads: int) -> None:
    """Have TensorFlow, which must not have started yet, use so many threads within one operator; 0: one per core."""
    if threads:
        os.environ[THREADS] = str(threads)


def describe() -> dict[str, str]:
    """Processor, its vector instructions, threads, the system, and a digest of the code that trains."""
    known = _cpu()
    vectors = set((known.get("flags") or known.get("Features") or "").split())
    facts = {
        "processor": known.get("model name") or platform.machine(),
        "vector instructions": " ".join(each for each in VECTORS if each in vectors),
        "threads": os.environ.get(THREADS) or str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.machine()}",
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),
        "trainyard": code_digest(),
    }
    return {name: value for name, value in facts.items() if value}


def code_digest() -> str:
    """16 hexadecimal digits that change with any byte of the code that trains."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _cpu() -> dict[str, str]:
    """What Linux says of the first core; nothing elsewhere."""
    try:
        first = CPU_INFO.read_text(encoding="ascii", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
