# Builds the workload's own view of the machine in a new mount namespace, enters it and gives up every privilege.
# `attach`, `files` and `become` come from root-plan.sh; the current folder is the ledger folder.
set -eu
umask 022
new=$PWD/root
. ./root-plan.sh
# The kernel takes its time to move a process into a group.
attach &
attaching=$!
# What mounts are put on is there already.
mount --bind "$new" "$new"
mount -a -T fstab
files
cd "$new"
# The old root comes to lie on top of the new one, and is taken off.
pivot_root . .
umount -l .
cd /
wait "$attaching"
unset OLDPWD
become
