"""What benchmarks/hamming_search.py makes of its measurements: ratios, targets, tables, a plot; and the machine's name.

Nothing is measured here. A figure that is missing stays missing: a target without its measurement is neither held nor
missed.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]
Part = tuple[float, float | None, str]  # what is needed, what was measured, in which unit

PACKAGES = ("hashret", "numpy", "numba", "llvmlite", "faiss-cpu", "usearch", "torch")
PLOTTED = {  # Okabe and Ito's colours, which the colour-blind tell apart
    "hashret": "#0072B2", "faiss flat": "#D55E00", "numpy": "#009E73", "torch": "#CC79A7", "usearch": "#E69F00",
}  # fmt: skip
INK, GRID = "#1F2328", "#E4E7EA"
CONSOLE_WIDTH = 160  # of the widest table


def machine(engines: dict[str, Any]) -> dict[str, Any]:
    """Processor, caches, memory and versions; ``engines``: what the engines say of themselves."""
    return {
        "processor": _processor(), "cores": os.cpu_count(), "caches": _caches(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "system": platform.platform(),
        "python": platform.python_version(), "versions": {name: _version(name) for name in PACKAGES},
        "engines": {name: about for name, about in engines.items() if about},
    }  # fmt: skip


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = told.get("model name", platform.processor() or platform.machine())
    return (
        f"{name}, family {told['cpu family']}, model {told['model']}" if {"cpu family", "model"} <= set(told) else name
    )


def _caches() -> dict[str, str]:
    """Size of each cache that the first core uses."""
    files = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    told = [[(file / name).read_text(encoding="utf-8").strip() for name in ("level", "type", "size")] for file in files]
    return {f"L{level} {kind}": size for level, kind, size in told}


def largest_cache() -> int:
    """Bytes of the last-level cache; 0 where the system does not say."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return max((int(size[:-1]) * units[size[-1]] for size in _caches().values() if size[-1] in units), default=0)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def evaluated(rows: list[Row], limits: dict[str, Any], *, small: bool) -> list[Row]:
    """Add rates, ratios, shares and targets to the rows, and give the table of targets.

    A target has ``parts``: what is needed, what was measured; ``held`` is None without a measurement, and in a small
    run.
    """
    measured = [row for row in rows if "seconds" in row and row["suite"] != "load"]
    ours = {_case(row): row for row in measured if row["engine"] == "hashret"}
    for row in measured:
        row["seconds_per_query"] = row["seconds"] / row["measured"]
        row["pairs_per_second"] = row["codes"] / row["seconds_per_query"]
        if row["engine"] not in ("hashret", "hashret multi-index") and _case(row) in ours:
            row["ratio"] = row["seconds_per_query"] / ours[_case(row)]["seconds_per_query"]
        if row["suite"] == "multi-index" and _case(row) in ours:
            row["times_scan"] = ours[_case(row)]["seconds_per_query"] / row["seconds_per_query"]
        if row["suite"] != "multi-index":
            peak = limits["popcount_pairs_per_second"][str(row["bits"])] * row["threads"]
            row["popcount_share"] = row["pairs_per_second"] / peak
            reading = limits["read_bytes_per_second"].get(str(row["threads"]))
            if row["suite"] == "one" and reading:
                row["reading_share"] = row["pairs_per_second"] * row["bits"] / 8 / max(reading.values())
    return [_judged(*target, small=small) for target in _targets(rows, measured)]


def _case(row: Row) -> tuple[Any, ...]:
    """What has to be equal for two rows to be compared."""
    return tuple(row[name] for name in ("suite", "bits", "codes", "data", "queries", "k", "alone", "threads"))


def _picked(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def _lowest(rows: list[Row], cases: list[dict[str, Any]], least: float) -> float | None:
    """The lowest ratio to faiss's better variant in some cases, each of which has to be measured; marks the rows."""
    ratios = []
    for case in cases:
        rivals = [row for row in _picked(rows, engine="faiss flat", **case) if "ratio" in row]
        if not rivals:
            return None
        rival = min(rivals, key=lambda row: row["ratio"])
        rival["target"] = least
        ratios.append(rival["ratio"])
    return min(ratios, default=None)


def _targets(rows: list[Row], measured: list[Row]) -> list[tuple[str, str, list[Part]]]:
    """Case, against, and pairs of what is needed and what was measured, in the order they are asked for."""
    batches = _picked(measured, suite="batch", data="uniform", alone=False, threads=1)
    many = max((row["queries"] for row in _picked(batches, k=100)), default=0)
    flat = "faiss IndexBinaryFlat, its better variant"

    def batch(widths: tuple[int, ...], least: float) -> list[Part]:
        cases = [{"bits": bits, "k": k, "queries": many} for bits in widths for k in (10, 100)]
        return [(least, _lowest(batches, cases, least), "x")]

    alone = {
        threads: {row["bits"]: row for row in _picked(measured, suite="one", engine="hashret", threads=threads)}
        for threads in (1, 2)
    }
    both = {64, 128} <= set(alone[1])
    one = _lowest(_picked(measured, suite="one", threads=1), [{"bits": 64}, {"bits": 128}], 2.5)
    share = min(alone[1][bits]["reading_share"] for bits in (64, 128)) if both else None
    pairs = both and {64, 128} <= set(alone[2])
    gain = min(alone[1][bits]["seconds"] / alone[2][bits]["seconds"] for bits in (64, 128)) if pairs else None
    whole = _lowest(_picked(measured, suite="full", threads=1), [{"bits": 64}], 10)
    asked = "256 queries, k = 10 and 100, 1 thread"
    loads = [row["seconds"] for row in _picked(rows, suite="load") if "seconds" in row]
    scan = "our scan, one query at a time / a query in a batch of 300"
    return [
        (f"64 bits, N = 4 M, {asked}", flat, batch((64,), 9)),
        (f"128 bits, N = 4 M, {asked}", flat, batch((128,), 7)),
        (f"256 bits, N = 4 M, {asked}", flat, batch((256,), 4)),
        (f"16 and 32 bits, N = 4 M, {asked}", flat, batch((16, 32), 9)),
        ("64 and 128 bits, 1 query, 1 thread", f"{flat} / reading from memory", [(2.5, one, "x"), (0.8, share, "%")]),
        ("1 query, 2 threads against 1", "itself", [(1.7, gain, "x")]),
        ("all ranked, k = N = 100,000, 64 bits, 100 queries", "faiss, k = N", [(10, whole, "x")]),
        ("multi-index, 64 bits, N = 20 M, 20,000 centres, 5 % flipped, one query at a time", scan,
         _beside_scan(measured, 0.05, (500, 100))),
        ("multi-index, 200,000 centres, 8 % flipped, one query at a time", scan,
         _beside_scan(measured, 0.08, (150, 30))),
        ("multi-index, uniform codes, one query at a time and in a batch of 300", "our scan",
         _beside_scan(measured, 0.0, (0.8,))),
        ("50 M x 64 bits, saved, loaded by mmap", "-", [(0.05, max(loads, default=None), "s")]),
    ]  # fmt: skip


def _beside_scan(measured: list[Row], flips: float, least: tuple[float, ...]) -> list[Part]:
    """How many times faster than the scan the tables are.

    Two are asked for: a query alone against a query alone in the scan, and against one in a batch of the scan. One is:
    the lower of alone against alone and batch against batch.
    """
    rows = _picked(measured, suite="multi-index", flips=flips)
    rows = _picked(rows, codes=max((row["codes"] for row in rows), default=0))
    took = {(row["engine"], row["alone"]): row["seconds_per_query"] for row in rows}
    if len(took) < 4:
        return [(needed, None, "x") for needed in least]
    scan, tables = [took["hashret", alone] for alone in (True, False)], took["hashret multi-index", True]
    ratios = (scan[0] / tables, scan[1] / tables)
    if len(least) == 1:
        ratios = (min(ratios[0], scan[1] / took["hashret multi-index", False]), 0.0)
    return [(needed, got, "x") for needed, got in zip(least, ratios, strict=False)]


def _judged(case: str, against: str, parts: list[Part], *, small: bool) -> Row:
    """One row of the table; seconds are held by fewer, all else by more."""
    known = [got <= needed if unit == "s" else got >= needed for needed, got, unit in parts if got is not None]
    held = all(known) if len(known) == len(parts) and not small else None
    told = [{"needed": needed, "measured": got, "unit": unit} for needed, got, unit in parts]
    return {"case": case, "against": against, "parts": told, "held": held}


def _number(value: float | None, form: str, missing: str = "-") -> str:
    return missing if value is None else format(value, form)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


def _runs(row: Row) -> str:
    times = len(row.get("times", ()))
    few = f" of {row['measured']} q" if row.get("measured", row["queries"]) < row["queries"] else ""
    return f"{times}{few}" if times else "-"


def _asked(row: Row) -> str:
    around = f", {row['centres']:,} centres {row['flips']:.0%}" if row["centres"] else ""
    threads = f", {row['threads']} thr." if row["suite"] == "one" else ""
    count = 1 if row["alone"] else row["queries"]
    return f"{row['bits']} b, N {_short(row['codes'])}{around}, {count} q, k {_short(row['k'])}{threads}"


def _short(count: int) -> str:
    """4 M, 100 k, 10."""
    unit, name = next(((unit, name) for unit, name in ((10**6, " M"), (10**3, " k")) if count >= unit), (1, ""))
    return f"{count / unit:.4g}{name}"


def _ratio(row: Row, name: str) -> str:
    value = row.get(name)
    return "-" if value is None else f"{value:,.0f}x" if value >= 100 else f"{value:.2f}x"


_ENGINE: Column = ("engine", lambda row: f"{row['engine']} {row['variant'] or row.get('numbers', '')}".strip())
_PEAK: Column = ("peak MB", lambda row: f"{row['peak_bytes'] / 1e6:,.0f}" if "peak_bytes" in row else "-")
_SCANNED: tuple[Column, ...] = (
    ("case", _asked), _ENGINE,
    ("G pairs/s", lambda row: row.get("note", "")[:40] or f"{row['pairs_per_second'] / 1e9:.3g}"),
    ("ms", lambda row: f"{row['seconds'] * 1e3 / (row['measured'] if row['alone'] else 1):,.4g}" if "seconds" in row
     else "-"),
    ("hashret is", lambda row: _ratio(row, "ratio")),
    ("target", lambda row: f"{row['target']:g}x" if "target" in row else ""),
    ("of popcount", lambda row: _share(row.get("popcount_share"))), _PEAK, ("runs", _runs),
)  # fmt: skip
_READING: Column = ("of reading", lambda row: _share(row.get("reading_share")))
_TABLED: tuple[Column, ...] = (
    ("case", _asked), _ENGINE,
    ("us a query", lambda row: row.get("note", "")[:40] or f"{row['seconds_per_query'] * 1e6:,.4g}"),
    ("times scan", lambda row: _ratio(row, "times_scan")),
    ("recall", lambda row: _number(row.get("recall"), ".3f", "exact" if "seconds" in row else "-")),
    ("build s", lambda row: _number(row.get("build_seconds"), ".3g")),
    ("index MB", lambda row: f"{row['bytes'] / 1e6:,.0f}" if "bytes" in row else "-"), _PEAK, ("runs", _runs),
)  # fmt: skip
_LOADED: tuple[Column, ...] = (
    ("case", lambda row: f"{row['codes']:,} x {row['bits']} bits {row.get('variant') or ''}"),
    ("load ms", lambda row: row.get("note", "")[:40] or f"{row['seconds'] * 1e3:.3g}"),
    ("first search ms", lambda row: _number(row.get("first_search_seconds", 0) * 1e3, ".4g")),
    ("file MB", lambda row: f"{row['bytes'] / 1e6:,.0f}" if "bytes" in row else "-"),
    ("save s", lambda row: _number(row.get("save_seconds"), ".2f")), _PEAK, ("runs", _runs),
)  # fmt: skip
_TITLES = {
    "batch": ("Many queries at once", _SCANNED), "one": ("One query, codes that no cache holds", (*_SCANNED, _READING)),
    "full": ("All codes ranked", _SCANNED), "multi-index": ("Multi-index tables", _TABLED),
    "load": ("A saved index, mapped", _LOADED),
}  # fmt: skip
_CAPTION = (
    "hashret is: its pairs/s by the engine's. Of popcount: of XOR and popcount in the cache. Of reading: of the "
    "fastest way to read the codes.\nPeak: memory beyond what the process held before it was given the codes. Runs: "
    "times of which the figure is the median; '5 of 16 q': measured on 16 of the queries."
)


def _table(title: str, columns: Iterable[Column], rows: list[Row]) -> Table:
    """A table; a case that has several rows is named in the first of them."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name, _ in columns:
        left = name in ("case", "engine", "against", "verdict")
        table.add_column(name, justify="left" if left else "right", no_wrap=columns is not _MUST)
    last = ""
    for row in rows:
        cells = [shown(row) for _, shown in columns]
        last, cells[0] = cells[0], "" if cells[0] == last else cells[0]
        table.add_row(*map(Text, cells))
    return table


def _order(row: Row) -> tuple[int, int, int, float]:
    """Galleries in the order they are printed."""
    return row["bits"], -row["codes"], row["centres"], row["flips"]


def tables(report: dict[str, Any]) -> Group:
    """All tables of a run, for a terminal."""
    limits, about = report["limits"], report["machine"]
    versions = ", ".join(f"{name} {version or 'not installed'}" for name, version in about["versions"].items())
    caches = ", ".join(f"{name} {size}" for name, size in about["caches"].items())
    engines = "; ".join(f"{name}: {', '.join(told.values())}" for name, told in about["engines"].items())
    lines = (f"{about['processor']}, {about['cores']} cores; {caches}", versions, engines)
    shown: list[Any] = [Text(line) for line in lines]
    for threads, kinds in limits["read_bytes_per_second"].items():
        rates = ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in kinds.items())
        shown.append(Text(f"Reading from memory with {threads} threads, GB/s: {rates}"))
    for name, told in (("popcount_pairs_per_second", "XOR and popcount in the cache"),
                       ("cache_resident_scan", "hashret, few codes in the cache")):  # fmt: skip
        rates = ", ".join(f"{bits} bits {rate / 1e9:.3g}" for bits, rate in limits[name].items())
        shown.append(Text(f"{told}, 1 thread, G pairs/s: {rates}"))
    for suite, (title, columns) in _TITLES.items():
        rows = _picked(report["rows"], suite=suite)
        if rows:
            rows.sort(key=lambda row: (*_order(row), row["queries"] * (not row["alone"]), row["k"], row["threads"]))
            shown += [_table(title, columns, rows)]
    return Group(*shown, Text(_CAPTION, style="dim"), _table("What it must show", _MUST, report["targets"]))


def _part(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    return {"x": f"{value:.3g}x", "%": f"{value:.0%}", "s": f"{value * 1e3:.3g} ms"}[unit]


_MUST: tuple[Column, ...] = (
    ("case", lambda row: row["case"]), ("against", lambda row: row["against"]),
    ("target", lambda row: " / ".join(_part(part["needed"], part["unit"]) for part in row["parts"])),
    ("measured", lambda row: " / ".join(_part(part["measured"], part["unit"]) for part in row["parts"])),
    ("verdict", lambda row: {True: "held", False: "missed", None: "-"}[row["held"]]),
)  # fmt: skip


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw the rates of the engines by width, k = 10, many queries at once."""
    rows = _picked(report["rows"], suite="batch", data="uniform", k=10, alone=False)
    rows = [row for row in rows if "seconds" in row]
    many = max((row["queries"] for row in _picked(report["rows"], suite="batch", k=100)), default=0)
    rows = _picked(rows, queries=many)
    widths = sorted({row["bits"] for row in rows})
    names = [name for name in PLOTTED if _picked(rows, engine=name)]
    if not names:
        return
    figure = Figure(figsize=(max(7.0, 1.9 * len(widths)), 5.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes, wide = figure.add_subplot(), 0.86 / len(names)
    for place, bits in enumerate(widths):
        limit = report["limits"]["popcount_pairs_per_second"][str(bits)] * report["options"]["threads"] / 1e9
        label = "" if place else "limit: XOR and popcount in the cache"
        axes.hlines(limit, place - 0.45, place + 0.45, color=INK, linestyle=(0, (4, 2)), linewidth=1, label=label)
    for place, name in enumerate(names):
        best = [max((row["pairs_per_second"] / 1e9 for row in _picked(rows, engine=name, bits=bits)), default=np.nan)
                for bits in widths]  # fmt: skip
        left = np.arange(len(widths)) + (place - (len(names) - 1) / 2) * wide
        bars = axes.bar(left, best, wide * 0.92, label=name, color=PLOTTED[name], zorder=2)
        halo = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.bar_label(bars, [_rate(rate) for rate in best], fontsize=6.5, padding=2, bbox=halo, zorder=3)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks(range(len(widths)), [str(bits) for bits in widths])
    axes.set_xlabel("bits of a code")
    axes.set_ylabel("billions of pairs of query and code a second")
    axes.grid(axis="y", color=GRID, zorder=0)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, ncols=len(names) + 1, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    threads = report["options"]["threads"]
    figure.suptitle(f"Exact Hamming search, k = 10, {many} queries, {threads} thread{'s' * (threads > 1)}", fontsize=11)
    figure.savefig(path)


def _rate(value: float) -> str:
    """A label of a bar: two digits; none where there is no bar."""
    return "" if np.isnan(value) else f"{value:.0f}" if value >= 9.95 else f"{value:#.2g}"
