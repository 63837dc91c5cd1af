/** The demo of a local run, made over the public API like any customer's: a workspace with a pool over two sandbox instances at 3:1, and a fresh key for it. */

/** What the printed curl line needs. */
export interface Demo {
  readonly apiKey: string;
  readonly model: string;
}

type Fields = Readonly<Record<string, unknown>>;
type Call = (
  method: string,
  path: string,
  body?: Fields,
) => Promise<{ readonly status: number; readonly body: Fields }>;

const model = "demo";
const keyName = "npm start";
const instances = [
  { alias: "demo-a", api_key: "sk-sandbox-ok-demo-a", weight: 3 },
  { alias: "demo-b", api_key: "sk-sandbox-ok-demo-b", weight: 1 },
] as const;

/**
 * Makes what is missing of the demo, and a new key in place of the last start's. Answers null where the server offers no
 * demo. Throws with the server's words when a step fails.
 */
export async function makeDemo(url: string, setupToken: string): Promise<Demo | null> {
  const opened = await caller(url, setupToken)("POST", "/dev/demo-session");
  if (opened.status === 404) {
    return null;
  }
  const call = caller(url, String(expectOk("/dev/demo-session", opened)["session_token"]));
  const workspace = await findOrMakeWorkspace(call);
  await makePool(call, workspace);
  return { apiKey: await replaceKey(call, workspace), model };
}

function caller(url: string, token: string): Call {
  return async (method, path, body) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    return { status: response.status, body: readFields(text) };
  };
}

function readFields(text: string): Fields {
  const value: unknown = text === "" ? {} : JSON.parse(text);
  return isFields(value) ? value : {};
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

function expectOk(what: string, answer: Awaited<ReturnType<Call>>): Fields {
  if (answer.status >= 300) {
    throw new Error(`${what} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  }
  return answer.body;
}

async function list(call: Call, path: string): Promise<readonly Fields[]> {
  const { data } = expectOk(path, await call("GET", `${path}?limit=200`));
  return Array.isArray(data) ? data.filter(isFields) : [];
}

async function findOrMakeWorkspace(call: Call): Promise<string> {
  const known = (await list(call, "/workspaces")).find((workspace) => workspace["name"] === "Demo");
  const workspace = known ?? expectOk("/workspaces", await call("POST", "/workspaces", { name: "Demo" }));
  return `/workspaces/${String(workspace["id"])}`;
}

async function makePool(call: Call, workspace: string): Promise<void> {
  if ((await call("GET", `${workspace}/pools/${model}`)).status === 200) {
    return;
  }
  const path = `${workspace}/model-providers/sandbox/credentials`;
  const known = await list(call, path);
  const members: Fields[] = [];
  for (const { alias, api_key, weight } of instances) {
    const credential =
      known.find(({ name }) => name === alias) ??
      expectOk(path, await call("POST", path, { name: alias, credentials: { api_key } }));
    const target = { provider_name: "sandbox", model: "sandbox-chat", credential_id: credential["id"] };
    members.push({ alias, ...target, weight });
  }
  expectOk(
    "/pools",
    await call("POST", `${workspace}/pools`, { name: model, strategy: "weighted", instances: members }),
  );
}

/** A key can be read only when it is made, so each start makes one and ends the last start's. */
async function replaceKey(call: Call, workspace: string): Promise<string> {
  const path = `${workspace}/api-keys`;
  const old = (await list(call, path)).filter(({ name, revoked_at }) => name === keyName && revoked_at === null);
  for (const key of old) {
    expectOk(path, await call("DELETE", `${path}/${String(key["id"])}`));
  }
  return String(expectOk(path, await call("POST", path, { name: keyName, scopes: ["models:invoke"] }))["secret"]);
}
