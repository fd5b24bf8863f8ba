# Which stories have to run where, and whether they did.

# The stories of a kernel in their order: stories_on KERNEL
stories_on() {
    awk -v kernel="$1" '/^[^#]/ { for (i = 2; i <= NF; i++) if ($i == kernel) print $1 }' "$HERE/stories.table"
}

# Every kernel's every story exactly once and ok? Prints the summary: verdict FOLDER KERNEL...
#
# In FOLDER/KERNEL: `expected`, one name per line, and `results`, one JSON object per line.
verdict() {
    local folder=$1 kernel name lines ok=0 failed=() missing=()
    shift
    for kernel in "$@"; do
        while read -r name; do
            lines=$(grep --fixed-strings "\"story\":\"$name\"" "$folder/$kernel/results" || true)
            case $(grep -c . <<<"$lines") in
            0) missing+=("\"$kernel/$name\"") ;;
            1) if grep -q '"ok":true' <<<"$lines"; then ok=$((ok + 1)); else failed+=("\"$kernel/$name\""); fi ;;
            *) failed+=("\"$kernel/$name\"") ;;
            esac
        done <"$folder/$kernel/expected"
    done
    printf '{"summary":"lab","kernels":%s,"ok":%d,"failed":%s,"missing":%s,"seconds":%d}\n' \
        "$(json_list "${@/*/\"&\"}")" "$ok" "$(json_list "${failed[@]}")" "$(json_list "${missing[@]}")" "$SECONDS"
    [ $((${#failed[@]} + ${#missing[@]})) -eq 0 ] && [ "$ok" -gt 0 ]
}

# A JSON list of what is JSON already.
json_list() {
    local IFS=,
    printf '[%s]' "$*"
}
