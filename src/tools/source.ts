/** What a provider's tools are read from: a document given or fetched, a built-in one, or an MCP server's list. Nothing is stored here. */
import { sha256Hex } from "../base/bytes.js";
import { AppError, invalidField } from "../base/errors.js";
import { checkOutboundUrl, fetchOutbound, OutboundError } from "../base/outbound.js";
import type { Settings } from "../base/settings.js";
import { outboundRules } from "../connections/validation.js";
import { readBuiltin } from "./builtin/builtin.js";
import type { ToolAuth, ToolDefinition } from "./contract.js";
import { listMcpTools } from "./mcp/client.js";
import { McpFailure } from "./mcp/failure.js";
import type { McpTarget } from "./mcp/target.js";
import { readDocument } from "./openapi/document.js";

/** What a source says of a provider. */
export interface ToolSource {
  /** Null when it does not say. */
  readonly title: string | null;
  readonly description: string;
  readonly baseUrl: string;
  /** What it suggests itself. */
  readonly auth: ToolAuth;
  readonly tools: readonly ToolDefinition[];
  /** SHA-256 of what was read, hex. */
  readonly digest: string;
}

/** Where an OpenAPI document comes from. */
export interface DocumentPlace {
  readonly document: string | Readonly<Record<string, unknown>> | null;
  readonly url: string | null;
  readonly baseUrl: string | null;
  /** How calls will be authenticated, where that is said apart from the document; null when the document's word counts. */
  readonly auth: ToolAuth | null;
}

type GuardSettings = Pick<Settings, "outboundAllow" | "publicUrl">;

const maxDocumentBytes = 5 * 1024 * 1024;
const fetchTimeoutMs = 20_000;
const listTimeoutMs = 30_000;
const maxListBytes = 10 * 1024 * 1024;

/** All rows of a provider together; a tool's own size is bounded where it is read. */
const maxToolsChars = 20 * 1024 * 1024;

/** Reads a document as tools. Throws `validation_failed` (with the place in the document) or `body_too_large`. */
export async function readOpenApiSource(settings: GuardSettings, place: DocumentPlace): Promise<ToolSource> {
  const text = await loadDocument(settings, place);
  const read = await readDocument(text, {
    baseUrl: place.baseUrl,
    documentUrl: place.url,
    ...(place.auth === null ? {} : { auth: place.auth }),
  });
  const checked = checkOutboundUrl(read.base_url, outboundRules(settings));
  if ("error" in checked) {
    const where = place.baseUrl === null ? "/document" : "/base_url";
    throw invalidField(where, `The server ${read.base_url}: ${checked.error}`, "address_refused");
  }
  return {
    title: read.title,
    description: read.description,
    baseUrl: read.base_url,
    auth: read.auth,
    tools: boundTools(read.tools),
    digest: await sha256Hex(text),
  };
}

/** Reads a built-in provider's tools. Throws `not_found` for a name that the catalogue does not have. */
export async function readBuiltinSource(name: string): Promise<ToolSource> {
  const read = await readBuiltin(name);
  if (read === null) {
    throw new AppError("not_found");
  }
  const { title, description, base_url: baseUrl, auth, tools } = read;
  return { title, description, baseUrl, auth, tools, digest: await sha256Hex(JSON.stringify(tools)) };
}

/** Asks an MCP server for its tools. Throws `validation_failed` at `/url` with the reason when it gives none. */
export async function readMcpSource(target: McpTarget, auth: ToolAuth, baseUrl: string): Promise<ToolSource> {
  try {
    const limits = { timeoutMs: listTimeoutMs, maxBytes: maxListBytes, signal: undefined };
    const { title, instructions, tools } = await listMcpTools(target, limits);
    const digest = await sha256Hex(JSON.stringify(tools));
    return {
      title,
      description: (instructions ?? "").slice(0, 2_000),
      baseUrl,
      auth,
      tools: boundTools(tools),
      digest,
    };
  } catch (error) {
    if (error instanceof McpFailure) {
      throw invalidField("/url", error.message, "refused");
    }
    throw error;
  }
}

/** Checks an address that calls will go to; answers it without a fragment. Throws `validation_failed` at `pointer`. */
export function checkAddress(settings: GuardSettings, address: string, pointer: string): URL {
  const checked = checkOutboundUrl(address, outboundRules(settings));
  if ("error" in checked) {
    throw invalidField(pointer, checked.error, "address_refused");
  }
  return checked.url;
}

async function loadDocument(settings: GuardSettings, place: DocumentPlace): Promise<string> {
  if (place.url === null) {
    const text = typeof place.document === "string" ? place.document : JSON.stringify(place.document);
    // One character is at least one byte; the reader counts them.
    return text.length > maxDocumentBytes ? refuseSize() : text;
  }
  checkAddress(settings, place.url, "/url");
  const request = new Request(place.url, { headers: { accept: "application/json, application/yaml, */*;q=0.5" } });
  try {
    const response = await fetchOutbound(request, { ...outboundRules(settings), timeoutMs: fetchTimeoutMs });
    if (!response.ok) {
      await response.body?.cancel();
      throw invalidField("/url", `The address answered ${response.status} instead of a document.`, "refused");
    }
    return await readCapped(response);
  } catch (error) {
    if (error instanceof AppError) {
      throw error;
    }
    const why = error instanceof OutboundError ? error.message : "The document broke off or came too late.";
    throw invalidField("/url", why, "refused");
  }
}

async function readCapped(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > maxDocumentBytes) {
      refuseSize();
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function refuseSize(): never {
  throw new AppError("body_too_large", {
    detail: "An OpenAPI document may have at most 5 MB. Leave out what is not needed.",
  });
}

function boundTools(tools: readonly ToolDefinition[]): readonly ToolDefinition[] {
  const chars = tools.reduce((sum, tool) => sum + JSON.stringify(tool).length, 0);
  if (chars > maxToolsChars) {
    throw new AppError("body_too_large", {
      detail: `The tools' schemas come to ${chars} characters together; ${maxToolsChars} are taken. Leave out operations.`,
    });
  }
  return tools;
}
