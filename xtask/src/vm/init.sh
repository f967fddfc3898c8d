#!/bin/busybox sh
# First process of the guest: the host's files, read-only, under a layer in memory that takes every write; then the job.
b=/bin/busybox
say() { $b echo "init: $*"; }
mounted() { $b mount "$@" || { say "failed to mount: $*"; $b poweroff -f; }; }

mounted -t proc proc /proc
mounted -t devtmpfs dev /dev
for module in /modules/*; do
    $b insmod "$module" || say "failed to load $module"
done

mounted -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host
mounted -t tmpfs -o size=75% layer /layer
$b mkdir /layer/upper /layer/work
mounted -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work guest /guest

mounted -t proc proc /guest/proc
mounted -t sysfs sys /guest/sys
mounted --move /dev /guest/dev
$b mkdir -p /guest/dev/pts /guest/dev/shm
mounted -t devpts devpts /guest/dev/pts
mounted -t tmpfs shm /guest/dev/shm
mounted -t tmpfs run /guest/run
mounted -t cgroup2 cgroup2 /guest/sys/fs/cgroup
mounted -t tracefs tracefs /guest/sys/kernel/tracing
mounted -t bpf bpf /guest/sys/fs/bpf

. /job/modules
$b mkdir -p /guest/lib/modules
mounted --bind "/guest$MODULES" /guest/lib/modules
$b hostname probe-vm
$b ifconfig lo up

$b mkdir -p /guest/run/vm /guest/run/tmp
$b cp $b /job/run /guest/run/vm/
exec $b switch_root /guest /run/vm/busybox sh /run/vm/run
