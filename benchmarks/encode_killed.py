"""Whether an encoding that is killed again and again ends in the bytes of one that is not.

    python benchmarks/encode_killed.py RUN --work /tmp/killed --out encode_killed.json
    python benchmarks/encode_killed.py RUN --work /tmp/killed --runner ray --kill-worker
    python benchmarks/encode_killed.py RUN --small

``--items`` pictures are drawn into files (JPEG of 64 x 64; one in 997 is torn, one empty, one a text), and
``hashret encode`` runs over them in a process of its own: once undisturbed, then into another folder with ``kill -9``
at ``--kills`` random moments, each followed by the same command. How long a process lives is drawn (``--seed``) between
0 and twice what would spread the kills that are left over the work that is left, going by the undisturbed run. With
``--runner ray`` the second pass is one run on a Ray cluster of this machine, of which ``--kill-worker`` kills one of
the workers at a random moment.

Every file of both folders is compared, byte for byte; of the stats, the seconds are left out. The run fails where one
differs, an item is missing or there twice, or a decoder outlives its run. Printed are the counts, when the kills hit
(while the process started, within a shard, while the files of one were written, after the last), the peak of resident
memory of a process (its decoders share most of theirs with it) and items a second. With ``--work`` pictures and the
undisturbed pass stay there for the next call.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from store_memory import descendants

from hashret.arrayfile import replace_file
from hashret.encoded import EncodedFolder

Row = dict[str, Any]

_BROKEN_EVERY = 997


def draw(folder: Path, count: int) -> None:
    """Smooth pictures with some noise, each from its number alone; what is drawn already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(os.listdir(folder)), count):
        chance = np.random.default_rng(number)
        coarse = Image.fromarray(chance.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + chance.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(file := io.BytesIO(), "JPEG", quality=85)
        raw = file.getvalue()
        broken = {0: raw[: len(raw) // 2], 1: b"", 2: b"this is no picture"}
        content = broken.get(number % _BROKEN_EVERY, raw)
        replaced = folder / f"{number:07d}.jpg"
        replaced.write_bytes(content)


class Encoding:
    """``hashret encode`` in a process of its own.

    Args:
        args: Of this script.
        photos: What is encoded.
        out: Where to.
        options: Further ones.

    Attributes:
        begun: When it was started.
        peak: Resident memory at most, in MiB; known when it has ended.
    """

    peak = 0.0

    def __init__(self, args: argparse.Namespace, photos: Path, out: Path, *options: str) -> None:
        """Start it."""
        command = [sys.executable, "-m", "hashret", "encode", str(args.run), str(photos), "--side", "image"]
        command += ["--out", str(out), "--shard-size", str(args.shard_size), "--workers", "1", "--quiet", *options]
        environment = {"RAY_worker_niceness": "0", **os.environ}  # Ray's workers would wait for everything else
        self.begun = time.monotonic()
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
        self.pid = self._process.pid

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended by itself, or that long; whether it has.

        Raises:
            SystemExit: It failed.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        while ends is None or time.monotonic() < ends:
            if self._reap(os.WNOHANG):
                return True
            time.sleep(0.005)
        return False

    def kill(self) -> list[int]:
        """Kill it with -9; the processes it had started."""
        below = descendants(self.pid)[1:]
        os.kill(self.pid, signal.SIGKILL)
        self._reap(0)
        return below

    def _reap(self, how: int) -> bool:
        """Take note of its end, if it has come; the kernel tells of it once."""
        if self._process.returncode is not None:
            return True
        found, status, used = os.wait4(self.pid, how)
        if not found:
            return False
        self.peak = used.ru_maxrss / 1024
        self._process.returncode = os.waitstatus_to_exitcode(status)
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace")
        self._process.stderr.close()
        if self._process.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"hashret encode ended with {self._process.returncode}: {said}")
        return True


def undisturbed(args: argparse.Namespace, photos: Path, out: Path) -> Row:
    """One run to its end; also how long it took to begin."""
    encoding = Encoding(args, photos, out)
    while not (out / "stats").exists() and not encoding.wait(0.01):
        pass
    starting = time.monotonic() - encoding.begun
    encoding.wait()
    return {"seconds": time.monotonic() - encoding.begun, "starting": starting, "peak_mib": encoding.peak}


def killed(args: argparse.Namespace, photos: Path, out: Path, calm: Row) -> Row:
    """Runs that are killed at random moments, and one that comes to its end."""
    chance = np.random.default_rng(args.seed)
    hit: Counter[str] = Counter()
    begun, peak = time.monotonic(), 0.0
    for left in range(args.kills, 0, -1):
        work = (1 - _shards_done(out) * args.shard_size / args.items) * (calm["seconds"] - calm["starting"])
        mean = calm["starting"] + work / (left + 1)
        life = min(float(chance.uniform(0, 2 * mean)), 0.9 * (calm["starting"] + work))
        encoding = Encoding(args, photos, out)
        if encoding.wait(life):
            hit["after the last"] += 1
            continue
        orphans = encoding.kill()
        hit[_moment(out, orphans, args)] += 1
        peak = max(peak, encoding.peak)
        _check_dead(orphans)
    last = Encoding(args, photos, out)
    last.wait()
    return {"seconds": time.monotonic() - begun, "peak_mib": max(peak, last.peak), "kills": dict(hit)}


def _moment(out: Path, decoders: list[int], args: argparse.Namespace) -> str:
    """Where a kill hit, as far as what it left shows."""
    if not decoders:
        return "after the last" if _shards_done(out) * args.shard_size >= args.items else "while it started"
    marked = {path.stem for path in (out / "stats").glob("[0-9]*.json")}
    unmarked = {
        path.stem for part in ("codes", "metadata", "failures") for path in (out / part).glob("[0-9]*")
    } - marked
    unnamed = [path for part in ("codes", "metadata", "failures", "stats") for path in (out / part).glob(".*")]
    return "while files were written" if unmarked or unnamed else "within a shard"


def _shards_done(out: Path) -> int:
    return len(list((out / "stats").glob("[0-9]*.json")))


def _check_dead(processes: list[int]) -> None:
    ends = time.monotonic() + 30
    while alive := [each for each in processes if _state(each) not in ("", "Z")]:
        if time.monotonic() > ends:
            raise SystemExit(f"processes {alive} outlive the run that started them")
        time.sleep(0.05)


def _state(process: int) -> str:
    """The letter /proc has for it; "" if it is gone."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()[0]
    return ""


def on_ray(args: argparse.Namespace, photos: Path, out: Path) -> Row:
    """One run on a cluster of this machine, one of its workers killed when a random share of the shards is done."""
    share = np.random.default_rng(args.seed).uniform(0.2, 0.7)
    shards = -(-args.items // args.shard_size)
    encoding = Encoding(args, photos, out, "--runner", "ray", "--ray-workers", str(args.ray_workers))
    hit: Counter[str] = Counter()
    while args.kill_worker and not hit and not encoding.wait(0.05):
        done = _shards_done(out)
        working = [each for each in descendants(encoding.pid) if _encodes(each)] if done >= share * shards else []
        if working:
            decoders = descendants(working[0])[1:]
            os.kill(working[0], signal.SIGKILL)
            hit[f"a worker, {done} of {shards} shards done"] += 1
            _check_dead(decoders)
    encoding.wait()
    if args.kill_worker and not hit:
        raise SystemExit("no worker was there to be killed: give more --items or fewer --shard-size")
    return {"seconds": time.monotonic() - encoding.begun, "peak_mib": encoding.peak, "kills": dict(hit)}


def _encodes(process: int) -> bool:
    """Whether it is a worker with decoders below it."""
    with contextlib.suppress(OSError):
        return b"MapWorker" in Path(f"/proc/{process}/cmdline").read_bytes() and len(descendants(process)) > 1
    return False


def contents(folder: Path) -> dict[str, str]:
    """File -> digest, of the stats without the seconds."""
    found = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        raw = path.read_bytes()
        if path.parent.name == "stats":
            noted = json.loads(raw)
            del noted["seconds"]
            raw = json.dumps(noted).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.blake2b(raw).hexdigest()
    return found


def counts(folder: Path, items: int) -> Row:
    """What lies in a finished folder; every item once, with a code or a reason.

    Raises:
        SystemExit: One is missing, or there twice.
    """
    opened = EncodedFolder.open(folder)
    ids: list[int] = []
    keys: list[str] = []
    failed: list[Row] = []
    for shard in opened.shards():  # which compares every file with its digest, too
        ids += shard.ids.tolist()
        keys += shard.column("key")
        failed += opened.failures(shard.number)
    every = ids + [row["id"] for row in failed]
    twice = len(every) - len(set(every)) + len(keys) - len(set(keys))
    if sorted(every) != list(range(items)) or twice:
        raise SystemExit(f"{folder}: {len(set(every))} of {items} items, {twice} twice")
    reasons = Counter(row["reason"] for row in failed)
    return {"items": items, "codes": len(ids), "failures": len(failed), "twice": twice, "reasons": dict(reasons)}


def compare(args: argparse.Namespace, work: Path) -> list[Row]:
    """Both passes, and their folders held against each other."""
    photos, kept = work / "photos", work / "undisturbed.json"
    draw(photos, args.items)
    wanted = {"run": str(args.run.resolve()), "items": args.items, "shard_size": args.shard_size}
    calm: Row = json.loads(kept.read_bytes()) if kept.exists() else {}
    if calm.get("of") != wanted:
        shutil.rmtree(work / "undisturbed", ignore_errors=True)
        calm = {"of": wanted, **undisturbed(args, photos, work / "undisturbed")}
        replace_file(kept, json.dumps(calm).encode())
    shutil.rmtree(work / "other", ignore_errors=True)
    other = on_ray(args, photos, work / "other") if args.runner == "ray" else killed(args, photos, work / "other", calm)
    right, found = contents(work / "undisturbed"), contents(work / "other")
    differing = sorted(name for name in right.keys() | found.keys() if right.get(name) != found.get(name))
    if differing:
        raise SystemExit(f"{len(differing)} of {len(right)} files differ, such as {differing[0]}")
    rows = []
    for name, told in {"undisturbed": calm, "ray" if args.runner == "ray" else "killed": other}.items():
        folder = work / ("undisturbed" if told is calm else "other")
        rows.append({"pass": name, "files": len(right), **counts(folder, args.items), **told})
        rows[-1]["items_per_second"] = args.items / told["seconds"]
    return rows


def main() -> None:
    """Encode, kill, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a trained run, such as the demo's")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--shard-size", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runner", choices=["local", "ray"], default="local")
    parser.add_argument("--ray-workers", type=int, default=2)
    parser.add_argument("--kill-worker", action="store_true", help="kill one of Ray's")
    parser.add_argument("--work", type=Path, help="where pictures and folders stay [default: removed at the end]")
    parser.add_argument("--small", action="store_true", help="a few items, to see that it runs")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.small:
        args.items, args.kills, args.shard_size = 2_000, 3, 100
    with tempfile.TemporaryDirectory() as name:
        work = args.work or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        rows = compare(args, work)
    print("| pass | items | codes | failures | twice | seconds | items /s | peak memory, MiB | kills |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        kills = "; ".join(f"{times} {when}" for when, times in sorted(row.get("kills", {}).items()))
        print(
            f"| {row['pass']} | {row['items']:,} | {row['codes']:,} | {row['failures']:,} | {row['twice']} | "
            f"{row['seconds']:.0f} | {row['items_per_second']:.0f} | {row['peak_mib']:.0f} | {kills} |"
        )
    where = f"{platform.machine()}, {os.cpu_count()} cores, one decoding process"
    print(f"\nAll {rows[0]['files']:,} files are the same byte for byte (of the stats all but the seconds). {where}.")
    if args.out:
        args.out.write_text(json.dumps({"rows": rows, "where": where, "seed": args.seed}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
