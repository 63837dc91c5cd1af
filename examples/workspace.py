"""Sets up a whole workspace: the workspace, two provider credentials, a pool, an invite and an API key; then calls a model through it, as
JSON and as a stream, and checks the audit log offline. Run it as often as you like: what is there already is kept.

    GATEHOUSE=http://127.0.0.1:8787 GATEHOUSE_TOKEN=<session token> python3 examples/workspace.py

docs/guides/first-call.md says how to get a session token.
"""

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Optional

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "clients" / "python"))
from gatehouse import Gatehouse, GatehouseError  # noqa: E402

# What `npx verify-audit` runs in a clone, from wherever this is called.
VERIFIER = ROOT / "scripts" / "verify-audit.mjs"
BASE_URL = os.environ.get("GATEHOUSE", "http://127.0.0.1:8787").rstrip("/")
SLUG = "example-python"
WS = f"/workspaces/{SLUG}"
STEPS = 9
done = 0


def step(what: str) -> None:
    """Says what comes."""
    global done
    done += 1
    print(f"[{done}/{STEPS}] {what} … ", end="", flush=True)


def tell_retry(_: int, wait: float, status: Optional[int]) -> None:
    print(f"{status or 'no answer'}, once more in {wait:.1f} s … ", end="", flush=True)


def ensure(create: Callable[[], Any], conflict: str, find: Callable[[], Any]) -> Dict[str, Any]:
    """Creates a thing, or finds the one that a former run made."""
    try:
        thing = create()
        print(f"made {thing['id']}")
    except GatehouseError as error:
        if error.code != conflict:
            raise
        thing = find()
        print(f"there already: {thing['id']}")
    return thing


def main(token: str) -> None:
    gatehouse = Gatehouse(BASE_URL, token, on_retry=tell_retry)

    def named(path: str, name: str) -> Dict[str, Any]:
        return next(thing for thing in gatehouse.pages(path) if thing["name"] == name)

    step("Create the workspace")
    body = {"name": "Example (Python)", "slug": SLUG}
    workspace = ensure(lambda: gatehouse.post("/workspaces", body), "workspace_exists", lambda: gatehouse.get(WS))

    instances = []
    for name, weight in (("eu", 3), ("us", 1)):
        step(f'Store the provider\'s credential "{name}"')
        path = f"{WS}/model-providers/sandbox/credentials"
        secret = {"name": name, "credentials": {"api_key": f"sk-sandbox-ok-{name}"}}
        credential = ensure(lambda: gatehouse.post(path, secret), "name_taken", lambda: named(path, name))
        instance = {"alias": name, "provider_name": "sandbox", "model": "sandbox-chat", "weight": weight}
        instances.append({**instance, "credential_id": credential["id"]})

    step("Lay a pool over both, 3:1")
    pool = {"name": "chat", "strategy": "weighted", "instances": instances}
    ensure(lambda: gatehouse.post(f"{WS}/pools", pool), "name_taken", lambda: gatehouse.get(f"{WS}/pools/chat"))

    step("Invite a colleague")
    try:
        invited = gatehouse.post(f"{WS}/members/invite", {"emails": ["grace@example.com"], "role": "MEMBER"})
        print(invited["results"][0]["status"])
    except GatehouseError as error:
        # A single address that was invited before is a conflict.
        if error.status != 409:
            raise
        print(error.code)

    step("Make an API key")
    wish = {"name": "example", "scopes": ["models:invoke"], "limits": {"rpm": 600, "budget_usd": {"day": 1}}}
    key = ensure(lambda: gatehouse.post(f"{WS}/api-keys", wish), "name_taken", lambda: named(f"{WS}/api-keys", "example"))
    if "secret" not in key:
        # A secret is shown once, so a key that was made before gets a new one; the old one ends at once.
        key = gatehouse.post(f"{WS}/api-keys/{key['id']}/rotate", {"overlap_seconds": 0})

    caller = Gatehouse(BASE_URL, key["secret"], on_retry=tell_retry)
    call = {"model": "chat", "messages": [{"role": "user", "content": "Say hello"}]}
    step("Call the model")
    print(f"{caller.post('/v1/chat/completions', call)['usage']['completion_tokens']} tokens")

    step("Call it once more, as a stream")
    events = list(caller.events("/v1/chat/completions", {**call, "stream": True}))
    text = "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
    print(f"{len(events)} events, {len(text)} characters")

    step("Export the audit log and check it offline")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".ndjson", delete=False) as file:
        file.writelines(f"{line}\n" for line in gatehouse.lines(f"{WS}/audit-log/export"))
    public_key = gatehouse.get("/.well-known/audit-log-key")["public_key"]
    if shutil.which("node") is None:
        print("failed")
        raise SystemExit(f"Node.js is missing, which runs the verifier. The export is {file.name}.")
    checked = subprocess.run(["node", str(VERIFIER), "--key", public_key, file.name], capture_output=True, text=True)
    # 3: nothing wrong was found, but rows of the last minute or two are not sealed yet.
    if checked.returncode not in (0, 3):
        print("failed")
        raise SystemExit(f"verify-audit says:\n{checked.stdout}{checked.stderr}")
    print(f"{file.name}: {'nothing was changed' if checked.returncode == 0 else 'nothing wrong found, not all sealed yet'}")
    print(f"Done. {workspace['name']} is at {BASE_URL}{WS}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(__doc__)
        sys.exit(0 if sys.argv[1] == "--help" else 2)
    if not os.environ.get("GATEHOUSE_TOKEN"):
        print("Set GATEHOUSE_TOKEN to a session token: POST /setup or a sign-in answers one, see docs/guides/first-call.md.", file=sys.stderr)
        sys.exit(2)
    try:
        main(os.environ["GATEHOUSE_TOKEN"])
    except GatehouseError as error:
        advice = "\nGATEHOUSE_TOKEN is no session token of this server, or has expired: sign in again." if error.status == 401 else ""
        told = f"{error.code}: {error}" + (f" ({error.request_id})" if error.request_id else "")
        print("failed")
        sys.exit(told + advice)
    except (OSError, http.client.HTTPException) as error:
        print("failed")
        sys.exit(f"{BASE_URL} does not answer ({getattr(error, 'reason', error)}). Does it run there? GATEHOUSE names another address.")
