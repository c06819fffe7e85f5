# The guest's machine, sourced by image.sh, which saves it, and by run.sh, which restores it: both must say the same.

# Of the disk with the work, which is empty when the guest is saved. Sparse.
WORK_DISK_BYTES=$((8 << 30))

# machine IMAGE RUN ROOTDRIVE: fills the array MACHINE. The folder RUN has the disk `work`, and gets `console` and `events`
# (lines of scripts/guest/rootfs/usr/local/sbin/guest-lane); standard output is the output of the work. $KERNEL_ARGUMENTS are
# added to the kernel's.
#
# For speed: no randomised addresses (QEMU finds code that it has translated before: fork and exec take a third of the time),
# memory is not cleared on allocation. la57=off: page tables of four levels. cache=unsafe: nothing needs to survive.
machine() {
  local kernel="root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off audit=0 nowatchdog tsc=reliable"
  kernel="$kernel apparmor=1 security=apparmor psi=1 norandmaps init_on_alloc=0 systemd.show_status=0"
  MACHINE=(
    -machine pc,usb=off,vmport=off -accel tcg,thread=multi -cpu max,la57=off -smp 2 -m 3072
    -nodefaults -no-user-config -display none -no-reboot
    -kernel "$1/vmlinuz" -initrd "$1/initrd.img" -append "$kernel ${KERNEL_ARGUMENTS:-}"
    -chardev "file,id=console,path=$2/console" -serial chardev:console
    -drive "$3,if=none,id=root,cache=unsafe" -device virtio-blk-pci,drive=root
    -drive "file=$2/work,format=raw,if=none,id=work,cache=unsafe" -device virtio-blk-pci,drive=work
    -device virtio-serial-pci
    -chardev "file,id=events,path=$2/events" -device virtserialport,chardev=events,name=events
    -chardev file,id=output,path=/dev/stdout,append=on -device virtserialport,chardev=output,name=output
  )
}
