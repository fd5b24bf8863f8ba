# What the lab says while it runs. Standard output is for JSON, all else goes to standard error.

step() {
    printf '%6ss  %s\n' "$SECONDS" "$*" >&2
}

die() {
    printf 'lab: %s\n' "$*" >&2
    exit 1
}
