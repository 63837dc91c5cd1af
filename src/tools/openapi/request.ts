/** A tool's input becomes the HTTP request of its operation, by the document's own rules for every parameter. */
import { AppError, invalidField } from "../../base/errors.js";
import { utf8 } from "../../base/bytes.js";
import type { CallParameter, OpenApiCall, OpenedCredential, ToolAuth } from "../contract.js";
import { readHeaderValues } from "../header-values.js";
import { writeBody } from "./request-body.js";
import { encode, scalar, writeFields, writeHeaderValue, writePathValue, type Pair } from "./serialise.js";

type Input = Readonly<Record<string, unknown>>;

/** Some APIs refuse calls without one, and the platform sends none of its own. */
const userAgent = "Gatehouse";

/**
 * The request of one call, unsent and without a signal; `redirect` is `manual`. `input` has passed the tool's schema. To send
 * to another base of the same document, give the call with another `server`. For `oauth_client_credentials` the credential's
 * secret must already be the access token. Without a credential the request goes out bare. Throws `AppError`
 * `validation_failed` with pointers such as `/input/file`.
 */
export function buildToolRequest(
  call: OpenApiCall,
  input: Input,
  auth: ToolAuth,
  credential: OpenedCredential | null,
): Request {
  const url = buildUrl(call, input, auth, credential);
  const headers = new Headers({ accept: "application/json, text/*;q=0.9, */*;q=0.8", "user-agent": userAgent });
  for (const { parameter, value } of given(call, input, "header")) {
    setHeader(headers, parameter, value);
  }
  const cookies = given(call, input, "cookie").flatMap(({ parameter, value }) => write(parameter, value));
  const body = call.body === null ? null : writeBody(call.body, input);
  if (body !== null && body.contentType !== null) {
    headers.set("content-type", body.contentType);
  }
  authorise(headers, cookies, auth, credential);
  if (cookies.length > 0) {
    headers.set("cookie", cookies.map(([name, value]) => `${name}=${value}`).join("; "));
  }
  return new Request(url, { method: call.method, headers, body: body?.content ?? null, redirect: "manual" });
}

interface Given {
  readonly parameter: CallParameter;
  readonly value: unknown;
}

/** Parameters of one place that the input gives a value. */
function given(call: OpenApiCall, input: Input, place: CallParameter["in"]): readonly Given[] {
  return call.parameters
    .filter((parameter) => parameter.in === place && Object.hasOwn(input, parameter.input))
    .map((parameter) => ({ parameter, value: input[parameter.input] }))
    .filter(({ value }) => value !== undefined && value !== null);
}

function write(parameter: CallParameter, value: unknown): readonly Pair[] {
  return parameter.content_type === null
    ? writeFields(parameter, value)
    : [[encode(parameter.name), encode(asContent(parameter.content_type, value))]];
}

/** A parameter with `content` is one text of that type. */
function asContent(type: string, value: unknown): string {
  return /json/i.test(type) ? JSON.stringify(value) : scalar(value);
}

function buildUrl(call: OpenApiCall, input: Input, auth: ToolAuth, credential: OpenedCredential | null): URL {
  const values = new Map(given(call, input, "path").map((entry) => [entry.parameter.name, entry]));
  const secret = credential?.secret.reveal() ?? "";
  const [template = "", query = ""] = call.path.split(/\?(.*)/s);
  const fill = (text: string): string =>
    text.replace(/\{([^{}]+)\}/g, (_, name: string) => {
      if (auth.type === "api_key" && auth.in === "path" && auth.name === name) {
        return secret.split("/").map(encode).join("/");
      }
      return fillPath(call, values.get(name), name);
    });
  const path = fill(template);
  refuseDots(call, values, path);
  const fields = given(call, input, "query").flatMap(({ parameter, value }) => write(parameter, value));
  const pairs = [...fields, ...keyField(auth, "query", secret)].map(([name, value]) => `${name}=${value}`);
  const search = [...(query === "" ? [] : [fill(query)]), ...pairs].join("&");
  const url = URL.parse(`${call.server}${path}${search === "" ? "" : `?${search}`}`);
  if (url === null || url.origin !== URL.parse(call.server)?.origin) {
    throw new AppError("validation_failed", { detail: "The tool's address cannot be made of this input." });
  }
  return url;
}

function fillPath(call: OpenApiCall, found: Given | undefined, name: string): string {
  const parameter = found?.parameter ?? call.parameters.find((known) => known.in === "path" && known.name === name);
  const pointer = `/input/${escapePointer(parameter?.input ?? name)}`;
  if (found === undefined) {
    throw invalidField(pointer, "This field is required.");
  }
  const value =
    found.parameter.content_type === null
      ? writePathValue(found.parameter, found.value)
      : encode(asContent(found.parameter.content_type, found.value));
  if (value === "") {
    throw invalidField(pointer, "This value stands in the address and must not be empty.");
  }
  return value;
}

/** A segment of dots would lead to another path than the tool's own. */
function refuseDots(call: OpenApiCall, values: ReadonlyMap<string, Given>, path: string): void {
  if (path.split("/").every((segment) => !/^(\.|%2e){1,2}$/i.test(segment))) {
    return;
  }
  const culprit = [...values.values()].find(({ value }) => scalar(value).includes("."));
  const pointer = culprit === undefined ? "/input" : `/input/${escapePointer(culprit.parameter.input)}`;
  throw invalidField(pointer, `A part of the address ${call.path} must not be "." or "..".`);
}

function setHeader(headers: Headers, parameter: CallParameter, value: unknown): void {
  const text =
    parameter.content_type === null ? writeHeaderValue(parameter, value) : asContent(parameter.content_type, value);
  try {
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(text)) {
      throw new TypeError("not a header value");
    }
    headers.set(parameter.name, text);
  } catch {
    throw invalidField(
      `/input/${escapePointer(parameter.input)}`,
      "This value stands in a header: it must be one line of Latin characters.",
    );
  }
}

function authorise(headers: Headers, cookies: Pair[], auth: ToolAuth, credential: OpenedCredential | null): void {
  if (credential === null) {
    return;
  }
  const secret = credential.secret.reveal();
  switch (auth.type) {
    case "none":
      return;
    case "api_key":
      cookies.push(...keyField(auth, "cookie", secret));
      if (auth.in === "header") {
        headers.set(auth.name, `${auth.prefix ?? ""}${secret}`);
      }
      return;
    case "headers":
      for (const [name, value] of readHeaderValues(auth, secret) ?? []) {
        headers.set(name, value.reveal());
      }
      return;
    case "bearer":
    case "oauth_client_credentials":
      headers.set("authorization", `Bearer ${secret}`);
      return;
    case "basic":
      headers.set("authorization", `Basic ${toBase64(`${credential.options["username"] ?? ""}:${secret}`)}`);
  }
}

function keyField(auth: ToolAuth, place: "query" | "cookie", secret: string): readonly Pair[] {
  return auth.type === "api_key" && auth.in === place && secret !== ""
    ? [[encode(auth.name), encode(`${auth.prefix ?? ""}${secret}`)]]
    : [];
}

function toBase64(text: string): string {
  return btoa(Array.from(utf8(text), (byte) => String.fromCharCode(byte)).join(""));
}

function escapePointer(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
