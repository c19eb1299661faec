"""How far two cores are from each other, and what that does to the time of a meta-gradient.

What one core wrote comes to another from its cache, several times as fast if both share one of the
third level. A virtual machine's cores may be such today and others in a minute, as its host places
them. Two threads hand a number to and fro, which takes so many nanoseconds, before and after each
meta-gradient; it counts as near if both round trips are below the limit, as far if both are above.

    python examples/benchmarks/bench_two_cores.py --seconds 120 --json out.json

It needs a C compiler, Linux, and a machine that has nothing else to do.
"""

import argparse
import ctypes
import os
import subprocess
import tempfile
from math import nan
from pathlib import Path
from statistics import median
from time import perf_counter

import report
import torch
from bench_meta_gradient import CONFIGS, Timed

SOURCE = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
enum { TURNS = 20000 };
static _Alignas(128) atomic_int turn;

static void stay_on(int core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
}
static void *answer(void *core) {
    stay_on(*(int *)core);
    for (int i = 0; i < TURNS; i++) {
        while (atomic_load(&turn) != 2 * i + 1);
        atomic_store(&turn, 2 * i + 2);
    }
    return 0;
}
static void *ask(void *cores) {
    struct timespec a, b;
    stay_on(((int *)cores)[0]);
    for (int i = 0; i < TURNS; i++) {
        if (i == TURNS / 10) clock_gettime(CLOCK_MONOTONIC, &a);
        atomic_store(&turn, 2 * i + 1);
        while (atomic_load(&turn) != 2 * i + 2);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    static double ns;
    ns = ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec) / (TURNS - TURNS / 10);
    return &ns;
}
double round_trip(int *cores) {
    pthread_t one, other;
    void *ns;
    turn = 0;
    pthread_create(&one, 0, answer, cores + 1);
    pthread_create(&other, 0, ask, cores);
    pthread_join(one, 0);
    pthread_join(other, &ns);
    return *(double *)ns;
}
"""


def make_round_trip():
    """Return a function for the nanoseconds of a round trip between the first two cores."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "two_cores.c"), Path(folder, "two_cores.so")
        source.write_text(SOURCE)
        flags = ["-O2", "-shared", "-fPIC", "-pthread"]
        subprocess.run([os.environ.get("CC", "cc"), *flags, source, "-o", made], check=True)
        compiled = ctypes.CDLL(str(made)).round_trip
    compiled.restype = ctypes.c_double
    cores = (ctypes.c_int * 2)(*sorted(os.sched_getaffinity(0))[:2])
    return lambda: compiled(cores)


def measure(name: str, seconds: float, limit_ns: float, round_trip) -> dict:
    """Return the row of a configuration."""
    times, trips = {"near": [], "far": []}, []
    with Timed(CONFIGS[name], "cpu", "ours", compiled=False) as two:
        end = perf_counter() + seconds
        while perf_counter() < end:
            before, took, after = round_trip(), two.seconds(), round_trip()
            trips += [before, after]
            if max(before, after) < limit_ns:
                times["near"].append(took)
            elif min(before, after) >= limit_ns:
                times["far"].append(took)
    near, far = (
        median([trip for trip in trips if (trip < limit_ns) == is_near] or [nan])
        for is_near in (True, False)
    )
    return {
        "config": name,
        "near_s": median(times["near"] or [nan]),
        "far_s": median(times["far"] or [nan]),
        "n_near": len(times["near"]),
        "n_far": len(times["far"]),
        "near_ns": near,
        "far_ns": far,
    }


def one_thread_s(name: str) -> float:
    """Return the median time of a meta-gradient by one thread."""
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with Timed(CONFIGS[name], "cpu", "ours", compiled=False) as one:
            return median(one.seconds() for _ in range(5))
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads


def main() -> None:
    """Print a row for each configuration and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["digits", "28x28-ipc1", "32x32-ipc1-narrow"]
    parser.add_argument("--config", nargs="+", default=names, choices=list(CONFIGS))
    parser.add_argument("--seconds", type=float, default=120, help="of each configuration")
    parser.add_argument("--limit-ns", type=float, default=130, help="of a round trip that is near")
    parser.add_argument("--json", help="file to write")
    args = parser.parse_args()
    if torch.get_num_threads() != 2:
        parser.error("threads: it needs two, see OMP_NUM_THREADS")
    round_trip, rows = make_round_trip(), []
    print("config             near (ns)  far (ns)  near (s)   far (s)  one thread (s)")
    for name in args.config:
        row = measure(name, args.seconds, args.limit_ns, round_trip)
        row["one_thread_s"] = one_thread_s(name)
        rows.append(row)
        print(
            f"{name:18s} {row['near_ns']:9.0f} {row['far_ns']:9.0f} {row['near_s']:9.3f} "
            f"{row['far_s']:9.3f} {row['one_thread_s']:15.3f}   of {row['n_near']} and "
            f"{row['n_far']}",
            flush=True,
        )
    report.write(args.json, "cpu", limit_ns=args.limit_ns, rows=rows)


if __name__ == "__main__":
    main()
