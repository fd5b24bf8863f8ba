# The kernels, each a folder with `release`, `vmlinuz`, `modules/` and the order to load them in, `load`.

# What the stories need loaded. The rest of a distribution's modules stays in the package.
LAB_MODULES=(kvm-amd vfio_iommu_type1 vfio-pci bochs)

# Where those and what they depend on lie in a package.
MODULE_FOLDERS=(arch/x86/kvm virt/lib drivers/vfio drivers/iommu drivers/crypto/ccp crypto lib
    drivers/gpu/drm/tiny drivers/gpu/drm/clients drivers/gpu/drm/ttm drivers/video drivers/i2c)

# Makes the kernel of a name and prints nothing: make_kernel 6.1|newest|cdev
make_kernel() {
    case $1 in
    6.1) make_debian_kernel "$1" bookworm ;;
    newest) make_debian_kernel "$1" trixie-backports ;;
    cdev) make_cdev_kernel ;;
    *) die "no kernel $1; there are 6.1, newest and cdev" ;;
    esac
}

# A distribution's kernel, unpacked as far as the lab needs it: make_debian_kernel NAME SUITE
make_debian_kernel() {
    local folder=$LAB/kernel-$1 suite=$2 release
    is_made "$folder" "$HERE/lib/kernels.sh" && return
    debian_lists
    release=$(debian_kernel "$suite")
    fresh "$folder"
    mkdir "$folder/debs" "$folder/files"
    # Up to 6.x one package has it all; since 7.x image, modules and module index are packages of their own.
    local packages="linux-image-$release/$suite"
    if debian_apt apt-cache show "linux-binary-$release" >/dev/null 2>&1; then
        packages="linux-binary-$release/$suite linux-modules-$release/$suite linux-base-$release/$suite"
    fi
    # shellcheck disable=SC2086
    (cd "$folder/debs" && debian_download $packages)
    # Of the graphics drivers, most of a package, only what they share.
    local deb wanted=('*/vmlinuz*' '*/modules.*' '*/kernel/drivers/gpu/drm/drm*') part
    for part in "${MODULE_FOLDERS[@]}"; do
        wanted+=("*/kernel/$part/*")
    done
    for deb in "$folder"/debs/*.deb; do
        # No package has all of them, which tar reports.
        dpkg-deb --fsys-tarfile "$deb" |
            tar --extract --directory "$folder/files" --wildcards "${wanted[@]}" 2>/dev/null || true
    done
    find "$folder/files" -name 'vmlinuz*' -exec mv {} "$folder/vmlinuz" \;
    pick_modules "$folder" "$release"
    echo "$release" >"$folder/release"
    rm -rf "$folder/debs" "$folder/files"
    made "$folder" "$HERE/lib/kernels.sh"
    step "kernel $1: $release"
}

# Copies the modules, uncompressed, and writes in which order they load: pick_modules FOLDER RELEASE
pick_modules() {
    local folder=$1 release=$2 root module file kept
    root=$(dirname "$(find "$folder/files" -type d -path "*/lib/modules")")
    # kmod looks for lib/modules below its base; packages have it at the top or in usr.
    root=$(dirname "$root")
    PATH=$PATH:/usr/sbin:/sbin
    depmod --basedir "$root" "$release" 2>/dev/null
    mkdir "$folder/modules"
    for module in "${LAB_MODULES[@]}"; do
        modprobe --dirname "$root" --set-version "$release" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$folder/paths"
    while read -r file; do
        kept=$(basename "${file%.xz}")
        case $file in
        *.xz) xz --decompress --stdout "$file" >"$folder/modules/$kept" ;;
        *) cp "$file" "$folder/modules/$kept" ;;
        esac
        echo "$kept"
    done <"$folder/paths" >"$folder/load"
    [ -s "$folder/load" ] || die "no modules found for $release"
}
