/** What was entered about a tool provider becomes what it is to be: its source is read, its addresses and its way of authentication are checked. Nothing is stored here. */
import type { Database } from "../base/database.js";
import { AppError, invalidField } from "../base/errors.js";
import { isId } from "../base/ids.js";
import type { Settings } from "../base/settings.js";
import { outboundRules } from "../connections/validation.js";
import type { ToolProviderRow } from "../toolbox/model.js";
import type { CreateToolProvider, ReplaceToolProvider } from "../toolbox/provider-schema.js";
import { checkAuth, readAuth } from "./auth.js";
import { findBuiltin, listBuiltins } from "./builtin/builtin.js";
import type { ToolAuth } from "./contract.js";
import { openForCall, sessionKey, type CallCredential } from "./credentials.js";
import { mcpTarget, type McpTarget } from "./mcp/target.js";
import type { ProviderDraft } from "./provider-change.js";
import { checkAddress, readBuiltinSource, readMcpSource, readOpenApiSource, type ToolSource } from "./source.js";

type Entered = Exclude<CreateToolProvider, { kind: "builtin" }> | ReplaceToolProvider;
type OpenApiEntered = Extract<Entered, { kind: "openapi" }>;
type McpEntered = Extract<Entered, { kind: "mcp" }>;

const needsCredential = "Its tools are not known yet: add a credential, then refresh the provider.";

/** The draft of a new provider. Throws `validation_failed`, `body_too_large`, `name_taken` for the name of a built-in provider. */
export async function draftNew(db: Database, settings: Settings, entered: CreateToolProvider): Promise<ProviderDraft> {
  if (entered.kind === "builtin") {
    return await draftBuiltin(entered.name, entered.timeout_seconds);
  }
  if (isId("toolProvider", entered.name)) {
    throw invalidField("/name", "Give a name that does not look like an id.");
  }
  if (findBuiltin(entered.name) !== null) {
    throw new AppError("name_taken", { detail: "That name belongs to a built-in tool provider. Choose another name." });
  }
  return entered.kind === "openapi"
    ? await draftOpenApi(settings, entered, null)
    : await draftMcp(db, settings, entered, null);
}

/** The draft of a provider with another source; what is left out of it stays. Throws as `draftNew`, and `validation_failed` for another kind. */
export async function draftReplaced(
  db: Database,
  settings: Settings,
  row: ToolProviderRow,
  entered: ReplaceToolProvider,
): Promise<ProviderDraft> {
  if (entered.kind !== row.kind) {
    throw invalidField("/kind", `This provider is of the kind ${row.kind}, which does not change.`);
  }
  return entered.kind === "openapi"
    ? await draftOpenApi(settings, entered, row)
    : await draftMcp(db, settings, entered, row);
}

/**
 * The same provider, its source read again. What keeps it from being read is in `refreshError` and moves nothing else. Throws
 * `conflict` for a document that was given as text.
 */
export async function draftRefreshed(db: Database, settings: Settings, row: ToolProviderRow): Promise<ProviderDraft> {
  if (row.kind === "openapi" && row.sourceUrl === null) {
    throw new AppError("conflict", { detail: "Its document was given as text. Replace it by PUT." });
  }
  try {
    const source = await readAgain(db, settings, row);
    const baseUrl = row.kind === "builtin" ? row.baseUrl : source.baseUrl;
    return { ...unchanged(row), baseUrl, source, refreshError: null };
  } catch (error) {
    if (error instanceof AppError && error.status < 500) {
      return { ...unchanged(row), source: null, refreshError: describe(error) };
    }
    if (error instanceof AppError && error.code === "tool_failed") {
      return { ...unchanged(row), source: null, refreshError: error.detail };
    }
    throw error;
  }
}

async function readAgain(db: Database, settings: Settings, row: ToolProviderRow): Promise<ToolSource> {
  switch (row.kind) {
    case "builtin":
      return await readBuiltinSource(row.name);
    case "openapi":
      return await readOpenApiSource(settings, {
        document: null,
        url: row.sourceUrl,
        baseUrl: row.baseOverride,
        auth: readAuth(row),
      });
    case "mcp":
      return await askServer(db, settings, row);
  }
}

async function draftBuiltin(name: string, timeoutSeconds: number | undefined): Promise<ProviderDraft> {
  const builtin = findBuiltin(name);
  if (builtin === null) {
    const names = listBuiltins().map((known) => known.name);
    throw invalidField(
      "/name",
      `No built-in tool provider has that name. There are ${names.join(", ")}.`,
      "unknown_provider",
    );
  }
  const { title, description, auth } = builtin;
  const source = await readBuiltinSource(name);
  const baseUrl = builtin.bases[0]?.url ?? source.baseUrl;
  const fixed = { sourceUrl: null, baseOverride: null, refreshError: null };
  return { title, description, baseUrl, auth, timeoutSeconds, source, ...fixed };
}

async function draftOpenApi(
  settings: Settings,
  entered: OpenApiEntered,
  before: ToolProviderRow | null,
): Promise<ProviderDraft> {
  const { document, url } = entered;
  if ((document === undefined) === (url === undefined)) {
    throw invalidField("/document", "Give either `document` or `url`.", "required");
  }
  const baseOverride = entered.base_url === undefined ? null : trimBase(settings, entered.base_url);
  const sourceUrl = url === undefined ? null : checkAddress(settings, url, "/url").href;
  const source = await readOpenApiSource(settings, {
    document: document ?? null,
    url: sourceUrl,
    baseUrl: baseOverride,
    auth: entered.auth ?? null,
  });
  const auth = entered.auth ?? source.auth;
  checkAuth(settings, "openapi", auth);
  return {
    ...worded(entered, source.title, source.description, before),
    baseUrl: source.baseUrl,
    auth,
    sourceUrl,
    baseOverride,
    source,
    refreshError: null,
  };
}

async function draftMcp(
  db: Database,
  settings: Settings,
  entered: McpEntered,
  before: ToolProviderRow | null,
): Promise<ProviderDraft> {
  const { auth } = entered;
  const baseUrl = checkAddress(settings, entered.url, "/url").href;
  checkAuth(settings, "mcp", auth);
  const place = { auth, baseUrl, sourceUrl: null, baseOverride: null };
  const read = await tryServer(db, settings, auth, baseUrl, before);
  if (read === null) {
    const words = worded(entered, null, "", before);
    return { ...words, ...place, source: null, refreshError: needsCredential };
  }
  return { ...worded(entered, read.title, read.description, before), ...place, source: read, refreshError: null };
}

/** A server that needs a credential is asked once it has one. */
async function tryServer(
  db: Database,
  settings: Settings,
  auth: ToolAuth,
  baseUrl: string,
  before: ToolProviderRow | null,
): Promise<ToolSource | null> {
  if (auth.type === "none") {
    return await readMcpSource(openTarget(settings, null, auth, baseUrl), auth, baseUrl);
  }
  if (before === null) {
    return null;
  }
  try {
    const origin = new URL(baseUrl).origin;
    return await askServer(db, settings, { ...before, baseUrl, origin, auth: JSON.stringify(auth) });
  } catch (error) {
    if (error instanceof AppError && (error.code === "credential_missing" || error.code === "undecryptable")) {
      return null;
    }
    throw error;
  }
}

async function askServer(db: Database, settings: Settings, row: ToolProviderRow): Promise<ToolSource> {
  const auth = readAuth(row);
  const credential = await openForCall(db, settings, row, null);
  const key = await sessionKey(row, credential);
  const target = openTarget(settings, { credential, key }, auth, row.baseUrl);
  return await readMcpSource(target, auth, row.baseUrl);
}

function openTarget(
  settings: Settings,
  held: { readonly credential: CallCredential | null; readonly key: string } | null,
  auth: ToolAuth,
  url: string,
): McpTarget {
  return mcpTarget({
    url,
    auth,
    credential: held?.credential?.opened ?? null,
    accessToken: held?.credential?.accessToken ?? null,
    sessionKey: held?.key ?? crypto.randomUUID(),
    rules: outboundRules(settings),
  });
}

function unchanged(row: ToolProviderRow): Omit<ProviderDraft, "source" | "refreshError"> {
  const { title, description, baseUrl, sourceUrl, baseOverride, timeoutSeconds } = row;
  return { title, description, baseUrl, auth: readAuth(row), sourceUrl, baseOverride, timeoutSeconds };
}

/** What is said of a provider: as entered, else as it stood, else as the source says. */
function worded(entered: Entered, title: string | null, description: string, before: ToolProviderRow | null) {
  const name = before?.name ?? ("name" in entered ? entered.name : "");
  return {
    title: entered.title ?? before?.title ?? (title === null || title.trim() === "" ? name : title.slice(0, 100)),
    description: entered.description ?? before?.description ?? description.slice(0, 2_000),
    timeoutSeconds: entered.timeout_seconds ?? before?.timeoutSeconds,
  };
}

/** A base as paths are put after it. */
function trimBase(settings: Settings, text: string): string {
  const url = checkAddress(settings, text, "/base_url");
  if (url.search !== "") {
    throw invalidField("/base_url", "The base must have no query.");
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

function describe(error: AppError): string {
  const told = error.errors.map((one) => one.detail).join(" ");
  return (told === "" ? error.detail : told).slice(0, 2_000);
}
