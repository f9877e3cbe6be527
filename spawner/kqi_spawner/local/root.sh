# Builds the workload's own view of the machine in a new mount namespace, enters it and gives up every privilege.
# `new`, `attach`, `files` and `become` come from root-plan.sh; the current folder is the ledger folder.
set -eu
umask 022
. ./root-plan.sh
# The kernel takes its time to move a process into a group.
attach &
attaching=$!
# What mounts are put on is there already. The first line makes the new root a mount of its own.
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
