#!/usr/bin/env bash
# Run everything that needs a CUDA GPU, in about 25 minutes (an estimate): training speed, the norms' training steps in
# a classifier, the CUDA tests, real training, scoring speed.
#
#   bash benchmarks/gpu_session.sh CIFAR10-TRAIN.zip OUT [PART...]
#
# Parts in order of importance, with their time limits in minutes: speed-PRESET-BATCH 3.5 (msn-dcgan and sngan-resnet,
# 64, 128 and 512), bench 4, tests 4, dcgan 7, resnet 7, scores 5. The first four can be run alone:
# `... OUT speed-msn-dcgan-64 speed-sngan-resnet-64`, then `... OUT bench tests`. OUT gets the logs, tables and grids of
# docs/results/. A part that fails does not stop the others and can be run again.
#
# Needs the project's dependencies, but not the project installed; scores and some tests also need pytorch-fid and
# torch-fidelity. PYTHON selects the interpreter; default: .venv/bin/python, or python3 if there is no .venv.
set -u
data=$(realpath -e "$1") || exit 2
out=$(mkdir -p "$2" && realpath "$2"); shift 2
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
runs=$(mktemp -d)  # checkpoints, not copied to OUT
export PYTHONUNBUFFERED=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

part() {  # name, limit in seconds, command...
    local name=$1 limit=$2; shift 2
    echo "== $name: $*" | tee -a "$out/session.log"
    timeout -k 30 "$limit" "$@" >"$out/$name.log" 2>&1 && echo "   done" || echo "   exit code $? (see $name.log)"
    tail -n 40 "$out/$name.log"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/hardware.txt"
$python -c 'import torch, sys; print(sys.version, torch.__version__, torch.version.cuda)' | tee -a "$out/hardware.txt"

[ $# -gt 0 ] || set -- speed-{msn-dcgan,sngan-resnet}-64 bench tests dcgan resnet \
    speed-{msn-dcgan,sngan-resnet}-{128,512} scores
for name in "$@"; do case $name in
tests)
    # Tests that cannot be collected without pytorch-fid must not prevent the others.
    part tests 240 $python -m pytest -q -rs -k cuda --continue-on-collection-errors --ignore tests/export tests ;;
speed-*-*)
    batch=${name##*-}; preset=${name#speed-}; preset=${preset%-*}
    # At least 100 batches per turn: the textbook's loader has about two dozen ready when its turn starts.
    steps=100; [ "$preset" = sngan-resnet ] && steps=$((batch > 256 ? 20 : 60))
    part "$name" 210 $python benchmarks/train_speed.py --data "$data" --device cuda --batch "$batch" \
        --preset "$preset" --norms sn,msn --steps $steps --rounds 3 --warmup 6 --workers 12 \
        --json "$out/$name.json" ;;
scores)
    part scores 300 $python benchmarks/fid_speed.py --data "$data" --device cuda --num 50000 --precision fp32 bf16 \
        --json "$out/scores.json" ;;
bench)
    for precision in fp32 bf16; do
        part "bench-$precision" 115 $python msn_gan.py bench --models densenet-bc --norms none,bn,sn,msn --batch 64 \
            --precision $precision --device cuda --seconds 90 --json "$out/bench-$precision.json" --overwrite
    done ;;
dcgan | resnet)
    preset=$([ $name = dcgan ] && echo msn-dcgan || echo sngan-resnet)
    steps=$([ $name = dcgan ] && echo 10000 || echo 6000)
    for norm in sn msn; do
        run=$name-$norm
        rm -rf "$runs/checkpoints/$run" "$runs/samples/$run"
        part "$run" 200 $python msn_gan.py train "$run" --preset $preset --norm $norm --data "$data" \
            --steps $steps --checkpoint-every $steps --sample-every $((steps / 2)) --device cuda --out "$runs"
        cp "$runs/checkpoints/$run/log.jsonl" "$out/$run.jsonl" 2>/dev/null
        newest=$(ls "$runs/samples/$run"/step-*.png 2>/dev/null | tail -1)
        [ -n "$newest" ] && cp "$newest" "$out/$run.png"
    done ;;
*)
    echo "no such part: $name" >&2; exit 2 ;;
esac; done
