# The supervisor of one workload. It runs in the ledger folder of that workload and outlives the platform.
# It holds a lock on `lock` for as long as it lives: that is how everybody else knows. No child of it inherits descriptor 9.
umask 077
exec 9>>lock || exit 1
# Whoever asks whether we live holds the lock for an instant: wait that long, no longer.
flock -n 9 || flock -w 2 9 || exit 0
if [ -e started ] || [ -e exit ]; then exit 0; fi

sandbox=
timers=
code=
woken=

# put FILE TEXT: whole or not at all, also after a power cut. FILE.tmp is written in place: its block is already taken when the disk is full.
put() {
  printf '%-255s\n' "$2" 1<>"$1.tmp" && sync "$1.tmp" 9>&- && mv "$1.tmp" "$1" 9>&- && sync . 9>&-
}

finish() { # finish REASON
  tries=0
  until put exit "code=$code reason=$1 finished=$(date +%s.%N 9>&-)" 2>/dev/null || [ "$tries" -ge 60 ]; do
    tries=$((tries + 1))
    sleep 1 9>&-
  done
  exit 0
}

child_of() { # child_of PID: its first child
  for stat in /proc/[0-9]*/stat; do
    read -r line 2>/dev/null <"$stat" || continue
    rest=${line##*) }
    rest=${rest#* }
    if [ "${rest%% *}" = "$1" ]; then
      line=${stat#/proc/}
      echo "${line%/stat}"
      return
    fi
  done
}

inside() { # the process id of the shell that is the user's command's parent
  if [ "$own_processes" = no ]; then echo "$sandbox"; else child_of "$sandbox"; fi
}

marked() { # every process of this workload
  {
    grep -lzsxF -e "KQI_WORKLOAD=$marker" /proc/[0-9]*/environ 9>&- | sed 's,^/proc/\([0-9]*\)/.*,\1,' 9>&-
    for group in $groups; do cat "$group/cgroup.procs" 9>&- 2>/dev/null; done
  } | sort -u 9>&-
}

sweep() { # bounded: a process in an uninterruptible wait does not hold us for ever
  rounds=0
  while [ "$rounds" -lt 50 ]; do
    left=$(marked)
    [ -n "$left" ] || return 0
    # shellcheck disable=SC2086
    kill -s KILL $left 2>/dev/null
    rounds=$((rounds + 1))
  done
}

end_now() {
  init=
  [ "$own_processes" = no ] || init=$(child_of "$sandbox")
  # The sandbox reaps its first process after every other one in it has ended, so that nothing is left when it returns.
  if [ -n "$init" ]; then kill -s KILL "$init"; else kill -s KILL "$sandbox" 2>/dev/null; sweep; fi
}

on_stop() {
  woken=1
  read -r grace <stop || return 0
  [ -n "$sandbox" ] || return 0
  init=$(inside)
  if [ "$grace" = 0 ] || [ -z "$init" ] || ! [ -s begun ]; then
    end_now
    return 0
  fi
  kill -s TERM "$init" 2>/dev/null
  # It dies with us, so that it never signals a process that got our number later.
  setsid setpriv --pdeathsig KILL /bin/sh -c 'sleep "$1" && kill -s USR2 "$2"' sh "$grace" "$$" 9>&- 7<&- &
  timers="$timers $!"
}

on_patience_over() {
  woken=1
  [ -z "$sandbox" ] || end_now
}

trap on_stop USR1
trap on_patience_over USR2
trap woken=1 HUP INT TERM
echo "$$" >pid || exit 1
. ./plan.sh

launch() {
  exec 9>&-
  attach || exit 1
  enter
}

give_back() {
  for timer in $timers; do kill -s KILL -- "-$timer" "$timer" 2>/dev/null; done
  for group in $groups; do
    tries=0
    until rmdir "$group" 9>&- 2>/dev/null || ! [ -d "$group" ] || [ "$tries" -ge 20 ]; do tries=$((tries + 1)); done
  done
  rm -rf --one-file-system -- "$run_folder" 9>&- 2>/dev/null
}

oom_kills() {
  while read -r word number; do
    if [ "$word" = oom_kill ]; then echo "$number"; fi
  done 2>/dev/null <"$oom_file"
}

if [ -e stop ]; then
  rm -f script 9>&-
  give_back
  finish stopped
fi
# Its time is that of the beginning. After a power cut it must be there: nothing is begun twice.
{ : >started && sync started . 9>&-; } || exit 1
if ! [ -r script ]; then
  echo "the script of the workload is missing" >problem
  finish cannot_start
fi
exec 7<script
if ! make_groups 9>&- 2>>problem; then
  rm -f script 9>&-
  give_back
  finish cannot_start
fi
if ! [ -e stop ]; then
  launch <&7 7<&- >>"$log" 2>>problem 8>begun &
  sandbox=$!
  # A stop that came while there was nothing to signal.
  if [ -e stop ]; then on_stop; fi
fi
exec 7<&-
rm -f script 9>&-

while [ -n "$sandbox" ]; do
  woken=
  wait "$sandbox"
  code=$?
  if [ -n "$woken" ]; then
    kill -0 "$sandbox" 2>/dev/null && continue
    wait "$sandbox"
    again=$?
    [ "$again" = 127 ] || code=$again
  fi
  break
done

if [ "$own_processes" = no ] || [ "${code:-0}" -gt 128 ]; then sweep; fi
# What the shell inside saw is the truth; the sandbox around it may have been ended later than the user's command.
# Without its word it was killed, whatever the sandbox makes of that.
if [ -s begun ]; then code=137; fi
while read -r word number; do
  case $word:$number in code:[0-9] | code:[0-9][0-9] | code:[12][0-9][0-9]) code=$number ;; esac
done 2>/dev/null <begun
reason=
if [ -e stop ]; then
  reason=stopped
  [ -s begun ] || code=
elif ! [ -s begun ]; then
  reason=cannot_start
  code=
elif [ "$code" != 0 ] && [ "$(oom_kills)" -gt 0 ] 2>/dev/null; then
  reason=out_of_memory
fi
give_back
finish "$reason"
