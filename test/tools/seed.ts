/** What the tests of this room stand on: tool providers and their credentials, made by HTTP. */
import { call, type Answer } from "../support/client.js";
import type { SeededWorkspace } from "../support/seed.js";
import { schemes, toolDocument } from "../support/tool-document.js";

/** Something of a workspace's tools, by path below the workspace. */
export function at(
  workspace: Pick<SeededWorkspace, "id" | "token">,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const sent = body === undefined ? {} : { body };
  return call(method, `/workspaces/${workspace.id}${path}`, { token: workspace.token, headers, ...sent });
}

/** Adds a provider over the fake API. */
export async function addApi(
  workspace: SeededWorkspace,
  name: string,
  options: {
    readonly auth?: keyof typeof schemes;
    readonly operations?: readonly string[];
    readonly more?: Readonly<Record<string, unknown>>;
  } = {},
): Promise<Answer> {
  const { auth = "none", operations, more } = options;
  const security = schemes[auth];
  const document = toolDocument({
    ...(operations === undefined ? {} : { operations }),
    ...(security === undefined ? {} : { security }),
  });
  const made = await at(workspace, "POST", "/tool-providers", { kind: "openapi", name, document, ...more });
  if (made.status !== 201) {
    throw new Error(`seed: tool provider answered ${made.status} ${made.text}`);
  }
  return made;
}

/** Adds a credential to a provider; answers it. */
export async function addToolCredential(
  workspace: SeededWorkspace,
  provider: string,
  credentials: Readonly<Record<string, string>>,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Answer> {
  const body = { name: `mine-${crypto.randomUUID()}`, credentials, validate: false, ...more };
  return await at(workspace, "POST", `/tool-providers/${provider}/credentials`, body);
}

/** Invokes a tool. */
export function invoke(
  caller: Pick<SeededWorkspace, "id" | "token">,
  tool: string,
  input: Readonly<Record<string, unknown>>,
  more: { readonly credential_id?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Answer> {
  const { headers, ...rest } = more;
  return at(caller, "POST", `/tools/${tool}/invoke`, { input, ...rest }, headers);
}
