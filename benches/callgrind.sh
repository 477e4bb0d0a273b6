#!/usr/bin/env bash
# Counts the instructions of a request with callgrind, for what no clock of a shared machine tells.
#
#   benches/callgrind.sh [algorithm …]
#
# Each number is the difference of two runs, divided by the requests between them, so that what is
# done once does not count. Valgrind offers the program a simpler processor than the real one
# (no SHA extensions, no AVX-512), so aws-lc takes other code than outside: the numbers of the
# cryptography are those of AVX2, those of everything else are exact.
set -euo pipefail
cd "$(dirname "$0")/.."

few=100 many=300
algorithms=("$@")
[ ${#algorithms[@]} -gt 0 ] || algorithms=(HS256 RS256 ES256 EdDSA)
program=$(cargo bench --features test-util,server --bench layer --no-run 2>&1 |
    sed -n 's/.*Executable.*(\(.*\))$/\1/p')
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# Instructions of so many requests.
count() {
    valgrind --tool=callgrind --callgrind-out-file="$work/out" --toggle-collect='*repeat*' \
        "$program" --loop "$1" "$2" 2>&1 | sed -n 's/.*Collected : //p'
}
# Instructions of one.
each() { echo $((($(count "$1" $many) - $(count "$1" $few)) / (many - few))); }

echo "| instructions of a request | floor | first time | again | told | no layer |"
echo "|---|---|---|---|---|---|"
for algorithm in "${algorithms[@]}"; do
    echo "| $algorithm | $(each "$algorithm/floor") | $(each "$algorithm/layer") |" \
        "$(each "$algorithm, again/hit") | $(each "$algorithm, again/told") |" \
        "$(each "$algorithm, again/no layer") |"
done

echo
echo "| instructions of a cache hit | |"
echo "|---|---|"
for candidate in "several/one issuer" "several/three issuers" "several/tenants" \
    "8192 bytes/short" "8192 bytes/long"; do
    echo "| ${candidate} | $(each "HS256, $candidate") |"
done

# Once around all tokens before, so that the cache is full.
few=9000 many=10000
echo
echo "| instructions of a unique token | |"
echo "|---|---|"
for candidate in floor "no cache" cache; do
    echo "| $candidate | $(each "HS256, unique/$candidate") |"
done
