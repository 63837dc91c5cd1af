/** Good values by the name of what they are entered for. A text that begins with `$` stands for something of the world it is sent to. */
import * as fc from "fast-check";
import type { Json, Operation } from "./document.ts";

const just = (...values: readonly Json[]): fc.Arbitrary<Json> => fc.constantFrom(...values);

/** A small API as an OpenAPI document, on the helper server of the run. */
const document: Json = {
  openapi: "3.1.0",
  info: { title: "Helper", version: "1" },
  servers: [{ url: "$helper" }],
  paths: { "/echo": { get: { operationId: "echo", responses: { 200: { description: "ok" } } } } },
};

const price: Json = { input_usd_per_mtok: 1, output_usd_per_mtok: 2 };
const messages: Json = [{ role: "user", content: "Say hello." }];

/** By the name of the property or the query parameter, wherever it stands. */
const common: Readonly<Record<string, fc.Arbitrary<Json>>> = {
  name: just("$unique"),
  alias: just("$unique"),
  slug: just("$unique"),
  title: just("A title", "标题", "T"),
  description: just("", "What it is for."),
  email: just("$email"),
  emails: just(["$email"], ["$email", "$email"]),
  locale: just("en-US", "zh-CN", "de"),
  timezone: just("UTC", "Europe/Berlin", "Asia/Shanghai"),
  provider_name: just("sandbox"),
  model: just("sandbox-chat"),
  credential_id: just("$credential"),
  credential_ids: just(["$credential"]),
  credentials: just({ api_key: "$secret" }, { api_key: "$secret", base_url: "$helper" }),
  role: just("ADMIN", "MEMBER"),
  expires_at: just("$soon"),
  url: just("$helper"),
  base_url: just("$helper"),
  token_url: just("$tokenUrl"),
  document: just(document),
  member_id: just("$adminMember"),
  code: just("12345678"),
  handle: just("$unique"),
  input: just({}),
  events: just(["pool.created"], ["credential.*"], ["member.*", "invite.*"]),
  pool: just("$poolName"),
  fallbacks: just([], ["$poolName"]),
  models: just(["chat"], ["chat", "sandbox-chat"]),
  tools: just(["x/*"], ["x/echo"]),
  price: just(price),
  redirect_to: just("/", "/a?b=c"),
  region: just("auto"),
  timeout_seconds: just(2, 5),
  audit_checkpoint_email: just(null, "$email"),
  from: just("$hourAgo"),
  to: just("$soon"),
  search: just("a"),
  group_by: just("key", "model", "pool,model"),
  cursor: just("$cursor", "$foreignCursor"),
  action: just("member.*", "pool.created"),
  key_id: just("$key"),
  pool_id: just("$pool"),
  instance_id: just("$instance"),
  messages: just(messages),
  max_tokens: just(5, 50),
  auth: just({ type: "none" }, { type: "bearer" }),
  prompt: just("Say hello."),
  "X-Workspace": just("$ws", "$annex", "$foreignWs"),
  "mcp-protocol-version": just("2025-06-18"),
  "anthropic-version": just("2023-06-01"),
};

/** What a property means in one family of operations only. `null`: the schema alone decides. */
const special: readonly [RegExp, Readonly<Record<string, fc.Arbitrary<Json> | null>>][] = [
  [/^deleteWorkspace$/, { slug: just("$spareSlug") }],
  [/^verifyCode$/, { code: just("$signInCode"), handle: just("$signInHandle") }],
  [/^(createModel)$/, { model: just("$unique") }],
  [
    /^(getAuditProof)$/,
    { from: just("0", "1"), to: just("1", "2"), seq: just("1"), index: just("0"), size: just("1") },
  ],
  [/^(invokeTool|updateToolProvider)$/, { credential_id: just("$toolCredential") }],
  [/^replacePool$/, { fallbacks: just([]) }],
  [/^(createChatCompletion|createMessage|countMessageTokens)$/, { model: just("chat"), content: just("Hello") }],
  [/^(createResponse|createCompletion)$/, { model: just("chat"), input: just("Hello") }],
  [/^createEmbedding$/, { model: just("sandbox-embed"), input: just("Hello", ["a", "b"]) }],
  [
    /^create(Image|Speech|Transcription|Moderation|Rerank)$/,
    { model: just("media"), input: just("Hello"), documents: just(["a", "b"]) },
  ],
  [/^addPasskey$/, { response: just("$passkeyRegistration") }],
  [/^finishPasskeySignIn$/, { response: just("$passkeyAssertion") }],
  [
    /^callMcp$/,
    { method: just("tools/list", "ping", "resources/list"), params: just({}), id: just(1, "a"), name: null },
  ],
  [/^(create|rotate|update)(Credential|ToolCredential)/, { credentials: just({ api_key: "$secret" }) }],
];

const gateway = /^\/(v1|anthropic)\//;

/** Whether an operation is the gateway's: its callers are API keys. */
export function isOfGateway(operation: Operation): boolean {
  return gateway.test(operation.template);
}

/** What is good there, or null when the schema alone says it. */
export function wordFor(operation: Operation, property: string): fc.Arbitrary<Json> | null {
  for (const [ids, words] of special) {
    const word = ids.test(operation.id) ? words[property] : undefined;
    if (word !== undefined) {
      return word;
    }
  }
  return Object.hasOwn(common, property) ? (common[property] ?? null) : null;
}

/** Things that an operation may use up, so that it gets one of its own. */
const used: readonly [RegExp, Readonly<Record<string, string>>][] = [
  [/^(updateWorkspace|deleteWorkspace)$/, { ws: "$spareWs" }],
  [/^restoreWorkspace$/, { ws: "$deletedWs" }],
  [/^(updateMember|removeMember)$/, { ws: "$annex", id: "$spareMember" }],
  [/^(updateApiKey|revokeApiKey|rotateApiKey)$/, { id: "$spareKey" }],
  [/^(delete|update|rotate|rollback)Credential/, { id: "$spareCredential" }],
  [/^(replacePool|deletePool)$/, { pool: "$sparePool" }],
  [/^(updateModel|deleteModel)$/, { model: "$spareModel" }],
  [/^(updateWebhook|deleteWebhook|rotateWebhookSecret)$/, { id: "$spareWebhook" }],
  [/^(replaceToolProvider|updateToolProvider|deleteToolProvider)$/, { provider: "$spareTools" }],
  [/^refreshToolProvider$/, { provider: "$linkedTools" }],
  [/^(delete|update|rotate|rollback)ToolCredential$/, { id: "$spareToolCredential" }],
  [/^updateTool$/, { provider: "$spareTools" }],
  [/^(revokeInvite|resendInvite)$/, { id: "$spareInvite" }],
  [/^revokeSession$/, { id: "$leaverSession" }],
  [/^revokePersonalToken$/, { id: "$spareToken" }],
  [/^removePasskey$/, { id: "$passkey" }],
];

const places: readonly [RegExp, string][] = [
  [/\/tool-providers\/\{provider\}\/credentials\/\{id\}/, "$toolCredential"],
  [/\/credentials\/\{id\}/, "$credential"],
  [/\/members\/\{id\}/, "$member"],
  [/\/invites\/\{id\}/, "$invite"],
  [/\/api-keys\/\{id\}/, "$key"],
  [/\/instances\/\{id\}/, "$instance"],
  [/\/webhooks\/\{id\}/, "$webhook"],
  [/\/requests\/\{id\}/, "$request"],
];

/** The good value of a path's parameter. */
export function placeFor(operation: Operation, name: string): string {
  const own = used.find(([ids, parameters]) => ids.test(operation.id) && Object.hasOwn(parameters, name));
  if (own !== undefined) {
    return own[1][name] ?? "";
  }
  if (name === "provider") {
    return /\/tool/.test(operation.template) ? "$tools" : operation.id === "finishProviderSignIn" ? "oidc" : "sandbox";
  }
  if (name === "id") {
    return places.find(([template]) => template.test(operation.template))?.[1] ?? "chat";
  }
  if (operation.template.startsWith("/docs/") && name === "name") {
    return operation.template.includes("/guides/") ? "first-call" : "gateway";
  }
  const named: Readonly<Record<string, string>> = {
    ws: "$ws",
    pool: "$pool",
    model: isOfGateway(operation) ? "chat" : "$model",
    tool: "echo",
    token: "$inviteToken",
    delivery: "$delivery",
    code: "not_found",
  };
  return named[name] ?? "x";
}

/** The same kind of thing in the workspace next door. */
export function foreignOf(place: string): string {
  const kind = place.replace(/^\$(?:spare|deleted|annex)?/, "");
  const names: Readonly<Record<string, string>> = { "": "Ws", Tools: "Tools", tools: "Tools" };
  const name = names[kind] ?? `${kind.charAt(0).toUpperCase()}${kind.slice(1)}`;
  return `$foreign${name}`;
}

/** Headers without which a good request is refused. */
export function headersFor(operation: Operation): Readonly<Record<string, string>> {
  return operation.id === "callMcp" ? { accept: "application/json, text/event-stream" } : {};
}

/** The query without which a good request is refused. */
export function queryFor(operation: Operation): readonly (readonly [string, string])[] {
  return operation.id === "getAuditProof" ? [["index", "0"]] : [];
}
