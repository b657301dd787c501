#!/usr/bin/env bash
# Everything that wants a CUDA GPU, in some 25 minutes on an H200: the CUDA tests, training speed, scoring speed,
# the norms' training steps in a classifier, and a stretch of real training whose rate says what the whole recipe takes.
#
#   bash benchmarks/gpu_session.sh CIFAR10-TRAIN.zip OUT [PART...]
#
# Parts, and the minutes that each takes at most: tests 4, speed-64 4, speed-128 4, speed-512 5, scores 5, bench 4,
# dcgan 4, resnet 7. OUT gets the logs, tables and grids of docs/results/. A part that fails does not stop the others, and
# can be run again.
set -u
data=$(realpath "$1"); out=$(mkdir -p "$2" && realpath "$2"); shift 2
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
export PYTHONUNBUFFERED=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

part() {  # name, limit in seconds, command...
    local name=$1 limit=$2; shift 2
    echo "== $name: $*" | tee -a "$out/session.log"
    timeout -k 30 "$limit" "$@" >"$out/$name.log" 2>&1 && echo "   done" || echo "   exit code $? (see $name.log)"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/hardware.txt"
$python -c 'import torch, sys; print(sys.version, torch.__version__, torch.version.cuda)' | tee -a "$out/hardware.txt"

[ $# -gt 0 ] || set -- tests speed-64 speed-128 speed-512 scores bench dcgan resnet
for name in "$@"; do case $name in
tests)
    part tests 240 $python -m pytest -q -k "cuda or graph" tests ;;
speed-*)
    batch=${name#speed-}
    part "$name" 300 $python benchmarks/train_speed.py --data "$data" --device cuda --batch "$batch" \
        --preset msn-dcgan sngan-resnet --norms sn,msn --steps $((batch > 256 ? 40 : 150)) --rounds 3 --warmup 6 \
        --workers 12 --json "$out/$name.json" ;;
scores)
    part scores 300 $python benchmarks/fid_speed.py --data "$data" --device cuda --num 50000 --precision fp32 bf16 \
        --json "$out/scores.json" ;;
bench)
    for precision in fp32 bf16; do
        part "bench-$precision" 115 $python msn_gan.py bench --models densenet-bc --norms none,bn,sn,msn --batch 64 \
            --precision $precision --device cuda --seconds 90 --json "$out/bench-$precision.json"
    done ;;
dcgan | resnet)
    preset=$([ $name = dcgan ] && echo msn-dcgan || echo sngan-resnet)
    steps=$([ $name = dcgan ] && echo 10000 || echo 6000)
    for norm in sn msn; do
        run=$name-$norm
        rm -rf "$out/runs/checkpoints/$run" "$out/runs/samples/$run"
        part "$run" 200 $python msn_gan.py train "$run" --preset $preset --norm $norm --data "$data" \
            --steps $steps --checkpoint-every $steps --sample-every $((steps / 2)) --device cuda --out "$out/runs"
        cp "$out/runs/checkpoints/$run/log.jsonl" "$out/$run.jsonl" 2>/dev/null
        newest=$(ls "$out/runs/samples/$run"/step-*.png 2>/dev/null | tail -1)
        [ -n "$newest" ] && cp "$newest" "$out/$run.png"
    done ;;
*)
    echo "no such part: $name" >&2; exit 2 ;;
esac; done
