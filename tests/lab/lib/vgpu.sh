# Our vGPU on a vfio-user socket, served by the command as it runs on this machine, and its pictures.

# The type whose two heads the stories tell apart.
VGPU_TYPE=dual

# Starts a server, waits for its sockets, and answers questions from then on: start_vgpu FOLDER
#
# Leaves its socket in vgpu_socket, beside the pipes `questions.in` and `questions.out` in vgpu_folder; what it
# says is in FOLDER/vgpu.
start_vgpu() {
    local folder=$1 told
    # Of its own, since the path of a socket may not be long.
    vgpu_folder=$(mktemp --directory)
    vgpu_socket=$vgpu_folder/vgpu
    exec {told}< <(exec "$BINARIES/irqbroker" vgpu serve --json --type "$VGPU_TYPE" --socket "$vgpu_socket" 2>"$folder/vgpu")
    vgpu_server=$!
    # It says so once the sockets are there.
    read -r -u "$told" || die "no vGPU: $(cat "$folder/vgpu")"
    exec {told}<&-
    # Named as QEMU sees them.
    mkfifo "$vgpu_folder/questions.in" "$vgpu_folder/questions.out"
    answer_questions "$folder" 2>>"$folder/vgpu" &
    vgpu_answers=$!
    # Neither outlives a run that is broken off.
    trap stop_vgpu EXIT
}

# Ends the server and the answers.
stop_vgpu() {
    local process
    trap - EXIT
    for process in "$vgpu_server" "$vgpu_answers"; do
        kill "$process" 2>/dev/null || step "the vGPU's server, or who answers for it, had ended by itself"
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$vgpu_folder"
}

# Answers each line that comes from inside with one line: answer_questions FOLDER
#
#   screenshot NAME    takes FOLDER/NAME.png of head 0; its bytes, hexadecimal, or nothing if there is no picture
answer_questions() {
    local folder=$1 question name picture
    # For both directions, so that opening waits for nobody.
    exec 3<>"$vgpu_folder/questions.out" 4<>"$vgpu_folder/questions.in"
    while read -r -u 3 question name; do
        picture=""
        if [ "$question" = screenshot ] &&
            "$BINARIES/irqbroker" vgpu screenshot --socket "$vgpu_socket" "$folder/$name.png" >/dev/null; then
            picture=$(od --address-radix=n --output-duplicates --format=x1 "$folder/$name.png" | tr --delete ' \n')
        fi
        echo "$picture" >&4
    done
}
