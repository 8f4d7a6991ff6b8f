#!/usr/bin/env bash
# Checks and measures the CUDA engine on a machine with a GPU, in under ten minutes:
#   scripts/check-cuda.sh [--programs FOLDER] [--out FOLDER] [--model FOLDER] [PART...]
# Parts, and what all of them are without any: build tests memcheck racecheck kernels speed training peers. Each has its own
# time limit and leaves one file in --out (default build/check-cuda); a table of the figures comes last. pack, where it
# is named, leaves the stripped programs in --out, for a machine that has no compiler or no time for it.
# --programs: where the programs are, a build folder (default build/cuda, which the part build makes) or that of a pack.
# --model: where the random model of the 4B shape is, or is to stay; without it, it goes when the run ends.
# Needs Python; CMake and nvcc for build, compute-sanitizer for the two checks, torch and transformers for peers.
# No setting of the GPU is touched.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
programs=$root/build/cuda out=$root/build/check-cuda model='' parts=()
while (($#)); do
  case $1 in
    --programs) programs=$2 && shift 2 ;;
    --out) out=$2 && shift 2 ;;
    --model) model=$2 && shift 2 ;;
    build | tests | memcheck | racecheck | kernels | speed | training | peers | pack) parts+=("$1") && shift ;;
    *) sed -n '2,4p' "$0" && exit 2 ;;
  esac
done
((${#parts[@]})) || parts=(build tests memcheck racecheck kernels speed training peers)
declare -A seconds=([build]=150 [tests]=75 [memcheck]=60 [racecheck]=45 [kernels]=45 [speed]=60 [training]=60 [peers]=100
  [pack]=60)
# Those whose kernels the sanitizer looks at; a sample of their random cases, as each takes many times as long.
sanitized=(cuda_linear_test linear_test rows_test attention_test backward_test training_arrays_test
  policy_batch_test device_draws_test)
tested=(compute model sample schedule train)

mkdir -p "$out"
out=$(cd "$out" && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/check-cuda.XXXXXX")
models=$scratch # memory, where there is enough, is faster than a disk
(($(df --output=avail -B1000000000 /dev/shm | tail -n 1) > 12)) && models=$(mktemp -d /dev/shm/check-cuda.XXXXXX)
trap 'rm -rf "$scratch" "$models"' EXIT
export programs scratch NPR_FIXTURES=${NPR_FIXTURES:-$root/test/fixtures}
export NPR_TEST_DEVICE=cuda PYTHONUNBUFFERED=1

# Runs a command for what is left of the part's time, at most $1 seconds.
within() {
  local most=$1 left=$((deadline - EPOCHSECONDS))
  shift
  ((left > 0)) || { echo "no time left for: $*" && return 124; }
  timeout --kill-after=5 $((left < most ? left : most)) "$@"
}

program() {
  local found
  found=$(find "$programs" -name "$1" -type f -perm -u+x -print -quit 2>/dev/null)
  [[ -n $found ]] || { echo "$1: not in $programs" >&2 && return 127; }
  echo "$found"
}

# run SECONDS PROGRAM [ARGUMENT...]
run() {
  local path
  path=$(program "$2") || return
  within "$1" "$path" "${@:3}"
}

# The programs of the tests in some folders, by name.
tests_of() {
  local folder
  for folder; do
    find "$root/native/test/$folder" -name '*_test.cc' -o -name '*_test.cu' | sed 's|.*/||; s|\..*||' | sort
  done
}

# check_line SECONDS PROGRAM [ARGUMENT...], under the command $under where there is one. Prints a line: ok, skipped or FAIL,
# the seconds, and what ran; after a failure what it printed.
check_line() {
  local begin=${EPOCHREALTIME/./} log=$scratch/$2.$BASHPID.log word=FAIL path status tenths
  path=$(program "$2") && within "$1" ${under:-} "$path" "${@:3}" >"$log" 2>&1
  status=$?
  ((status == 0)) && word=ok
  ((status == 77)) && word=skipped
  ((status == 124)) && word='FAIL (out of time)'
  tenths=$(((${EPOCHREALTIME/./} - begin) / 100000))
  printf '%s %d.%d s %s\n' "$word" $((tenths / 10)) $((tenths % 10)) "${*:2}"
  [[ $word != FAIL* ]] || { [[ -e $log ]] && tail -n 40 "$log"; false; }
}
export -f within program check_line

# Reads what check_line takes behind its seconds, a line each, and runs several at once: each needs the GPU for a
# fraction of its time.
check_lines() { xargs -P 6 -I '{}' bash -c "check_line $1 {}"; }

# cuda_test, which looks at how much of the GPU's memory is free, and once it is over the lines that are read.
check_after_cuda_test() {
  local status=0
  echo cuda_test | check_lines "$1" || status=1
  check_lines "$1" || status=1
  return "$status"
}

part_build() {
  within 600 cmake --log-level=NOTICE -S "$root" -B "$programs" -DNPR_ADDON=OFF -DNPR_CUDA=ON &&
    within 600 cmake --build "$programs" --parallel "$(nproc)"
}

part_tests() { tests_of "${tested[@]}" | grep -vx cuda_test | check_after_cuda_test 60; }

sanitize() {
  local tiny=$scratch/tiny
  run 20 engine_bench random "$tiny" --shape tiny || return
  {
    echo "training_bench $tiny --device cuda --rounds 1 --tokens 256"
    echo "engine_bench speed $tiny --device cuda --rounds 1 --tokens 8 --prefill 100 --trunk 600 --branches 1,8" \
      '--apart 3 --context 70'
    printf '%s\n' "${sanitized[@]}"
    # calls that fail are exceptions of the engine's, and some tests want them
  } | NPR_TEST_STRIDE=23 under="compute-sanitizer --tool $1 --report-api-errors no --error-exitcode 9 --print-limit 20" \
    check_after_cuda_test 60
}
part_memcheck() { sanitize memcheck; }
part_racecheck() { sanitize racecheck; }

part_kernels() {
  run 25 cuda_linear_bench
  local status=$?
  run 15 cuda_attention_bench && return "$status"
}

# Prints the folder of a random model.
random_model() {
  local folder=$models/$1
  [[ $1 == qwen3-4b && -n $model ]] && folder=$model
  [[ -e $folder/config.json ]] || run 40 engine_bench random "$folder" --shape "$1" >&2 || return
  echo "$folder"
}

part_speed() {
  local folder
  folder=$(random_model qwen3-4b) || return
  run 20 engine_bench startup "$folder" --device cuda --rounds 1
  run 60 engine_bench speed "$folder" --device cuda --rounds 3 --tokens 64 --prefill 512,8192 --trunk 512,4096 \
    --branches 1,2,4,8,16 --apart 256 --context 1024
}

part_training() {
  local folder status=0
  folder=$(random_model qwen3-0.6b) &&
    run 30 training_bench "$folder" --device cuda --rounds 3 --tokens 4096 || status=1
  folder=$(random_model qwen3-4b) &&
    run 60 training_bench "$folder" --device cuda --rounds 3 --tokens 4096 --recompute layer || status=1
  return "$status"
}

part_peers() {
  local status=0 peers=$root/bench/peers/torch
  within 20 python3 "$peers/products.py" || status=1
  within 30 python3 "$peers/prefill.py" || status=1
  within 25 python3 "$peers/training.py" --shape qwen3-0.6b || status=1
  within 30 python3 "$peers/training.py" --shape qwen3-4b || status=1
  within 70 python3 "$peers/decode.py" || status=1
  return "$status"
}

part_pack() {
  local name path status=0
  for name in $(tests_of "${tested[@]}") engine_bench training_bench cuda_linear_bench cuda_attention_bench; do
    path=$(program "$name") && strip -o "$out/$name" "$path" || status=1
  done
  return "$status"
}

card=name,driver_version,compute_cap,memory.total,power.limit,clocks.max.sm,clocks.max.mem
now=clocks.sm,clocks.mem,power.draw,temperature.gpu

# The card, and what its clocks were while the part ran: medians of the samples taken above 5% utilisation.
card_line() {
  nvidia-smi --query-gpu=$card --format=csv,noheader,nounits -i 0 | python3 -c '
import csv, json, statistics, sys
name, driver, capability, memory, power, sm, mem = next(csv.reader(sys.stdin, skipinitialspace=True))
out = dict(type="card", name=name, driver=driver, compute_capability=capability, memory_mib=memory, power_limit_w=power,
           max_sm_mhz=sm, max_memory_mhz=mem)
samples = [row for row in csv.reader(open(sys.argv[1]), skipinitialspace=True)
           if len(row) == 5 and all(cell.replace(".", "").isdigit() for cell in row) and float(row[0]) > 5]
for i, key in enumerate(["sm_mhz", "memory_mhz", "power_w", "temperature_c"], 1):
    values = [float(row[i]) for row in samples]
    if values: out[key] = dict(median=statistics.median(values), min=min(values), max=max(values))
print(json.dumps(out))' "$1"
}

failed=0
summary=()
for part in "${parts[@]}"; do
  file=$out/$part.txt
  begin=$EPOCHSECONDS
  export deadline=$((begin + seconds[$part]))
  nvidia-smi --query-gpu=utilization.gpu,$now --format=csv,noheader,nounits -i 0 --loop-ms=250 >"$scratch/clocks" 2>&1 &
  sampler=$!
  "part_$part" >"$file" 2>&1
  status=$?
  kill "$sampler" 2>/dev/null
  wait "$sampler" 2>/dev/null
  card_line "$scratch/clocks" >>"$file" 2>&1
  word=ok
  ((status == 0)) || { word="FAILED ($status)" && failed=1; }
  summary+=("$(printf '%-10s %4d s  %s' "$part" $((EPOCHSECONDS - begin)) "$word")")
  printf '%s\n' "${summary[-1]}"
  ((status == 0)) || tail -n 15 "$file"
done
echo
python3 "$root/scripts/cuda_table.py" "$out"
echo
printf '%s\n' "${summary[@]}"
exit "$failed"
