/** What stands on the page of each error code: what the answer means, and what to do about it. */
import type { ErrorCode } from "./errors.js";

/** Two plain English texts; backticks mark code. */
export interface ErrorHelp {
  readonly means: string;
  readonly remedy: string;
}

/** One entry for each code of `errorTable`. */
export const errorHelp: Readonly<Record<ErrorCode, ErrorHelp>> = {
  malformed_json: {
    means:
      "The body could not be read as JSON in UTF-8: a comma, a quote or the end is missing, or it is no JSON at all.",
    remedy: "Let a JSON library write the body, and send it whole. Nothing was changed.",
  },
  malformed_form: {
    means: "The body says it is a form, but its parts or their boundary cannot be read.",
    remedy: "Let your HTTP client build the multipart body and set `Content-Type` with its boundary itself.",
  },
  repeated_field: {
    means: "The body names one field twice. Readers differ on which one counts, so neither is taken.",
    remedy: "Send each field once.",
  },
  model_required: {
    means: "A call to a model did not say which one.",
    remedy:
      "Send `model`: the name of a pool, or of a model of a provider the workspace has a credential for. `GET /v1/models` lists them.",
  },
  endpoint_not_supported: {
    means: "The model exists, but no provider behind it has the endpoint that was called, not even by translation.",
    remedy: "Call the endpoint the provider has, or add an instance of another provider to the pool.",
  },
  untranslatable: {
    means:
      "The provider speaks another wire format than you do, and a field of your request cannot be said in it. `detail` names the field.",
    remedy: "Leave the field out, or call a model of a provider that speaks your format. Nothing was sent.",
  },
  background_refused: {
    means:
      "A response that runs in the background lives at one provider account, and a pool does not promise the same one twice.",
    remedy: "Send `background: false`; for long answers also `stream: true`.",
  },
  invalid_header: {
    means:
      "A header has a value this service cannot read, such as an `Idempotency-Key` with characters it may not have.",
    remedy: "Look at `detail`, mend the header and send the request again.",
  },
  unauthenticated: {
    means:
      "No credential was sent, or it is not known, expired, revoked or cut short. OpenAI's clients read this as `invalid_api_key`.",
    remedy:
      "Send `Authorization: Bearer …` with a session token, a personal token or an API key. Sign in again, or make another key, if it has ended.",
  },
  code_refused: {
    means: "The code from the mail is wrong, was used, or its time is over. All three look the same on purpose.",
    remedy: "Check for a typing error, or ask for another code. Only the newest one counts.",
  },
  invalid_setup_token: {
    means: "The bearer token is not this installation's `SETUP_TOKEN`.",
    remedy: "Take the token that the first start printed, or the value of the `SETUP_TOKEN` setting.",
  },
  forbidden: {
    means: "You are known, but your role, token or key does not reach this far. `detail` names what is needed.",
    remedy: "Ask an owner or admin of the workspace for the role or for a key with that scope.",
  },
  wrong_account: {
    means: "You are signed in with another address than the one that was invited.",
    remedy:
      "Sign out, sign in with the invited address and open the link again, or ask for an invite to the address you use.",
  },
  role_too_high: {
    means: "The role to give or to change stands above your own.",
    remedy: "Ask somebody whose role is high enough.",
  },
  wrong_code: {
    means: "The code of the ownership transfer is not the one that was mailed.",
    remedy: "Type it again. After a few wrong tries the transfer ends and must be offered anew.",
  },
  scope_too_high: {
    means: "The key would have a scope that its maker does not have.",
    remedy: "Leave the scope out, or have somebody with it make the key.",
  },
  limit_too_high: {
    means: "A key or token that makes or changes keys cannot give looser limits or a later end than it has itself.",
    remedy: "Ask for less, or make the change signed in as an admin.",
  },
  origin_not_allowed: {
    means:
      "A browser sent a change with a cookie from a page that is neither ours nor of an origin in `ALLOWED_ORIGINS`.",
    remedy: "Use our own pages, send a bearer token in place of the cookie, or have the operator add the origin.",
  },
  scope_missing: {
    means: "The API key is good but lacks the scope of this call, such as `models:invoke`.",
    remedy: "Use a key with the scope, or make one.",
  },
  model_not_priced: {
    means:
      "A budget applies, and the cost of this model is not known. What costs an unknown amount cannot be held to a budget.",
    remedy:
      "An admin gives the model a price by `PATCH …/model-providers/{provider}/models/{model}`, or call one with a price.",
  },
  model_not_allowed: {
    means: "`limits.models` of the API key does not name this model.",
    remedy: "Call a model that `GET /v1/models` lists for this key, or have the key's limits widened.",
  },
  tool_not_allowed: {
    means: "`limits.tools` of the API key does not name this tool.",
    remedy: "Invoke a tool that the key may use, or have the key's limits widened.",
  },
  not_found: {
    means:
      "There is nothing at this address, or it belongs to a workspace you are not in. Both answers are the same, so that ids cannot be probed.",
    remedy:
      "Check the address, the id and which workspace you are calling for. An SDK's base URL ends in /v1 for OpenAI's wire and in /anthropic for Anthropic's.",
  },
  model_not_found: {
    means: "The name is no pool of the workspace and no model of exactly one enabled provider with a credential.",
    remedy: "`GET /v1/models` lists the names. Where two providers have the model, build a pool of it.",
  },
  method_not_allowed: {
    means: "The address exists, but does not take this method.",
    remedy: "Use one of the methods in the `Allow` header.",
  },
  request_timeout: {
    means: "The body stopped arriving before it was whole.",
    remedy: "Send it again; look at the network between you and the service. Nothing was changed.",
  },
  already_set_up: {
    means: "Set-up makes the first account only, and there is one.",
    remedy: "Sign in, or ask its owner for an invite.",
  },
  workspace_exists: {
    means: "The slug is taken, or you own a workspace of that name.",
    remedy: "Choose another slug or name, or use the workspace that exists.",
  },
  name_taken: {
    means: "Names of this kind are unique in a workspace, and this one is in use.",
    remedy: "Choose another name, or change the thing that has it.",
  },
  webhook_disabled: {
    means: "The webhook was switched off, or went out by itself; its `disabled_reason` says why.",
    remedy: "Mend its address and enable it by `PATCH` with `enabled: true`, then ask again.",
  },
  in_use: {
    means: "What should go is still used elsewhere; the answer names where.",
    remedy: "Take it out of those places first, then delete it.",
  },
  model_predefined: {
    means: "The model comes from the catalogue, which only a release of the service changes.",
    remedy: "Disable it by `PATCH` with `enabled: false`.",
  },
  already_member: {
    means: "Somebody with this address is in the workspace already.",
    remedy: "Nothing is to be done; change the role of the member if that was the aim.",
  },
  already_invited: {
    means: "An invite to this address is open.",
    remedy: "Resend that invite, or revoke it and invite again.",
  },
  owner_role: {
    means: "The role OWNER is neither given nor taken by a change of role.",
    remedy: "Use the ownership transfer.",
  },
  last_owner: {
    means: "A workspace always has its owner, so the owner cannot leave or be removed.",
    remedy: "Transfer the ownership, then leave; or delete the workspace.",
  },
  seat_limit_reached: {
    means: "Members and open invites together fill every seat of the workspace.",
    remedy: "Raise `seat_limit` in its settings, remove a member or revoke an invite.",
  },
  seats_taken: {
    means: "`seat_limit` would fall below the number of people who are there.",
    remedy: "Remove members or revoke invites first, or set a higher number.",
  },
  invite_limit_reached: {
    means: "The workspace has as many open invites as it may have.",
    remedy: "Revoke some, or wait until they are answered or expire.",
  },
  limit_reached: {
    means: "There are as many things of this kind as there may be.",
    remedy: "Delete or revoke one that is not needed; expired ones count until they are gone.",
  },
  invite_closed: {
    means: "The invite was accepted, declined, revoked or replaced by a later one.",
    remedy: "Look for the newest letter, or invite the address again.",
  },
  credential_missing: {
    means: "The tool provider has no credential that can be used, so the call was not made.",
    remedy: "Add a credential, enter it again or enable it.",
  },
  transfer_pending: {
    means: "An ownership transfer was offered and waits for its code.",
    remedy: "Confirm it, cancel it, or let it expire before you offer another.",
  },
  no_transfer_pending: {
    means: "There is no ownership transfer that could be confirmed.",
    remedy: "Offer the transfer first; then confirm it with the code that is mailed.",
  },
  key_not_active: {
    means: "The API key is revoked or expired. Neither is ever undone.",
    remedy: "Make another key.",
  },
  no_previous_secret: {
    means: "A rotation is rolled back to the secret before it, and none is kept: its grace time is over or was zero.",
    remedy: "Rotate again, with the secret you want.",
  },
  rotation_running: {
    means: "The workspace's data key is being changed, and one change runs at a time.",
    remedy: "`GET …/vault` shows how far it is. Start the next when it is done.",
  },
  conflict: {
    means: "Somebody changed the same thing at the same moment, or its state does not allow this step.",
    remedy: "Read it again, decide again, and send the change again.",
  },
  idempotency_in_progress: {
    means: "A request with the same `Idempotency-Key` has not ended yet.",
    remedy: "Wait a moment and send the same request again: it gives the first one's answer.",
  },
  gone: {
    means: "It existed, and its time is over for good.",
    remedy: "It cannot be brought back. Make another.",
  },
  transfer_over: {
    means: "The ownership transfer expired, or its code was tried too often.",
    remedy: "Offer it again.",
  },
  precondition_failed: {
    means:
      "`If-Match` names a state that is not the present one: somebody changed it since you read it. Nothing was changed.",
    remedy: "Read it again, look at what changed, and send the change with the present `ETag`.",
  },
  body_too_large: {
    means: "The body has more bytes than this address takes; `detail` says how many it may have.",
    remedy: "Send less at a time.",
  },
  unsupported_media_type: {
    means: "The body came without `Content-Type: application/json`, or as another type.",
    remedy: "Set the header. The gateway's audio endpoints take `multipart/form-data`.",
  },
  misdirected_request: {
    means: "The request came under a host name that is not the one in `PUBLIC_URL`.",
    remedy: "Use the address in `PUBLIC_URL`; operators set it to the name that people use.",
  },
  validation_failed: {
    means:
      "The request can be read, but some of its fields cannot be accepted. `errors` has a JSON pointer and a sentence for each.",
    remedy: "Mend the fields that `errors` names. Nothing was changed.",
  },
  idempotency_key_reused: {
    means:
      "This `Idempotency-Key` belongs to a request with another body. Its answer would be the wrong one for yours.",
    remedy: "Use a fresh key for each new request, and the same key only to send the same request again.",
  },
  precondition_required: {
    means: "This change must say which state it was decided on.",
    remedy: "Read the resource and send its `ETag` as `If-Match`.",
  },
  rate_limited: {
    means:
      "More requests came than a limit allows: of the API key or its workspace, of your address, or of the provider.",
    remedy:
      "Wait for the seconds in `Retry-After`. OpenAI's clients read this as `rate_limit_exceeded` and wait by themselves.",
  },
  concurrency_limited: {
    means: "The API key has as many calls running as `limits.concurrent` allows.",
    remedy: "Start the next when one ends, or have the limit raised.",
  },
  insufficient_quota: {
    means: "The budget of the API key or of its workspace for this day or month is used up. Days and months are UTC.",
    remedy: "Wait for the time in `Retry-After`, or have an admin raise `budget_usd`.",
  },
  client_closed_request: {
    means: "You left before the answer was there. It stands in logs; nobody receives it.",
    remedy: "Give the call more time if you left because of a time limit of your own.",
  },
  internal: {
    means: "Something failed inside the service that should not fail. It is logged under the request id.",
    remedy: "Send the request again, with the same `Idempotency-Key`. If it stays, tell the operator the `request_id`.",
  },
  tool_failed: {
    means:
      "The tool's provider answered with an error or with something that is no answer. `upstream_status` and `reason` say which.",
    remedy: "Look at those two; check the input, the credential and whether the provider is up.",
  },
  tool_timeout: {
    means: "The tool's provider did not answer in time. It may have done what was asked all the same.",
    remedy: "Find out whether it did before you send it again, or raise the provider's `timeout_seconds`.",
  },
  upstream_failed: {
    means: "The model's provider was tried, on every instance that may be tried, and gave no usable answer.",
    remedy: "Try again. `GET …/requests/{id}` shows each attempt and what it got.",
  },
  undecryptable: {
    means: "The stored credential does not open under the workspace's data key.",
    remedy: "Enter the credential again. Operators: see whether `KEYRING` is the one it was stored under.",
  },
  keyring_entry_missing: {
    means: "A stored value is sealed under an entry of `KEYRING` that this deployment does not have, or not yet.",
    remedy: "Wait and retry while a deployment runs. If it stays, put the entry back into `KEYRING`; /readyz names it.",
  },
  not_ready: {
    means: "A setting is missing or wrong, or a part such as the database does not answer.",
    remedy: "Operators: `/readyz` names the part and what to set. Others: try again later.",
  },
  publish_pending: {
    means: "The change is recorded, but not every part of the service acts on it yet, so it is not called done.",
    remedy:
      "Send the same request with the same `Idempotency-Key` until it answers 2xx. The service goes on trying by itself too.",
  },
  router_unavailable: {
    means: "The object that routes this workspace's calls cannot be reached.",
    remedy: "Wait for the seconds in `Retry-After`, then retry.",
  },
  overloaded: {
    means: "The service has as much in hand as it can take.",
    remedy: "Wait for the seconds in `Retry-After`, then retry.",
  },
  pool_exhausted: {
    means: "Every instance of the pool, and of its fallbacks, is cooling down, drained or out.",
    remedy:
      "Wait for `Retry-After`: the soonest instance is back then. `GET …/pools/{pool}/state` says why each is out.",
  },
  timeout: {
    means: "No instance gave an answer within the pool's time limit.",
    remedy: "Try again, ask for a shorter answer, stream it, or raise the limits in the pool's policy.",
  },
};
