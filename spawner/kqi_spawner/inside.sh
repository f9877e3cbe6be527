# The parent of the user's command, read from standard input after the environment. Names begin with _kqi_: they share one space with the user's.
_kqi_child=
_kqi_stopping=
_kqi_woken=

_kqi_forward() {
  _kqi_stopping=1
  _kqi_woken=1
  [ -n "$_kqi_child" ] || return 0
  if [ "$_kqi_own_processes" = no ]; then
    kill -s TERM -- "-$_kqi_child" 2>/dev/null || kill -s TERM "$_kqi_child" 2>/dev/null
  else
    kill -s TERM -- -1 2>/dev/null
  fi
}

# After a stop the helpers of the command have the rest of the grace; the supervisor ends us when it is over.
_kqi_rest() {
  if [ "$_kqi_own_processes" = no ]; then
    # Not our children, so nothing announces their end: look ten times a second, in this phase only.
    while kill -0 -- "-$_kqi_child" 2>/dev/null; do sleep 0.1; done
    return 0
  fi
  trap : CHLD
  while :; do
    sleep 1 &
    _kqi_sleep=$!
    set -- /proc/[0-9]*
    [ $# -gt 2 ] || return 0
    wait "$_kqi_sleep"
    kill -s KILL "$_kqi_sleep" 2>/dev/null
    wait "$_kqi_sleep"
  done
}

umask "${_kqi_umask:-022}"
trap _kqi_forward TERM
_kqi_links || exit 1
cd "$_kqi_workdir" || exit 1
unset OLDPWD
# A home that cannot be written to goes without.
[ -z "$_kqi_layer" ] || [ -e "$_kqi_own/bin/python" ] || cp -RT "$_kqi_layer" "$_kqi_own" 2>/dev/null || :
[ -z "$_kqi_data_kib" ] || ulimit -d "$_kqi_data_kib"
echo begun >&8 || exit 1
if [ -n "$_kqi_stopping" ]; then exit 143; fi
setsid "$@" </dev/null 2>&1 8>&- &
_kqi_child=$!
[ -z "$_kqi_stopping" ] || _kqi_forward
while :; do
  _kqi_woken=
  wait "$_kqi_child"
  _kqi_code=$?
  if [ -n "$_kqi_woken" ]; then
    kill -0 "$_kqi_child" 2>/dev/null && continue
    wait "$_kqi_child"
    _kqi_again=$?
    [ "$_kqi_again" = 127 ] || _kqi_code=$_kqi_again
  fi
  break
done
# What a program made for itself alone (0600) the platform could not collect: several words, none of them odd.
# shellcheck disable=SC2086
[ -z "${_kqi_shared:-}" ] || chmod -R g+rwX $_kqi_shared 2>/dev/null
echo "code $_kqi_code" >&8
[ -z "$_kqi_stopping" ] || _kqi_rest
exit "$_kqi_code"
