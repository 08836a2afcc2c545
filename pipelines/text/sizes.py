"""Sizes as a person reads them."""

from __future__ import annotations


def bytes_text(size: int) -> str:
    """`512 B`, `1.4 kB`, `35 MB`, `2.3 GB`: powers of 1000."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 10 or units[0] == "B" else f"{value:.1f} {units[0]}"
