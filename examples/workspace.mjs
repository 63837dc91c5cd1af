/** A whole workspace by `gatehouse/client`. Its help says what it does: node examples/workspace.mjs --help */
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { createClient, GatehouseError, pages, unwrap } from "gatehouse/client";

const help = `Sets up a whole workspace: the workspace, two provider credentials, a pool, an invite and an API key; then calls a model through it,
as JSON and as a stream, and checks the audit log offline. Run it as often as you like: what is there already is kept.

  GATEHOUSE=http://127.0.0.1:8787 GATEHOUSE_TOKEN=<session token> node examples/workspace.mjs

docs/guides/first-call.md says how to get a session token.`;
if (process.argv.length > 2) {
  console.log(help);
  process.exit(process.argv[2] === "--help" ? 0 : 2);
}

const steps = 9;
const baseUrl = (process.env.GATEHOUSE ?? "http://127.0.0.1:8787").replace(/\/+$/, "");
const token = process.env.GATEHOUSE_TOKEN;
if (!token) {
  console.error(
    "Set GATEHOUSE_TOKEN to a session token: POST /setup or a sign-in answers one, see docs/guides/first-call.md.",
  );
  process.exit(2);
}

// What `npx verify-audit` runs in a clone, from wherever this is called.
const verifier = fileURLToPath(new URL("../scripts/verify-audit.mjs", import.meta.url));
const slug = "example-javascript";
const ws = { ws: slug };
const provider = { ...ws, provider: "sandbox" };
const client = createClient({
  baseUrl,
  token,
  onRetry: tellRetry,
});
let step = 0;

function tellRetry({ status, waitMs }) {
  process.stdout.write(`${status ?? "no answer"}, once more in ${(waitMs / 1000).toFixed(1)} s … `);
}

/** Says what comes. */
function say(what) {
  step += 1;
  process.stdout.write(`[${step}/${steps}] ${what} … `);
}

/**
 * Creates a thing, or finds the one that a former run made.
 * @template {{ id: string }} T
 * @template {{ id: string }} U
 * @param {Promise<{ data?: T, error?: unknown, response: Response }>} created
 * @param {string} conflict
 * @param {() => Promise<U>} findFormer
 */
async function ensure(created, conflict, findFormer) {
  try {
    const made = await unwrap(created);
    console.log(`made ${made.id}`);
    return made;
  } catch (error) {
    if (!(error instanceof GatehouseError) || error.code !== conflict) {
      throw error;
    }
    const found = await findFormer();
    console.log(`there already: ${found.id}`);
    return found;
  }
}

/**
 * @template {{ name: string }} T
 * @param {AsyncIterable<T>} things
 * @param {string} name
 */
async function find(things, name) {
  for await (const thing of things) {
    if (thing.name === name) {
      return thing;
    }
  }
  throw new Error(`there is no ${name}`);
}

async function addCredential(name) {
  const list = "/workspaces/{ws}/model-providers/{provider}/credentials";
  const params = { path: provider };
  const body = { name, credentials: { api_key: `sk-sandbox-ok-${name}` } };
  say(`Store the provider's credential "${name}"`);
  return await ensure(client.POST(list, { params, body }), "name_taken", () =>
    find(pages(client, list, { params }), name),
  );
}

async function addPool(eu, us) {
  const shared = { provider_name: "sandbox", model: "sandbox-chat" };
  const instances = [
    { ...shared, alias: "eu", credential_id: eu.id, weight: 3 },
    { ...shared, alias: "us", credential_id: us.id, weight: 1 },
  ];
  say("Lay a pool over both, 3:1");
  await ensure(
    client.POST("/workspaces/{ws}/pools", {
      params: { path: ws },
      body: { name: "chat", strategy: "weighted", instances },
    }),
    "name_taken",
    () => unwrap(client.GET("/workspaces/{ws}/pools/{pool}", { params: { path: { ...ws, pool: "chat" } } })),
  );
}

async function invite(email) {
  say("Invite a colleague");
  try {
    const body = { emails: [email], role: /** @type {const} */ ("MEMBER") };
    const { results } = await unwrap(client.POST("/workspaces/{ws}/members/invite", { params: { path: ws }, body }));
    console.log(results[0]?.status);
  } catch (error) {
    // A single address that was invited before is a conflict.
    if (!(error instanceof GatehouseError) || error.status !== 409) {
      throw error;
    }
    console.log(error.code);
  }
}

/** Gives the key's secret. One is shown once, so a key that was made before gets a new one; the old one ends at once. */
async function addKey() {
  const list = "/workspaces/{ws}/api-keys";
  const params = { path: ws };
  const body = {
    name: "example",
    scopes: /** @type {"models:invoke"[]} */ (["models:invoke"]),
    limits: { rpm: 600, budget_usd: { day: 1 } },
  };
  say("Make an API key");
  const key = await ensure(client.POST(list, { params, body }), "name_taken", () =>
    find(pages(client, list, { params }), "example"),
  );
  if ("secret" in key) {
    return key.secret;
  }
  const rotated = await unwrap(
    client.POST("/workspaces/{ws}/api-keys/{id}/rotate", {
      params: { path: { ...ws, id: key.id } },
      body: { overlap_seconds: 0 },
    }),
  );
  return rotated.secret;
}

async function callModel(key) {
  const caller = createClient({ baseUrl, token: key, onRetry: tellRetry });
  const body = { model: "chat", messages: [{ role: /** @type {const} */ ("user"), content: "Say hello" }] };
  say("Call the model");
  const call = caller.POST("/v1/chat/completions", { body });
  await unwrap(call);
  console.log(`instance ${(await call).response.headers.get("x-gatehouse-instance")} answered`);

  say("Call it once more, as a stream");
  const { response } = await caller.POST("/v1/chat/completions", {
    body: { ...body, stream: true },
    parseAs: "stream",
  });
  const text = await response.text();
  if (!response.ok || !text.includes("data: [DONE]")) {
    throw new Error(`the stream broke off: ${response.status}`);
  }
  console.log(`${text.split("\ndata: {").length} events`);
}

async function checkAudit() {
  say("Export the audit log and check it offline");
  const file = path.join(mkdtempSync(path.join(tmpdir(), "gatehouse-example-")), "audit.ndjson");
  const answer = client.GET("/workspaces/{ws}/audit-log/export", { params: { path: ws }, parseAs: "text" });
  writeFileSync(file, await unwrap(answer));
  const { public_key: key } = await unwrap(client.GET("/.well-known/audit-log-key"));
  const checked = spawnSync(process.execPath, [verifier, "--key", key, file], { encoding: "utf8" });
  // 3: nothing wrong was found, but rows of the last minute or two are not sealed yet.
  if (checked.status !== 0 && checked.status !== 3) {
    throw new Error(`verify-audit says:\n${checked.stdout}${checked.stderr}`);
  }
  console.log(`${file}: ${checked.status === 0 ? "nothing was changed" : "nothing wrong found, not all sealed yet"}`);
}

/** What went wrong, and what to do about it. */
function explain(error) {
  if (!(error instanceof GatehouseError)) {
    const cause = error.cause?.code ?? error.cause?.message;
    return error instanceof TypeError && cause !== undefined
      ? `${baseUrl} does not answer (${cause}). Does it run there? GATEHOUSE names another address.`
      : error;
  }
  const advice =
    error.status === 401 ? "\nGATEHOUSE_TOKEN is no session token of this server, or has expired: sign in again." : "";
  return `${error.code}: ${error.message}${error.requestId === null ? "" : ` (${error.requestId})`}${advice}`;
}

try {
  say("Create the workspace");
  await ensure(client.POST("/workspaces", { body: { name: "Example (JavaScript)", slug } }), "workspace_exists", () =>
    unwrap(client.GET("/workspaces/{ws}", { params: { path: ws } })),
  );
  await addPool(await addCredential("eu"), await addCredential("us"));
  await invite("grace@example.com");
  await callModel(await addKey());
  await checkAudit();
  console.log(`Done. The workspace is at ${baseUrl}/workspaces/${slug}`);
} catch (error) {
  console.log("failed");
  console.error(explain(error));
  process.exitCode = 1;
}
