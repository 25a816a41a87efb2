#!/usr/bin/env bash
# What a container of the image runs: jobmanager, taskmanager, or application --pipeline FILE; else the command given.
# FLINK_PROPERTIES holds settings that take the place of those in config.yaml: one `key: value` a line, and no
# space within a value, at which Flink's scripts would cut it off.
set -euo pipefail
# Checkpoints and results hold values of events.
umask 077

settings=()
while IFS= read -r line; do
    [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
    if [[ ! $line =~ ^[[:space:]]*([^:[:space:]]+):[[:space:]]+([^[:space:]]+)[[:space:]]*$ ]]; then
        echo "FLINK_PROPERTIES: expected lines such as 'heartbeat.timeout: 20s', got '${line%%[:=[:space:]]*}...'" >&2
        exit 2
    fi
    settings+=(-D "${BASH_REMATCH[1]}=${BASH_REMATCH[2]}")
done <<<"${FLINK_PROPERTIES:-}"

case ${1:-} in
    jobmanager | taskmanager)
        exec "$1.sh" start-foreground "${settings[@]}" "${@:2}"
        ;;
    application)
        exec standalone-job.sh start-foreground --job-classname org.apache.flink.client.python.PythonDriver \
            "${settings[@]}" -py /opt/sketchstream/flink_job/main.py "${@:2}"
        ;;
    *)
        exec "$@"
        ;;
esac
