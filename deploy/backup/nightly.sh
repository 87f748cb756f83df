#!/bin/sh
# Makes a backup of kiai, then removes its own backups that are older than two weeks. Run it once a night as the
# account of the server:
#
#   30 4 * * *  kiai  /opt/kiai/deploy/backup/nightly.sh /backups
#
# Set the same variables as for the server: KIAI_DATA, KIAI_DATABASE, KIAI_FILES. The script removes old backups only
# after a new one is complete. If a step fails, it removes nothing and exits with 1.
set -eu
umask 077

to=${1:?usage: nightly.sh FOLDER}
keep_days=${KEEP_DAYS:-14}
kiai=${KIAI:-/opt/kiai/.venv/bin/kiai}

case $keep_days in
    '' | *[!0-9]*) echo "nightly.sh: KEEP_DAYS must be a whole number of days, got '$keep_days'" >&2; exit 1 ;;
esac
[ -d "$to" ] || { echo "nightly.sh: there is no folder $to; is it mounted?" >&2; exit 1; }

new=$to/kiai-$(date -u +%Y%m%dT%H%M%SZ)
"$kiai" backup "$new.partial"
[ -s "$new.partial/manifest.json" ] || { echo "nightly.sh: the backup was not finished" >&2; exit 1; }
mv "$new.partial" "$new"

# The name pattern matches only backups of this script.
stamp='kiai-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z'
find "$to" -mindepth 1 -maxdepth 1 -type d \( -name "$stamp" -o -name "$stamp.partial" \) \
    -mtime "+$keep_days" ! -path "$new" -exec rm -r -- {} +
