/** What every answer must hold to, whoever asked for whatever: the contract, the peace of other tenants, and no secret. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import type { CallerName } from "./generate.ts";
import { type Contract, type Declared, findOperations } from "./document.ts";
import type { WireAnswer, WireRequest } from "./send.ts";
import type { World } from "./world.ts";

/** One exchange. */
export interface Exchange {
  readonly caller: CallerName;
  readonly sent: WireRequest;
  readonly answer: WireAnswer;
}

/** What of a world the checks look at. */
export type Watched = Pick<World, "canaries"> & { readonly neighbour: Pick<World["neighbour"], "things"> };

/** Finds what is wrong with an answer: a sentence, or null. */
export type Checker = (exchange: Exchange) => string | null;

/** 5xx that the world of the run can rightly see: what a tool's or a model's provider did. */
const rightFailures = new Set(["tool_failed", "tool_timeout", "upstream_failed", "pool_exhausted", "timeout"]);

/** What only shows when something inside leaks out. */
const insides =
  /SQLITE_|D1_ERROR|D1_EXEC|drizzle|node_modules|\.ts:\d+|\n\s+at \S+ \(|workerd\/|\[object Object\]|ZodError/;

/** Builds the checks for a contract and a world. */
export function buildChecker(contract: Contract, world: Watched, secrets: readonly string[]): Checker {
  const validate = buildValidator(contract);
  return (exchange) => {
    const text = exchange.answer.body.toString("utf8");
    return (
      checkFailure(exchange, text) ??
      checkHeaders(exchange.answer) ??
      checkLeaks(world, secrets, exchange, text) ??
      checkContract(contract, validate, exchange, text)
    );
  };
}

function checkFailure({ answer }: Exchange, text: string): string | null {
  if (answer.status >= 500 && !rightFailures.has(codeOf(text))) {
    return `it failed inside: ${answer.status} ${text.slice(0, 500)}`;
  }
  // The manual's pages speak of what is inside.
  const inside = answer.headers["content-type"]?.startsWith("text/html") === true ? undefined : insides.exec(text)?.[0];
  return inside === undefined ? null : `the answer shows insides: ${inside}`;
}

/** The `code` of a problem or of an SDK's error. */
export function codeOf(text: string): string {
  return /"code":\s*"(\w+)"/.exec(text)?.[1] ?? "";
}

function checkHeaders({ headers }: WireAnswer): string | null {
  if (headers["x-injected"] !== undefined) {
    return "a header of the caller's making came back";
  }
  if (!/^req_[0-9a-z]{26}$/.test(headers["x-request-id"] ?? "")) {
    return `x-request-id is ${String(headers["x-request-id"])}`;
  }
  return headers["x-content-type-options"] === "nosniff" ? null : "nosniff is missing";
}

const houses: Readonly<Record<CallerName, "house" | "stranger" | null>> = {
  owner: "house",
  admin: "house",
  member: "house",
  ownerToken: "house",
  keyOfAll: "house",
  keyOfSome: "house",
  keyOfModels: "house",
  stranger: "stranger",
  strangersKey: "stranger",
  // Passers are members of the annex, where the house's owner is too.
  leaver: "house",
  forged: null,
  nobody: null,
};

function checkLeaks(
  world: Watched,
  secrets: readonly string[],
  { caller, sent, answer }: Exchange,
  text: string,
): string | null {
  if (sent.path.startsWith("/dev/outbox")) {
    // Local runs only, and made to show every letter.
    return null;
  }
  const whole = `${text}\n${JSON.stringify(answer.headers)}`;
  const secret = secrets.find((one) => whole.includes(one));
  if (secret !== undefined) {
    return `a secret is in the answer: …${secret.slice(-6)}`;
  }
  for (const [name, canaries] of Object.entries(world.canaries)) {
    // Who holds an invite's link may read who invites them.
    const mayAll = name === houses[caller] || sent.path.startsWith("/invites/");
    const seen = mayAll ? undefined : canaries.find((one) => whole.includes(one));
    if (seen !== undefined) {
      return `${caller} sees a name of the ${name}: ${whole.slice(Math.max(0, whole.indexOf(seen) - 100), whole.indexOf(seen) + 100)}`;
    }
  }
  const request = `${sent.path}\n${JSON.stringify(sent.headers)}\n${sent.body?.toString("utf8") ?? ""}`;
  const id = neighbourIds(world).find((one) => whole.includes(one) && !request.includes(one));
  return id === undefined ? null : `${caller} sees the neighbour's ${id}`;
}

function neighbourIds({ neighbour: { things } }: Watched): string[] {
  // A pool's id may be called as a model, and the request log repeats what was called.
  return Object.entries(things).flatMap(([name, id]) =>
    name === "pool" || !/^[a-z]+_[0-9a-z]{26}$/.test(id) ? [] : [id],
  );
}

type Validate = (declared: Declared, type: string, value: unknown) => string | null;

function buildValidator(contract: Contract): Validate {
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: false });
  ajv.addSchema({ $id: "contract", ...contract.document });
  const compiled = new Map<string, ValidateFunction>();
  return (declared, type, value) => {
    const parts = [...declared.trail, "content", type, "schema"];
    const pointer = parts.map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/");
    const check = compiled.get(pointer) ?? ajv.compile({ $ref: `contract#/${pointer}` });
    compiled.set(pointer, check);
    return check(value) ? null : ajv.errorsText(check.errors);
  };
}

function checkContract(
  contract: Contract,
  validate: Validate,
  { sent, answer }: Exchange,
  text: string,
): string | null {
  const { pathname } = new URL(sent.path, "http://host");
  const [operation] = findOperations(contract, sent.method, pathname);
  if (operation === undefined) {
    const isPage = sent.method === "GET" && answer.headers["content-type"]?.startsWith("text/html") === true;
    const isMethod = sent.method === "OPTIONS" || sent.method === "HEAD";
    return answer.status < 400 && !isPage && !isMethod
      ? `an address outside the contract answers ${answer.status}`
      : null;
  }
  const { [String(answer.status)]: exact, [`${String(answer.status).charAt(0)}XX`]: range } = operation.responses;
  const declared = exact ?? range;
  if (declared === undefined) {
    return `${answer.status} is not declared: ${text.slice(0, 300)}`;
  }
  return isPageOfInvite(sent, answer) ? null : checkBody(declared, validate, answer, text);
}

/** To a browser and its forms an invite's link is a page, found or not, which the contract says in words. */
function isPageOfInvite({ path, headers }: WireRequest, answer: WireAnswer): boolean {
  const asks = `${headers["accept"] ?? ""} ${headers["content-type"] ?? ""}`;
  const isPage = answer.headers["content-type"]?.startsWith("text/html") === true;
  return isPage && path.startsWith("/invites/") && /text\/html|x-www-form-urlencoded/.test(asks);
}

function isJson(type: string): boolean {
  return /[/+]json$/.test(type);
}

function checkBody(declared: Declared, validate: Validate, answer: WireAnswer, text: string): string | null {
  const { content } = declared;
  const type = (answer.headers["content-type"] ?? "").split(";")[0]?.trim() ?? "";
  if (content === undefined || text === "") {
    const mayBeEmpty = content === undefined || (type !== "" && !isJson(type));
    return text === "" && mayBeEmpty
      ? null
      : `${answer.status} has ${text === "" ? "no body" : `an undeclared body of ${type}`}`;
  }
  const fitting = [type, `${type.split("/")[0] ?? ""}/*`].find((one) => Object.hasOwn(content, one));
  if (fitting === undefined) {
    return `${type} is not declared for ${answer.status}, only ${Object.keys(content).join(", ")}`;
  }
  if (!isJson(type)) {
    return null;
  }
  const codes = type === "application/problem+json" ? declared["x-error-codes"] : undefined;
  if (codes !== undefined && !codes.includes(codeOf(text))) {
    return `the code ${codeOf(text)} is not declared for ${answer.status}, only ${codes.join(", ")}`;
  }
  try {
    const broken = validate(declared, fitting, JSON.parse(text));
    return broken === null ? null : `the body breaks its schema: ${broken}: ${text.slice(0, 500)}`;
  } catch (error) {
    return `the body cannot be checked: ${String(error)}: ${text.slice(0, 200)}`;
  }
}
