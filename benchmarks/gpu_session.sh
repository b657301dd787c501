#!/usr/bin/env bash
# Everything that wants a CUDA GPU, in some 25 minutes on an H200: the CUDA tests, training speed, scoring speed, and
# a stretch of real training whose rate says what the whole recipe would take.
#
#   bash benchmarks/gpu_session.sh CIFAR10-TRAIN.zip OUT [PART...]     parts: tests speed scores dcgan resnet
#
# OUT gets the logs, tables and grids of docs/results/. A part that fails does not stop the others.
set -u
data=$(realpath "$1"); out=$(mkdir -p "$2" && realpath "$2"); shift 2
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
export PYTHONUNBUFFERED=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

part() {  # name, limit in seconds, command...
    local name=$1 limit=$2; shift 2
    echo "== $name: $*" | tee -a "$out/session.log"
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 && echo "   done" || echo "   exit code $? (see $name.log)"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/hardware.txt"
$python -c 'import torch, sys; print(sys.version, torch.__version__, torch.version.cuda)' | tee -a "$out/hardware.txt"

for name in "${@:-tests speed scores dcgan resnet}"; do for name in $name; do case $name in
tests)
    part tests 240 $python -m pytest -q -k "cuda or graph" tests ;;
speed)
    for batch in 64 128 512; do
        part "speed-$batch" 240 $python benchmarks/train_speed.py --data "$data" --device cuda --batch $batch \
            --preset msn-dcgan sngan-resnet --norms sn,msn --steps 200 --rounds 3 --warmup 6 --workers 12 \
            --json "$out/speed-$batch.json"
    done ;;
scores)
    part scores 300 $python benchmarks/fid_speed.py --data "$data" --device cuda --num 50000 --precision fp32 bf16 \
        --json "$out/scores.json" ;;
dcgan | resnet)
    preset=$([ $name = dcgan ] && echo msn-dcgan || echo sngan-resnet)
    for norm in sn msn; do
        part "$name-$norm" 200 $python msn_gan.py train "$name-$norm" --preset $preset --norm $norm --data "$data" \
            --steps 10000 --checkpoint-every 10000 --sample-every 5000 --device cuda --out "$out/runs"
        cp "$out/runs/checkpoints/$name-$norm/log.jsonl" "$out/$name-$norm.jsonl" 2>/dev/null
        newest=$(ls "$out/runs/samples/$name-$norm"/step-*.png 2>/dev/null | tail -1)
        [ -n "$newest" ] && cp "$newest" "$out/$name-$norm.png"
    done ;;
*)
    echo "no such part: $name" >&2; exit 2 ;;
esac; done; done
