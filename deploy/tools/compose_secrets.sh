#!/bin/sh
# Makes what compose.yaml needs and nobody else may know, once: passwords, the server's secret, two API keys.
# Files in deploy/secrets/, which git ignores; what is there is kept.
set -eu
umask 077
cd "$(dirname "$0")/../.."
dir=deploy/secrets
mkdir -p "$dir"

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# secret NAME: containers with users of their own read these, so the folder alone keeps others out.
secret() {
    [ -s "$dir/$1" ] || random >"$dir/$1"
    chmod 644 "$dir/$1"
}

secret mongo-password
secret grafana-password
if [ ! -s "$dir/chat-api.env" ]; then
    printf 'SECRET_KEY=%s\nMONGO_URI=mongodb://carepath:%s@mongodb:27017/?authSource=admin\n' "$(random)" \
        "$(cat "$dir/mongo-password")" >"$dir/chat-api.env"
fi
# key ID SCOPE: made inside, where the server's user owns the file.
key() {
    [ -s "$dir/$1-key" ] || docker compose run --rm --no-deps -T chat-api \
        keys create --file /var/lib/carepath/api-keys.json --id "$1" --scopes "$2" >"$dir/$1-key"
    chmod 644 "$dir/$1-key"
}
touch "$dir/metrics-key" # named in compose.yaml, so it must be there
key triage triage
key metrics metrics
echo "compose_secrets: $dir is complete"
