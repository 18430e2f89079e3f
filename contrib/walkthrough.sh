#!/usr/bin/env bash
# The whole way from an empty account to a restored database, in the order in which a team goes it. The tests run it.
#
#   walkthrough.sh ENV_FILE TARGET FOLDER
#
# ENV_FILE is the environment file of a backup script (chmod 600), TARGET the connection string of an empty database, and
# FOLDER a place for what is written on the way.
set -euo pipefail
environment=$(realpath "$1") target=$2 folder=$3

step() { printf '\n== %s\n' "$*"; }
with() { pgstow --env-file "$environment" "$@"; }

step "the bucket: what would be done, then doing it, then nothing is left to do"
with bucket init
with bucket init --yes
with bucket check

step "who may do what: three policies"
for role in writer pruner restorer; do
    with bucket policy "$role" > "$folder/$role.json"
done

step "does everything work that a backup needs?"
with doctor --storage-class STANDARD_IA

step "the backup, as cron would run it, and the policy that it alone would need"
with run --note-requests "$folder/used.txt"
with bucket policy used --requests "$folder/used.txt" > "$folder/used.json"

step "what is there, and is it whole?"
with list
with verify latest

step "the restore test"
with restore latest -d "$target" --verify

step "monitoring"
with check --max-age 26h --format nagios
with report -o "$folder/backups.html"

step "what it costs, and what another plan would"
with cost --plan 'class=STANDARD_IA keep-within=30d hidden=30' --plan 'keep-daily=7 keep-weekly=4 keep-monthly=12 hidden=30'

step "what the next prune would remove"
with prune --keep-within 30d --dry-run

step "the job in a file, for several databases and a schedule"
(
    cd "$folder"
    cat > pgstow.toml <<'TOML'
[job.shop]
source = "postgres://${DB_USERNAME}@${DB_HOST}:${DB_PORT}/${DB_DATABASE}"
password = "${DB_PASSWORD}"
store = "s3://${BACKUP_S3_BUCKET}/database-backups"
storage_class = "STANDARD_IA"
schedule = "30 2 * * *"
timezone = "Europe/Madrid"
retention = { keep_within = "30d" }
check = { schedule = "0 9 * * *" }
TOML
    with config check
    with run shop
    with check shop
    with cost shop
    with report shop
)

step "disaster: the tables are gone, and come back"
with restore latest -d "$target" -c --if-exists --verify
