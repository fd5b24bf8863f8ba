# The machine: an IOMMU that remaps interrupts, nested SVM, and the devices the stories use.
#
# Our vGPU has to be served before it (lib/vgpu.sh).

# Boots until the machine powers off, or SECONDS: boot SECONDS KERNEL INITRD FOLDER
#
# In the folder: `console` of the kernel, `log` of the stories, `results` one JSON object per line, `exit`
# their exit code, `qemu` its messages.
boot() {
    local seconds=$1 kernel=$2 initrd=$3 folder=$4 name
    # The edu device and a network card, without its boot ROM, which would look for a network for seconds.
    local devices=(-device "intel-iommu,intremap=on,caching-mode=on" -device "edu,addr=4" -device "e1000e,addr=5,romfile=")
    # A disk of zeros with as many vectors as MSI-X can have.
    devices+=(-drive "if=none,id=zeros,driver=null-co,read-zeroes=on,size=64M"
        -device "nvme,drive=zeros,serial=lab,addr=8,msix_qsize=2048")
    # And our vGPU, whose socket takes nothing but JSON.
    # shellcheck disable=SC2154 # of lib/vgpu.sh
    local socket="{\"type\":\"unix\",\"path\":\"$vgpu_socket\"}"
    # Milliseconds: a server that gets no processor for a while has not gone.
    local patience='"x-msg-timeout":120000'
    devices+=(-device "{\"driver\":\"vfio-user-pci\",\"addr\":\"6\",$patience,\"socket\":$socket}")
    # A server can only map memory that comes with a file.
    local memory=(-m 1G -object "memory-backend-memfd,id=ram,size=1G,share=on" -machine memory-backend=ram)
    # Through which the stories ask this machine: see answer_questions.
    local channels=(-chardev "pipe,id=questions,path=$vgpu_folder/questions" -device "pci-serial,addr=7,chardev=questions")
    for name in console log results exit; do
        : >"$folder/$name"
        channels+=(-serial "file:$folder/$name")
    done
    # The emulated processors have one TSC, but on busy cores it does not look like it. Under a kernel that
    # distrusts it KVM moves a guest's TSC about, and the guest's stamps with it.
    local command_line="console=ttyS0 quiet intel_iommu=on iommu=nopt mitigations=off panic=-1 tsc=reliable"
    # Nor does their timer look like it works, to a kernel that waits for ten ticks of it by its TSC.
    command_line+=" no_timer_check"
    # Nothing blinks in a picture but what a story draws, and there is a fifth serial port.
    command_line+=" vt.global_cursor_default=0 8250.nr_uarts=5"
    # Text that can be read in a picture of the whole screen.
    command_line+=" fbcon=font:TER16x32"
    # Memory of a device that a driver has may be mapped by others: a story raises an interrupt past VFIO.
    command_line+=" iomem=relaxed"
    # shellcheck disable=SC2154 # of lib/qemu.sh
    timeout "$seconds" "${qemu[@]}" \
        -machine q35,kernel-irqchip=split -accel tcg,thread=multi -cpu EPYC,+svm,+npt -smp 2 "${memory[@]}" \
        -display none -nodefaults -no-reboot -nic none -monitor none "${devices[@]}" "${channels[@]}" \
        -kernel "$kernel" -initrd "$initrd" -append "$command_line" </dev/null 2>"$folder/qemu"
}
