# What is made once and kept: a folder is whole when its stamp names the scripts that made it.

# Whether a folder is there and made by today's scripts: is_made FOLDER SCRIPT...
is_made() {
    local folder=$1
    shift
    [ "$(cat "$folder/stamp" 2>/dev/null)" = "$(recipe "$@")" ]
}

# Declares a folder whole: made FOLDER SCRIPT...
made() {
    local folder=$1
    shift
    recipe "$@" >"$folder/stamp"
}

# An empty folder: fresh FOLDER
fresh() {
    rm -rf "$1"
    mkdir -p "$1"
}

recipe() {
    cat "$@" | sha256sum | cut -d' ' -f1
}
