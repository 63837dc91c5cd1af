#!/usr/bin/env bash
# Sets up a whole workspace by curl: the workspace, two provider credentials, a pool, an invite and an API key; then calls a model through
# it, as JSON and as a stream, and checks the audit log offline. Run it as often as you like: what is there already is kept. It needs jq.
#
#   GATEHOUSE=http://127.0.0.1:8787 GATEHOUSE_TOKEN=<session token> examples/workspace.sh
set -euo pipefail

GATEHOUSE=${GATEHOUSE:-http://127.0.0.1:8787}
: "${GATEHOUSE_TOKEN:?Set GATEHOUSE_TOKEN to a session token: POST /setup or a sign-in answers one.}"
command -v jq >/dev/null || { echo "jq is missing: apt-get install jq" >&2 && exit 2; }
slug=example-curl
ws=/workspaces/$slug
folder=$(mktemp -d)

# api METHOD PATH [BODY]: sends a request, and puts its status into $status and its body into $body. The Idempotency-Key is
# one for all of curl's tries, so a write takes effect once. curl waits as Retry-After says.
api() {
  local method=$1 path=$2 send=()
  if [[ $method != GET ]]; then send+=(-H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)"); fi
  if [[ $# -gt 2 ]]; then send+=(-H 'Content-Type: application/json' -d "$3"); fi
  status=$(curl -sS --retry 4 --max-time 60 -o "$folder/body" -w '%{http_code}' -X "$method" "$GATEHOUSE$path" \
    -H "Authorization: Bearer $GATEHOUSE_TOKEN" ${send[@]+"${send[@]}"})
  body=$(<"$folder/body")
}

field() { jq -r "$1" <<<"$body"; }

fail() {
  echo failed
  echo "$status: $(field '"\(.code): \(.detail) (\(.request_id))"')" >&2
  exit 1
}

step=0
say() {
  step=$((step + 1))
  printf '[%d/9] %s … ' "$step" "$1"
}

# ensure CODE FIND METHOD PATH BODY: creates a thing, or finds the one that a former run made by the command FIND. Leaves it in $body.
ensure() {
  local conflict=$1 find=$2
  shift 2
  api "$@"
  if [[ $status == 201 ]]; then
    echo "made $(field .id)"
  elif [[ $(field .code) == "$conflict" ]]; then
    $find
    [[ $status == 200 ]] || fail
    echo "there already: $(field .id)"
  else
    fail
  fi
}

named() { # PATH NAME: the item of that name; these lists fit on one page.
  api GET "$1?limit=200"
  body=$(field ".data[] | select(.name == \"$2\")")
}

say 'Create the workspace'
ensure workspace_exists "api GET $ws" POST /workspaces "{\"name\": \"Example (curl)\", \"slug\": \"$slug\"}"

instances=()
for pair in eu:3 us:1; do
  name=${pair%:*} weight=${pair#*:} path=$ws/model-providers/sandbox/credentials
  say "Store the provider's credential \"$name\""
  ensure name_taken "named $path $name" POST "$path" "{\"name\": \"$name\", \"credentials\": {\"api_key\": \"sk-sandbox-ok-$name\"}}"
  instances+=("{\"alias\": \"$name\", \"provider_name\": \"sandbox\", \"model\": \"sandbox-chat\", \"credential_id\": \"$(field .id)\", \"weight\": $weight}")
done

say 'Lay a pool over both, 3:1'
ensure name_taken "api GET $ws/pools/chat" POST "$ws/pools" \
  "{\"name\": \"chat\", \"strategy\": \"weighted\", \"instances\": [${instances[0]}, ${instances[1]}]}"

say 'Invite a colleague'
api POST "$ws/members/invite" '{"emails": ["grace@example.com"], "role": "MEMBER"}'
case $status in
  200) field '.results[0].status' ;;
  409) field .code ;; # A single address that was invited before is a conflict.
  *) fail ;;
esac

say 'Make an API key'
ensure name_taken "named $ws/api-keys example" POST "$ws/api-keys" \
  '{"name": "example", "scopes": ["models:invoke"], "limits": {"rpm": 600, "budget_usd": {"day": 1}}}'
key=$(field '.secret // empty')
if [[ -z $key ]]; then
  # A secret is shown once, so a key that was made before gets a new one; the old one ends at once.
  api POST "$ws/api-keys/$(field .id)/rotate" '{"overlap_seconds": 0}'
  [[ $status == 200 ]] || fail
  key=$(field .secret)
fi

call() { curl -sS --fail-with-body -N "$GATEHOUSE/v1/chat/completions" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "$1"; }

say 'Call the model'
call '{"model": "chat", "messages": [{"role": "user", "content": "Say hello"}]}' | jq -r '"\(.usage.completion_tokens) tokens"'

say 'Call it once more, as a stream'
call '{"model": "chat", "stream": true, "messages": [{"role": "user", "content": "Say hello"}]}' >"$folder/stream"
grep -q '^data: \[DONE\]' "$folder/stream" || { echo 'failed: the stream broke off' && exit 1; }
echo "$(grep -c '^data: {' "$folder/stream") events"

say 'Export the audit log and check it offline'
export=$folder/audit.ndjson
curl -sS --fail-with-body -o "$export" "$GATEHOUSE$ws/audit-log/export" -H "Authorization: Bearer $GATEHOUSE_TOKEN"
api GET /.well-known/audit-log-key
code=0
npx verify-audit --key "$(field .public_key)" "$export" >"$folder/verdict" 2>&1 || code=$?
case $code in
  0) echo "$export: nothing was changed" ;;
  3) echo "$export: nothing wrong found, not all sealed yet" ;; # Rows of the last minute or two are not sealed yet.
  *) echo failed && cat "$folder/verdict" >&2 && exit 1 ;;
esac
echo "Done. The workspace is at $GATEHOUSE$ws"
