#!/usr/bin/env bash
# Run everything that needs a CUDA GPU, in about 40 minutes (an estimate): training speed, the norms' training steps in
# a classifier, the CUDA tests, memory and speed of the large presets, comparisons of real trainings, scoring speed.
#
#   bash benchmarks/gpu_session.sh CIFAR10-TRAIN.zip CIFAR10-TEST.zip OUT [PART...]
#   DRY=1 bash benchmarks/gpu_session.sh TRAIN.zip TEST.zip OUT    # on a CPU: tiny networks, a few steps
#
# Parts in order of importance, with their time limits in minutes: speed-PRESET-BATCH 3.5 (msn-dcgan and sngan-resnet,
# 64, 128 and 512), bench 4, tests 4, sizes 5, features 3, r3gan 12, resnet 7, dcgan 5, scores 5. The first four can be
# run alone: `... OUT speed-msn-dcgan-64 speed-sngan-resnet-64`, then `... OUT bench tests`. r3gan, resnet and dcgan
# score with the classifier that `features` trains in the same command. OUT gets the logs, tables and grids of
# docs/results/. A part that fails does not stop the others and can be run again; the exit code is then 1.
#
# Needs the project's dependencies, but not the project installed; scores and some tests also need pytorch-fid and
# torch-fidelity. PYTHON selects the interpreter; default: .venv/bin/python, or python3 if there is no .venv.
set -u
data=$(realpath -e "$1") && test_data=$(realpath -e "$2") || exit 2
out=$(mkdir -p "$3" && realpath "$3"); shift 3
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
runs=$(mktemp -d)  # checkpoints, not copied to OUT
trap 'rm -rf "$runs"' EXIT
features=classifier:$runs/checkpoints/features/bn-lr0.001-seed0/classifier.pt
failed=0
export PYTHONUNBUFFERED=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

part() {  # name, limit in seconds, command...
    local name=$1 limit=$2; shift 2
    echo "== $name: $*" | tee -a "$out/session.log"
    timeout -k 30 "$limit" "$@" >"$out/$name.log" 2>&1 && echo "   done" || { echo "   exit code $? (see $name.log)"; failed=1; }
    tail -n 40 "$out/$name.log"
}

size() {  # words of the real session, or those of a dry one
    if [ -n "${DRY:-}" ]; then echo "$2"; else echo "$1"; fi
}

device=$(size cuda cpu)
narrow=$(size "" "--g-width 16 --d-width 16 --batch 4")

[ -n "${DRY:-}" ] || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/hardware.txt"
$python -c 'import torch, sys; print(sys.version, torch.__version__, torch.version.cuda)' | tee -a "$out/hardware.txt"

[ $# -gt 0 ] || set -- speed-{msn-dcgan,sngan-resnet}-64 bench tests sizes features r3gan resnet dcgan \
    speed-{msn-dcgan,sngan-resnet}-{128,512} scores
for name in "$@"; do case $name in
tests)
    # Tests that cannot be collected without pytorch-fid must not prevent the others.
    part tests 240 $python -m pytest -q -rs -k cuda --continue-on-collection-errors --ignore tests/export \
        $(size "" --collect-only) tests ;;
speed-*-*)
    batch=$(size ${name##*-} 2); preset=${name#speed-}; preset=${preset%-*}
    # At least 100 batches per turn: the textbook's loader has about two dozen ready when its turn starts.
    steps=100; [ "$preset" = sngan-resnet ] && steps=$((batch > 256 ? 20 : 60))
    part "$name" 210 $python benchmarks/train_speed.py --data "$data" --device $device --batch $batch \
        --preset $preset --norms sn,msn $(size "--steps $steps --rounds 3 --warmup 6 --workers 12" \
        "--steps 1 --rounds 1 --warmup 1") --json "$out/$name.json" ;;
scores)
    part scores 300 $python benchmarks/fid_speed.py --data "$data" --device $device --precision fp32 bf16 \
        --num $(size 50000 40) --json "$out/scores.json" ;;
bench)
    for precision in fp32 bf16; do
        part "bench-$precision" 115 $python msn_gan.py bench --norms none,bn,sn,msn --precision $precision \
            $(size "--models densenet-bc --batch 64 --seconds 90" "--models cnn3 --batch 2 --rounds 1 --no-memory") \
            --device $device --json "$out/bench-$precision.json" --overwrite
    done ;;
features)
    part features 180 $python msn_gan.py classify features --model vgg7 --norms bn --data "$data" --device $device \
        --test-data "$test_data" $(size "--epochs 10" "--epochs 1 --batch 8") --out "$runs"
    cp "$runs/checkpoints/features/classify.json" "$out/features.json" 2>/dev/null ;;
r3gan)
    part r3gan 720 $python benchmarks/equal_seconds.py --data "$data" --features "$features" --device $device \
        --textbook "" --seconds $(size "60 240" 1) --num $(size 10000 20) --grids "$out" --json "$out/r3gan.json" \
        "--preset r3gan $narrow" "--preset r3gan --norm sn $narrow" "--preset sngan-resnet $narrow" ;;
sizes)
    for preset in r3gan r3gan-64 r3gan-256 sngan-resnet resnet-256; do
        width=$([ $preset = r3gan-256 ] && echo 64 || echo 16)  # the smallest of the network
        part "sizes-$preset" 60 $python msn_gan.py train "$preset" --preset $preset --data "$data" --device $device \
            $(size "" "--batch 2 --g-width $width --d-width $width") --dry-run
    done ;;
dcgan | resnet)
    preset=$([ $name = dcgan ] && echo msn-dcgan || echo sngan-resnet)
    steps=$(size $([ $name = dcgan ] && echo 6000 || echo 2500) 4)
    part "$name" $([ $name = dcgan ] && echo 300 || echo 420) $python msn_gan.py compare $name --preset $preset \
        --norms none,sn,msn --seeds 2 --data "$data" --device $device --steps $steps --report-every $((steps / 2)) \
        --features "$features" --report-num $(size 10000 20) --sample-every $steps --checkpoint-every $steps $narrow \
        --out "$runs"
    for file in report.json report.html; do
        cp "$runs/checkpoints/$name/$file" "$out/$name-$file" 2>/dev/null
    done ;;
*)
    echo "no such part: $name" >&2; exit 2 ;;
esac; done
exit $failed
