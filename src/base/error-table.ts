/** Every error code a caller can meet, with its status and the sentence they may read. The status is a column here and nowhere else. */

interface ErrorEntry {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
}

/** Every code a caller can meet. The status is a column here and nowhere else. */
export const errorTable = {
  malformed_json: {
    status: 400,
    title: "Malformed JSON",
    detail: "The body is not valid JSON. Send one JSON value in UTF-8.",
  },
  malformed_form: {
    status: 400,
    title: "Malformed form",
    detail: "The form cannot be read. Send multipart/form-data as RFC 7578 describes it.",
  },
  repeated_field: {
    status: 400,
    title: "Repeated field",
    detail: "The body names the same field twice. Send each field once.",
  },
  model_required: {
    status: 400,
    title: "Model required",
    detail: "Send `model` as a text: the name of a pool or a model. GET /v1/models lists what there is.",
  },
  endpoint_not_supported: {
    status: 400,
    title: "Endpoint not supported",
    detail:
      "No provider behind this model serves the endpoint that was called. Call another endpoint, or a model of a provider that has this one.",
  },
  untranslatable: {
    status: 400,
    title: "Not sayable there",
    detail:
      "The instance speaks another wire format, which cannot say a field of this request. Leave the field out, or call a model of a provider that has this endpoint.",
  },
  background_refused: {
    status: 400,
    title: "Background refused",
    detail:
      "A response that runs in the background can be asked for only where it was begun, which a pool does not promise. Send `background: false` and `stream: true` for a long one.",
  },
  invalid_header: { status: 400, title: "Invalid header", detail: "A request header has a value that cannot be read." },
  unauthenticated: {
    status: 401,
    title: "Not signed in",
    detail: "Send a valid session token or API key as `Authorization: Bearer …`.",
  },
  code_refused: {
    status: 401,
    title: "Code refused",
    detail: "The code is wrong, used or no longer good. Check it, or ask for a new one.",
  },
  invalid_setup_token: {
    status: 403,
    title: "Wrong set-up token",
    detail: "Send the set-up token that the first start printed as `Authorization: Bearer …`.",
  },
  forbidden: {
    status: 403,
    title: "Not allowed",
    detail: "Your role or key does not allow this. Ask an owner or admin of the workspace.",
  },
  wrong_account: {
    status: 403,
    title: "Wrong account",
    detail: "This invite is for another e-mail address. Sign in with the address it was sent to.",
  },
  role_too_high: { status: 403, title: "Role too high", detail: "You cannot give or change a role above your own." },
  wrong_code: {
    status: 403,
    title: "Wrong code",
    detail: "The code is not the one that was mailed. Check it and try again.",
  },
  scope_too_high: {
    status: 403,
    title: "Scope too high",
    detail: "A key cannot have a scope that its maker does not have.",
  },
  limit_too_high: {
    status: 403,
    title: "Limit too high",
    detail: "What you call with may not make or leave a key with looser limits or a later end than this.",
  },
  origin_not_allowed: {
    status: 403,
    title: "Origin not allowed",
    detail: "A browser write with a cookie must come from this service's own pages.",
  },
  scope_missing: {
    status: 403,
    title: "Scope missing",
    detail: "This API key does not have the scope that the call needs.",
  },
  model_not_priced: {
    status: 403,
    title: "Model not priced",
    detail:
      "A budget applies to this call, and nobody knows what the model costs. Give it a price by PATCH …/model-providers/{provider}/models/{model}, or call another.",
  },
  model_not_allowed: {
    status: 403,
    title: "Model not allowed",
    detail: "This API key may not use that model. GET /v1/models lists what it may use.",
  },
  tool_not_allowed: {
    status: 403,
    title: "Tool not allowed",
    detail: "This API key may not invoke that tool. Its `limits.tools` names the ones it may.",
  },
  not_found: { status: 404, title: "Not found", detail: "There is nothing here, or you may not see it." },
  model_not_found: {
    status: 404,
    title: "Model not found",
    detail:
      "That name is neither a pool of this workspace nor a model of a provider it has a credential for. GET /v1/models lists what there is.",
  },
  method_not_allowed: {
    status: 405,
    title: "Method not allowed",
    detail: "This address does not take that method. See the Allow header.",
  },
  request_timeout: { status: 408, title: "Request timed out", detail: "The request body did not arrive in time." },
  already_set_up: {
    status: 409,
    title: "Already set up",
    detail: "This Gatehouse has its first account. Sign in, or ask its owner for an invite.",
  },
  workspace_exists: {
    status: 409,
    title: "Workspace exists",
    detail: "A workspace with this slug, or one of yours with this name, exists. Choose another.",
  },
  name_taken: {
    status: 409,
    title: "Name taken",
    detail: "Something of this kind already has that name here. Choose another name.",
  },
  webhook_disabled: {
    status: 409,
    title: "Webhook disabled",
    detail: "Nothing is sent to a webhook that is disabled. Enable it first by PATCH with `enabled: true`.",
  },
  in_use: { status: 409, title: "In use", detail: "It is still used. Take it out of the places named here first." },
  model_predefined: {
    status: 409,
    title: "Predefined model",
    detail: "The catalogue knows this model, so it cannot be deleted. Disable it by PATCH with `enabled: false`.",
  },
  already_member: {
    status: 409,
    title: "Already a member",
    detail: "This address already belongs to a member of the workspace.",
  },
  already_invited: {
    status: 409,
    title: "Already invited",
    detail: "This address has a pending invite. Resend or revoke that one.",
  },
  owner_role: {
    status: 409,
    title: "The owner's role",
    detail: "The owner's role moves by an ownership transfer only.",
  },
  last_owner: {
    status: 409,
    title: "Last owner",
    detail: "The owner cannot leave or be removed. Transfer the ownership first.",
  },
  seat_limit_reached: {
    status: 409,
    title: "No seat free",
    detail: "Every seat of the workspace is taken. Raise `seat_limit`, remove somebody or revoke an invite.",
  },
  seats_taken: {
    status: 409,
    title: "Seats taken",
    detail: "The workspace has more members than that. Remove some first.",
  },
  invite_limit_reached: {
    status: 409,
    title: "Too many open invites",
    detail: "The workspace has as many open invites as it may have. Revoke some, or wait for answers.",
  },
  limit_reached: {
    status: 409,
    title: "Limit reached",
    detail:
      "There are as many of these as there may be at once. Delete or revoke one that is not needed any more, also an expired one.",
  },
  invite_closed: {
    status: 409,
    title: "Invite closed",
    detail: "This invite was answered, revoked or replaced. Invite the address again.",
  },
  credential_missing: {
    status: 409,
    title: "Credential missing",
    detail: "This tool provider has no credential that can be used. Add one, or enter it again.",
  },
  transfer_pending: {
    status: 409,
    title: "Transfer pending",
    detail: "An ownership transfer is waiting for its code. Confirm it, cancel it, or let it expire.",
  },
  no_transfer_pending: {
    status: 409,
    title: "No transfer pending",
    detail: "No ownership transfer waits for a code. Offer it first.",
  },
  key_not_active: {
    status: 409,
    title: "Key not active",
    detail: "This API key is revoked or expired, for good. Make a new one.",
  },
  no_previous_secret: {
    status: 409,
    title: "No secret before",
    detail: "There is no secret before this one to go back to: none was kept, or its time is over. Rotate instead.",
  },
  rotation_running: { status: 409, title: "Rotation running", detail: "The last change of data key is not done yet." },
  conflict: {
    status: 409,
    title: "Conflict",
    detail: "The change conflicts with the present state. Read it again, then retry.",
  },
  idempotency_in_progress: {
    status: 409,
    title: "Still running",
    detail: "A request with this Idempotency-Key is still running. Retry in a moment.",
  },
  gone: { status: 410, title: "Gone", detail: "It was there, but its time is over. It cannot be brought back." },
  transfer_over: {
    status: 410,
    title: "Transfer over",
    detail: "This ownership transfer has expired, or its code was tried too often. Offer it again.",
  },
  precondition_failed: {
    status: 412,
    title: "Precondition failed",
    detail: "The resource changed since you read it. Read it again and retry with its new ETag.",
  },
  body_too_large: {
    status: 413,
    title: "Body too large",
    detail: "The request body is larger than this address takes.",
  },
  unsupported_media_type: {
    status: 415,
    title: "Unsupported media type",
    detail: "Send the body with `Content-Type: application/json`.",
  },
  misdirected_request: {
    status: 421,
    title: "Misdirected request",
    detail: "This service does not answer for that Host. Use the address in PUBLIC_URL.",
  },
  validation_failed: {
    status: 422,
    title: "Validation failed",
    detail: "Some fields cannot be accepted. `errors` names each one.",
  },
  idempotency_key_reused: {
    status: 422,
    title: "Idempotency-Key reused",
    detail: "This Idempotency-Key was used with another body. Use a new key for a new request.",
  },
  precondition_required: {
    status: 428,
    title: "Precondition required",
    detail: "Send `If-Match` with the ETag you read.",
  },
  rate_limited: { status: 429, title: "Too many requests", detail: "Wait for the time in Retry-After, then retry." },
  concurrency_limited: {
    status: 429,
    title: "Too many concurrent requests",
    detail: "This API key has its allowed number of calls running. Retry when one ends.",
  },
  insufficient_quota: {
    status: 429,
    title: "Budget used up",
    detail: "The budget of this API key or its workspace is used up. Wait until it turns, or have it raised.",
  },
  client_closed_request: { status: 499, title: "Client closed request", detail: "The caller left before the answer." },
  internal: {
    status: 500,
    title: "Internal error",
    detail: "Something failed inside the service. Retry; if it stays, quote the request id.",
  },
  tool_failed: {
    status: 502,
    title: "Tool failed",
    detail: "The tool's provider did not give a usable answer. `upstream_status` and `reason` say what it gave.",
  },
  tool_timeout: {
    status: 504,
    title: "Tool timed out",
    detail:
      "The tool's provider did not answer within the provider's `timeout_seconds`. The call may have had its effect.",
  },
  upstream_failed: { status: 502, title: "Upstream failed", detail: "The provider did not give a usable answer." },
  undecryptable: {
    status: 500,
    title: "Credential cannot be opened",
    detail: "A stored credential cannot be opened. Enter it again.",
  },
  keyring_entry_missing: {
    status: 503,
    title: "Key not here yet",
    detail:
      "A stored value needs a KEYRING entry that this deployment does not have (yet). Retry after the time in Retry-After.",
  },
  not_ready: { status: 503, title: "Not ready", detail: "A part of the service is not ready. /readyz names it." },
  publish_pending: {
    status: 503,
    title: "Change not yet in force",
    detail: "The change is recorded but not yet in force everywhere. Retry with the same Idempotency-Key.",
  },
  router_unavailable: {
    status: 503,
    title: "Router unavailable",
    detail: "The router cannot be reached right now. Retry after the time in Retry-After.",
  },
  overloaded: {
    status: 503,
    title: "Overloaded",
    detail: "The service is at its limit. Retry after the time in Retry-After.",
  },
  pool_exhausted: {
    status: 503,
    title: "Pool exhausted",
    detail: "Every instance of the pool is cooling down or out. Retry after the time in Retry-After.",
  },
  timeout: { status: 504, title: "Upstream timed out", detail: "No instance answered within the pool's time limit." },
} as const satisfies Record<string, ErrorEntry>;
