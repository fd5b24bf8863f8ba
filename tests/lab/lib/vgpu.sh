# Our vGPU on a vfio-user socket, served by the command as it runs on this machine, and its pictures.

# The type whose two heads the stories tell apart.
VGPU_TYPE=dual

# Starts a server, waits for its sockets, and answers questions from then on: start_vgpu FOLDER
#
# Leaves its socket in vgpu_socket, beside the pipes `questions.in` and `questions.out` in vgpu_folder; what it
# says is in FOLDER/vgpu.
start_vgpu() {
    local folder=$1 told line
    # Of its own, since the path of a socket may not be long.
    vgpu_folder=$(mktemp --directory)
    vgpu_socket=$vgpu_folder/vgpu
    exec {told}< <(exec "$BINARIES/irqbroker" vgpu serve --json --type "$VGPU_TYPE" --socket "$vgpu_socket" \
        --vnc 127.0.0.1:0 --vnc-no-password --vnc-resize 2>"$folder/vgpu")
    vgpu_server=$!
    # It says so once the sockets are there.
    read -r -u "$told" line || die "no vGPU: $(cat "$folder/vgpu")"
    exec {told}<&-
    vgpu_vnc=$(grep --only-matching '"address":"[^"]*"' <<<"$line" | cut -d'"' -f4)
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
#   nothing            is answered with nothing, which shows that the machine has come so far
#   screenshot NAME    takes FOLDER/NAME.png of head 0
#   vnc NAME           the same by a VNC viewer that connects and leaves
#   viewer NAME        the same by one that has been connected since it was first asked for, and asks for nothing
#   resize SIZE        has a viewer ask for another size, and is answered with what it is told
#
# The answer to the others has the bytes of the file, hexadecimal, or nothing if there is no picture.
answer_questions() {
    local folder=$1 question name file answer
    # For both directions, so that opening waits for nobody.
    exec 3<>"$vgpu_folder/questions.out" 4<>"$vgpu_folder/questions.in"
    while read -r -u 3 question name; do
        answer="" file=$folder/$name.png
        if [ "$question" = resize ]; then
            answer=$("$BINARIES/vnc_resize" "$vgpu_vnc" "$name") || answer=""
        elif take_picture "$question" "$file" >/dev/null; then
            answer=$(od --address-radix=n --output-duplicates --format=x1 "$file" | tr --delete ' \n')
        fi
        echo "$answer" >&4
    done
}

# One way to take a picture: take_picture QUESTION FILE
take_picture() {
    case $1 in
    screenshot) "$BINARIES/irqbroker" vgpu screenshot --socket "$vgpu_socket" "$2" ;;
    vnc) "$BINARIES/vnc_capture" "$vgpu_vnc" "$2" ;;
    viewer)
        # Ends with whoever answers, which ends its input.
        [ -n "${viewer_PID:-}" ] || coproc viewer { exec "$BINARIES/vnc_capture" "$vgpu_vnc" 3>&- 4>&-; }
        echo "$2" >&"${viewer[1]}" && read -r -u "${viewer[0]}"
        ;;
    *) return 1 ;;
    esac
}
