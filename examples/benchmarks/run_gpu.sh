#!/usr/bin/env bash
# All benchmarks on a GPU, in under nine minutes; JSON and logs go to the folder given.
#
#     examples/benchmarks/run_gpu.sh out
set -u
cd "$(dirname "$0")/../.."
out=${1:?the folder to write to}
mkdir -p "$out"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader > "$out/gpu.txt"

# One that fails or takes too long does not keep the others from running.
bench() {
    local seconds=$1 name=$2 script=$3
    shift 3
    timeout "$seconds" python "examples/benchmarks/$script" "$@" --device cuda \
        --json "$out/$name.json" > "$out/$name.txt" 2>&1 || echo "$name: failed or cut off" >&2
    cat "$out/$name.txt"
}

bench 60 eager-ipc1 bench_meta_gradient.py --config paper-32x32-ipc1 --repeats 3
bench 110 compiled-ipc1 bench_meta_gradient.py --config paper-32x32-ipc1 --repeats 3 --compile
bench 130 compiled-ipc10 bench_meta_gradient.py --config paper-32x32-ipc10 --repeats 2 --compile
bench 90 compiled-ipc50 bench_meta_gradient.py --config paper-32x32-ipc50 --repeats 1 --compile
bench 80 evaluation bench_evaluation.py --config 32x32-ipc1 28x28-ipc1 --repeats 3
bench 30 precision bench_precision.py
bench 30 growth bench_growth.py --repeats 3
