/** Makes requests from the contract: good ones, ones that are wrong in one place, and ones made to break things. */
import * as fc from "fast-check";
import type { Contract, Json, Operation, Parameter } from "./document.ts";
import { hostileBodies, hostileHeaders, hostileSegments, hostileTexts } from "./hostile.ts";
import { breakValue, faults } from "./mutate.ts";
import { valid } from "./values.ts";
import { foreignOf, headersFor, isOfGateway, placeFor, queryFor } from "./words.ts";

/** Who sends a request. */
export type CallerName =
  | "owner"
  | "admin"
  | "member"
  | "ownerToken"
  | "keyOfAll"
  | "keyOfSome"
  | "keyOfModels"
  | "stranger"
  | "strangersKey"
  | "forged"
  | "leaver"
  | "nobody";

/** A body before the world's things are put in. */
export type Body =
  /** multipart/form-data, a field for each property. */
  | { readonly kind: "form"; readonly value: Json }
  | { readonly kind: "json"; readonly value: Json; readonly padTo: number; readonly isDoubled: boolean }
  | { readonly kind: "text"; readonly text: string };

/** One request, as data: it prints as it is, and means the same in every world. */
export interface Plan {
  readonly operation: string;
  readonly caller: CallerName;
  readonly method: string;
  /** What stands for each hole of the template. Encoded already unless it is a `$` word. */
  readonly path: Readonly<Record<string, string>>;
  readonly query: readonly (readonly [string, string])[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body | null;
}

const callers: readonly CallerName[] = [
  "admin",
  "member",
  "ownerToken",
  "keyOfAll",
  "keyOfSome",
  "keyOfModels",
  "stranger",
  "strangersKey",
  "forged",
  "leaver",
  "nobody",
];

/** Where a caller without any right is the good one. */
const open = /^(askForCode|verifyCode|acceptInvite|declineInvite|readInvite|finishPasskeySignIn|startPasskeySignIn)$/;
const spending = /^(signOut|revokeSessions?|addPasskey|startAddingPasskey|removePasskey)$/;

/** Who has the best chance to be let through. */
function bestCaller(operation: Operation): CallerName {
  if (isOfGateway(operation)) {
    return "keyOfAll";
  }
  return open.test(operation.id) ? "nobody" : spending.test(operation.id) ? "leaver" : "owner";
}

/** Every request that this contract lets one think of. */
export function anyPlan(contract: Contract): fc.Arbitrary<Plan> {
  return fc.oneof(...contract.operations.map((operation) => planFor(contract, operation)));
}

/** A request that should succeed. */
export function goodPlan(contract: Contract, operation: Operation): fc.Arbitrary<Plan> {
  const places = pathNames(operation).map((name) => [name, fc.constant(placeFor(operation, name))] as const);
  return fc.record({
    operation: fc.constant(operation.id),
    caller: fc.constant(bestCaller(operation)),
    method: fc.constant(operation.method),
    path: fc.record(Object.fromEntries(places)),
    query: fc.constant(queryFor(operation)),
    headers: fc.constant({
      ...headersFor(operation),
      ...(operation.bodies[0] === undefined ? {} : { "content-type": operation.bodies[0].type }),
    }),
    body: goodBody(contract, operation),
  });
}

function planFor(contract: Contract, operation: Operation): fc.Arbitrary<Plan> {
  const places = pathNames(operation).map((name) => [name, segment(placeFor(operation, name))] as const);
  return fc.record({
    operation: fc.constant(operation.id),
    caller: fc.oneof(
      { weight: 3, arbitrary: fc.constant(bestCaller(operation)) },
      { weight: 2, arbitrary: fc.constantFrom(...callers) },
    ),
    method: mostly(
      60,
      fc.constant(operation.method),
      fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"),
    ),
    path: fc.record(Object.fromEntries(places)),
    query: queryOf(contract, operation),
    headers: headersOf(contract, operation),
    body: bodyOf(contract, operation),
  });
}

function mostly<T>(times: number, usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: times, arbitrary: usual }, { weight: 1, arbitrary: rare });
}

function pathNames(operation: Operation): string[] {
  return [...operation.template.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
}

function segment(good: string): fc.Arbitrary<string> {
  const text = fc.oneof(fc.constantFrom(...hostileTexts), fc.string({ unit: "binary" })).map(encode);
  return fc.oneof(
    { weight: 14, arbitrary: fc.constant(good) },
    { weight: 2, arbitrary: fc.constant(foreignOf(good)) },
    { weight: 1, arbitrary: fc.constantFrom(...hostileSegments) },
    { weight: 1, arbitrary: text },
  );
}

/** Percent-encoded; half of a surrogate pair has no encoding and becomes U+FFFD. */
export function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function queryOf(contract: Contract, operation: Operation): fc.Arbitrary<[string, string][]> {
  const known = operation.parameters.filter((parameter) => parameter.in === "query");
  const entries = known.map((parameter) => entryOf(contract, operation, parameter));
  const name = fc.constantFrom("limit", "cursor", "q", "__proto__", "ws", "a[b]", "from");
  const stray = fc.tuple(name, fc.constantFrom(...hostileTexts));
  if (entries.length === 0) {
    return mostly(12, fc.constant([]), fc.array(stray, { minLength: 1, maxLength: 2 }));
  }
  const some = fc.array(fc.oneof(...entries), { maxLength: 3 });
  return mostly(
    8,
    some,
    fc.tuple(some, fc.array(stray, { maxLength: 2 })).map(([a, b]) => [...a, ...b]),
  );
}

function entryOf(
  contract: Contract,
  operation: Operation,
  { name, schema }: Parameter,
): fc.Arbitrary<[string, string]> {
  const good = valid(contract, operation, schema, name).map((value) =>
    typeof value === "string" ? value : JSON.stringify(value),
  );
  const bad = fc.oneof(fc.constantFrom(...hostileTexts), fc.string({ unit: "binary" }), fc.integer().map(String));
  return fc.tuple(fc.constant(name), mostly(2, good, bad));
}

function headersOf(contract: Contract, operation: Operation): fc.Arbitrary<Record<string, string>> {
  const hostile = fc.constantFrom(...hostileHeaders);
  const type = operation.bodies[0]?.type ?? "application/json";
  const types = fc.constantFrom(
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "",
    "application/json; charset=utf-16",
    "application/problem+json",
    "application/JSON;x",
    "image/png",
  );
  return fc
    .record(
      {
        "content-type": mostly(25, fc.constant(type), types),
        "idempotency-key": sometimes(fc.oneof(fc.constant("$unique"), fc.constant("same"), hostile)),
        "if-match": sometimes(fc.oneof(fc.constantFrom("*", '"1"', '"999999"'), hostile)),
        "if-none-match": rarely(fc.oneof(fc.constant("*"), hostile)),
        "x-workspace": rarely(fc.oneof(fc.constantFrom("$ws", "$foreignWs", "$annex"), hostile)),
        accept: rarely(fc.oneof(fc.constantFrom("text/html", "*/*", "text/event-stream"), hostile)),
        "accept-encoding": rarely(fc.constantFrom("gzip", "br", "identity")),
        "accept-language": rarely(hostile),
        origin: rarely(fc.oneof(fc.constantFrom("https://evil.example", "null"), hostile)),
        cookie: rarely(fc.oneof(fc.constantFrom("gatehouse.session=x.y", "__Host-x=1; a=b"), hostile)),
        "x-forwarded-for": rarely(fc.oneof(fc.constant("10.0.0.1"), hostile)),
        "x-http-method-override": rarely(fc.constantFrom("DELETE", "PUT")),
        "x-forwarded-host": rarely(fc.constant("evil.example")),
        range: rarely(fc.constantFrom("bytes=0-0", "bytes=-1")),
        "user-agent": rarely(hostile),
        "anthropic-version": rarely(hostile),
        traceparent: rarely(hostile),
        ...Object.fromEntries(
          operation.parameters
            .filter((one) => one.in === "header" && !/^(idempotency-key|if-(none-)?match)$/i.test(one.name))
            .map(({ name, schema }) => [
              name.toLowerCase(),
              sometimes(mostly(2, valid(contract, operation, schema, name).map(String), hostile)),
            ]),
        ),
      },
      { requiredKeys: ["content-type"] },
    )
    .map((headers) =>
      Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined)),
    );
}

function sometimes<T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return mostly<T | undefined>(3, fc.constant(undefined), value);
}

function rarely<T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return mostly<T | undefined>(24, fc.constant(undefined), value);
}

function goodBody(contract: Contract, operation: Operation): fc.Arbitrary<Body | null> {
  const [usual] = operation.bodies;
  if (usual === undefined) {
    return fc.constant(null);
  }
  const value = valid(contract, operation, usual.schema, "", true);
  return value.map((one) =>
    isForm(usual.type) ? { kind: "form", value: one } : { kind: "json", value: one, padTo: 0, isDoubled: false },
  );
}

/** The size that most bodies may have, and one byte more. */
const bodyLimit = 256 * 1024;

function bodyOf(contract: Contract, operation: Operation): fc.Arbitrary<Body | null> {
  const stray: fc.Arbitrary<Body> = fc.constantFrom(...hostileBodies).map((text) => ({ kind: "text", text }));
  const [usual] = operation.bodies;
  if (usual === undefined) {
    return operation.method === "GET" ? fc.constant(null) : mostly<Body | null>(5, fc.constant(null), stray);
  }
  const good = valid(contract, operation, usual.schema, "");
  const broken = fc
    .tuple(good, faults, fc.nat())
    .map(([value, fault, at]) => breakValue(contract, usual.schema, value, fault, at));
  if (isForm(usual.type)) {
    const form = fc.oneof(good, broken).map((value): Body => ({ kind: "form", value }));
    return fc.oneof({ weight: 6, arbitrary: form }, stray, jsonOf(good));
  }
  return fc.oneof(
    { weight: 8, arbitrary: jsonOf(good) },
    { weight: 10, arbitrary: jsonOf(broken) },
    { weight: 2, arbitrary: stray },
    { weight: 1, arbitrary: jsonOf(fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }) as fc.Arbitrary<Json>) },
    { weight: 1, arbitrary: fc.constant(null) },
  );
}

function isForm(type: string): boolean {
  return type === "multipart/form-data";
}

function jsonOf(value: fc.Arbitrary<Json>): fc.Arbitrary<Body> {
  return fc.record({
    kind: fc.constant("json" as const),
    value,
    padTo: mostly(60, fc.constant(0), fc.constantFrom(bodyLimit, bodyLimit + 1)),
    isDoubled: mostly(40, fc.constant(false), fc.constant(true)),
  });
}
