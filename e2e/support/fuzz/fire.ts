/** Turns a plan into bytes on the wire of one world, sends it, and says what is wrong with the answer. */
import type { Contract, Json, Operation } from "./document.ts";
import { type Checker, codeOf } from "./check.ts";
import { type Body, encode, type Plan } from "./generate.ts";
import { jsonMark } from "./proofs.ts";
import type { Sender, WireRequest } from "./send.ts";
import type { World } from "./world.ts";

/** How often each operation answered what. */
export type Tally = Map<string, Map<number, number>>;

/** What a run is fired with. */
export interface Range {
  readonly contract: Contract;
  readonly world: World;
  readonly sender: Sender;
  readonly check: Checker;
  readonly tally: Tally;
}

/** Sends the plan's request. Throws with the request and the answer when something is wrong. */
export async function fire(range: Range, plan: Plan): Promise<number> {
  const { check, contract, sender, tally, world } = range;
  const operation = contract.operations.find(({ id }) => id === plan.operation);
  if (operation === undefined) {
    throw new TypeError(`no operation ${plan.operation}`);
  }
  const safe = keepWorld(plan);
  const sent = await toWire(world, operation, safe);
  const answer = await sender.send(sent);
  if (plan.method === operation.method) {
    count(tally, operation.id, answer.status);
  }
  const wrong = check({ caller: safe.caller, sent, answer });
  if (wrong !== null) {
    const shown = {
      ...sent.headers,
      ...(sent.headers["authorization"] === undefined ? {} : { authorization: safe.caller }),
    };
    const body = sent.body?.toString("utf8").slice(0, 1_500) ?? "";
    throw new Error(`${wrong}\n${sent.method} ${sent.path} ${JSON.stringify(shown)}\n${body}\n→ ${answer.status}`);
  }
  if (answer.status < 300) {
    world.spend(plan.operation, [...Object.values(safe.path), `$${safe.caller}`]);
  }
  if (answer.status === 409 && codeOf(answer.body.toString("utf8")) === "limit_reached") {
    await world.tidy();
  }
  return answer.status;
}

const sessions: ReadonlySet<string> = new Set(["owner", "admin", "member", "stranger"]);
function count(tally: Tally, operation: string, status: number): void {
  const statuses = tally.get(operation) ?? new Map<number, number>();
  statuses.set(status, (statuses.get(status) ?? 0) + 1);
  tally.set(operation, statuses);
}

const endsSession = /^(signOut|revokeSessions|revokeSession)$/;

/** Who may end their own session, or leave by `me`, is somebody who can be spared. */
function keepWorld(plan: Plan): Plan {
  const leaves = plan.operation === "removeMember" && /^me$/i.test(plan.path["id"] ?? "");
  return sessions.has(plan.caller) && (endsSession.test(plan.operation) || leaves)
    ? { ...plan, caller: "leaver" }
    : plan;
}

async function toWire(world: World, operation: Operation, plan: Plan): Promise<WireRequest> {
  const token = await world.tokens[plan.caller]();
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  for (const [name, value] of Object.entries(plan.headers)) {
    headers[name] = await world.resolve(value);
  }
  const query: string[] = [];
  for (const [name, value] of plan.query) {
    query.push(`${encode(name)}=${encode(await world.resolve(value))}`);
  }
  let path = operation.template;
  for (const [name, value] of Object.entries(plan.path)) {
    const word = await world.resolve(value);
    path = path.replace(`{${name}}`, () => (word === value ? value : encode(word)));
  }
  const body = plan.body === null ? null : await toBytes(world, plan.body);
  if (plan.body?.kind === "form" && headers["content-type"] === "multipart/form-data") {
    headers["content-type"] = `multipart/form-data; boundary=${boundary}`;
  }
  if (body === null) {
    delete headers["content-type"];
  }
  const search = query.length === 0 ? "" : `?${query.join("&")}`;
  return {
    method: plan.method,
    path: `${path}${search}`,
    headers,
    body: plan.method === "GET" || plan.method === "HEAD" ? null : body,
  };
}

const boundary = "a-boundary-of-the-run";

/** A form with a field for each property; `file` is a file. */
function toForm(value: Json): Buffer {
  const fields = typeof value === "object" && value !== null ? Object.entries(value) : [];
  const parts = fields.map(([name, field]) => {
    const label = `Content-Disposition: form-data; name="${encode(name)}"${name === "file" ? '; filename="a.wav"' : ""}`;
    return `--${boundary}\r\n${label}\r\n\r\n${typeof field === "string" ? field : JSON.stringify(field)}\r\n`;
  });
  return Buffer.from(`${parts.join("")}--${boundary}--\r\n`, "utf8");
}

async function toBytes(world: World, body: Body): Promise<Buffer> {
  if (body.kind === "text") {
    return Buffer.from(body.text, "latin1");
  }
  if (body.kind === "form") {
    return toForm(await fill(world, body.value));
  }
  const text = JSON.stringify(await fill(world, body.value));
  const first = /^\{("(?:[^"\\]|\\.)*":)/.exec(text)?.[1];
  const doubled = body.isDoubled && first !== undefined ? `{${first}null,${text.slice(1)}` : text;
  return Buffer.from(doubled.padEnd(body.padTo, " "), "utf8");
}

async function fill(world: World, value: Json): Promise<Json> {
  if (typeof value === "string") {
    const word = await world.resolve(value);
    return word !== value && word.startsWith(jsonMark) ? (JSON.parse(word.slice(jsonMark.length)) as Json) : word;
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  if (Array.isArray(value)) {
    return await Promise.all((value as readonly Json[]).map((one) => fill(world, one)));
  }
  const entries = Object.entries(value).map(async ([name, one]): Promise<[string, Json]> => [
    name,
    await fill(world, one),
  ]);
  return Object.fromEntries(await Promise.all(entries));
}
