#!/usr/bin/env bash
# Sets up a whole workspace by curl: the workspace, two provider credentials, a pool, an invite and an API key; then calls a model through
# it, as JSON and as a stream, and checks the audit log offline. Run it as often as you like: what is there already is kept. It needs jq and
# Node.js, for the check.
#
#   GATEHOUSE=http://127.0.0.1:8787 GATEHOUSE_TOKEN=<session token> examples/workspace.sh
#
# docs/guides/first-call.md says how to get a session token.
set -euo pipefail

if [[ $# -gt 0 ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  [[ $1 == --help ]] && exit 0 || exit 2
fi
GATEHOUSE=${GATEHOUSE:-http://127.0.0.1:8787}
GATEHOUSE=${GATEHOUSE%/}
if [[ -z ${GATEHOUSE_TOKEN:-} ]]; then
  echo 'Set GATEHOUSE_TOKEN to a session token: POST /setup or a sign-in answers one, see docs/guides/first-call.md.' >&2
  exit 2
fi
for program in curl jq node; do
  command -v "$program" >/dev/null || { echo "$program is missing: install it first." >&2 && exit 2; }
done
# What `npx verify-audit` runs in a clone, from wherever this is called.
verifier=$(dirname "${BASH_SOURCE[0]}")/../scripts/verify-audit.mjs
slug=example-curl
ws=/workspaces/$slug
folder=$(mktemp -d)

# send AGAIN CURL-ARGUMENT…: sends a request, and puts its status into $status (000: no answer, or one that broke off) and its body into
# $body. It is sent again after one of the statuses AGAIN, as Retry-After says, or after a while that doubles. Not by curl's --retry: that
# takes no 409 for "still under way", and cannot be told to leave out 502 and 504, after which a model call may be paid twice.
send() {
  local again=$1 wait=250 told tries
  shift
  for tries in 1 2 3 4 5; do
    : >"$folder/body"
    status=$(curl -sS --max-time 60 -D "$folder/head" -o "$folder/body" -w '%{http_code}' "$@" 2>"$folder/trouble") || status=000
    body=$(<"$folder/body")
    told=$(header retry-after)
    if [[ $tries == 5 || " $again " != *" $status "* || ($status == 409 && -z $told) || $(header x-should-retry) == false ]]; then return; fi
    if [[ ! $told =~ ^[0-9]+$ ]]; then
      told=$(printf '%d.%03d' $((wait / 1000)) $((wait % 1000)))
      wait=$((wait * 2))
    elif [[ $told -gt 60 ]]; then
      told=60
    fi
    printf '%s, once more in %s s … ' "${status/000/no answer}" "$told"
    sleep "$told"
  done
}

header() { # NAME: of the last answer, empty where there is none.
  [[ $status == 000 ]] || awk -F ': *' -v name="$1" 'tolower($1) == name { sub(/\r$/, "", $2); print $2; exit }' "$folder/head"
}

# api METHOD PATH [BODY]: sends a request to the control plane. The Idempotency-Key is one for all tries, so a write takes effect once.
api() {
  local method=$1 path=$2 more=()
  if [[ $method != GET ]]; then more+=(-H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)"); fi
  if [[ $# -gt 2 ]]; then more+=(-H 'Content-Type: application/json' -d "$3"); fi
  send '000 409 429 502 503 504' -X "$method" "$GATEHOUSE$path" -H "Authorization: Bearer $GATEHOUSE_TOKEN" ${more[@]+"${more[@]}"}
}

# call BODY: calls a model, once more only where nothing was done.
call() {
  send '429 503' "$GATEHOUSE/v1/chat/completions" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "$1"
  [[ $status == 200 ]] || fail
}

field() { jq -r "$1" <<<"$body"; }

fail() {
  echo failed
  if [[ $status == 000 ]]; then
    echo "$GATEHOUSE does not answer ($(<"$folder/trouble")). Does it run there? GATEHOUSE names another address." >&2
  else
    echo "$(field '(.error? // .) | "\(.code): \(.detail // .message)"' 2>/dev/null || echo "answered $status") ($(header x-request-id))" >&2
  fi
  if [[ $status == 401 ]]; then echo 'GATEHOUSE_TOKEN is no session token of this server, or has expired: sign in again.' >&2; fi
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
  [[ $status == 200 ]] || fail
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

say 'Call the model'
call '{"model": "chat", "messages": [{"role": "user", "content": "Say hello"}]}'
echo "instance $(header x-gatehouse-instance) answered"

say 'Call it once more, as a stream'
call '{"model": "chat", "stream": true, "messages": [{"role": "user", "content": "Say hello"}]}'
grep -q '^data: \[DONE\]' "$folder/body" || { echo 'failed: the stream broke off' && exit 1; }
echo "$(grep -c '^data: {' "$folder/body") events"

say 'Export the audit log and check it offline'
api GET "$ws/audit-log/export"
[[ $status == 200 ]] || fail
export=$folder/audit.ndjson
mv "$folder/body" "$export"
api GET /.well-known/audit-log-key
[[ $status == 200 ]] || fail
code=0
node "$verifier" --key "$(field .public_key)" "$export" >"$folder/verdict" 2>&1 || code=$?
case $code in
  0) echo "$export: nothing was changed" ;;
  3) echo "$export: nothing wrong found, not all sealed yet" ;; # Rows of the last minute or two are not sealed yet.
  *) echo failed && cat "$folder/verdict" >&2 && exit 1 ;;
esac
echo "Done. The workspace is at $GATEHOUSE$ws"
