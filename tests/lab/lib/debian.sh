# Debian's packages without touching the machine's own apt: sources, lists and cache lie in the lab's folder.
# The mirror is the one the machine is configured for; the suites are named here, so that the lab is the
# same on every machine.

APT=$LAB/apt

# The machine's Debian mirror, as apt understands its sources.
debian_mirror() {
    # Security and updates have suites with a dash, and may live elsewhere.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }'
}

# Installs host tools: need_tools COMMAND=PACKAGE...
need_tools() {
    local pair missing=()
    for pair in "$@"; do
        # Some of them live in sbin, which a user's path leaves out.
        PATH=$PATH:/usr/sbin:/sbin command -v "${pair%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# The same for a library: need_file FILE PACKAGE
need_file() {
    [ -e "$1" ] || install_packages "$2"
}

install_packages() {
    step "installing $*"
    # A third party's source that does not answer is not the lab's business.
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# apt-get or apt-cache on the lab's own suites: debian_apt PROGRAM ARGUMENT...
debian_apt() {
    local program=$1
    shift
    "$program" \
        -o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o Dir::State="$APT/state" -o Dir::State::status="$APT/status" \
        -o Dir::Cache="$APT/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Install-Recommends=false "$@"
}

# Fetches the lists of bookworm, trixie and trixie-backports once per run, when something is to be downloaded.
debian_lists() {
    [ -z "${DEBIAN_LISTS_READY:-}" ] || return 0
    local mirror
    mirror=$(debian_mirror)
    if [ -z "$mirror" ]; then
        apt-get update -qq || true
        mirror=$(debian_mirror)
    fi
    [ -n "$mirror" ] || die "no Debian mirror in this machine's apt sources"
    mkdir -p "$APT/state/lists/partial" "$APT/cache/archives/partial"
    # Nothing counts as installed: a package comes with all it depends on.
    : >"$APT/status"
    local key=/usr/share/keyrings/debian-archive-keyring.gpg suite
    for suite in bookworm trixie trixie-backports; do
        echo "deb [signed-by=$key] $mirror $suite main"
    done >"$APT/sources.list"
    debian_apt apt-get update -qq
    DEBIAN_LISTS_READY=1
}

# The version-named kernel that a suite's linux-image-amd64 stands for: debian_kernel SUITE
debian_kernel() {
    debian_apt apt-cache depends "linux-image-amd64/$1" |
        sed -n 's/.*Depends: linux-image-//p' | head -1
}

# Downloads packages into the current folder: debian_download PACKAGE[/SUITE]...
debian_download() {
    debian_apt apt-get download -qq "$@"
}

# Unpacks a package with all it depends on into a folder: debian_closure SUITE PACKAGE FOLDER
debian_closure() {
    local suite=$1 package=$2 folder=$3 deb
    debian_apt apt-get clean
    debian_apt apt-get install -qq -y --download-only -t "$suite" "$package" >/dev/null
    for deb in "$APT"/cache/archives/*.deb; do
        dpkg-deb --extract "$deb" "$folder"
    done
    debian_apt apt-get clean
}
