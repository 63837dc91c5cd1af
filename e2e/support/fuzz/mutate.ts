/** Makes a good value wrong in exactly one place. */
import * as fc from "fast-check";
import type { Contract, Json, Schema } from "./document.ts";
import { hostileTexts, hostileValues } from "./hostile.ts";

/** What is done to the place. */
export type Fault =
  | { readonly kind: "missing" }
  | { readonly kind: "extra"; readonly name: string; readonly value: Json }
  /** One past what its schema allows. */
  | { readonly kind: "beyond"; readonly isAbove: boolean }
  | { readonly kind: "put"; readonly value: Json };

const values = fc.oneof(
  fc.constantFrom(...hostileValues),
  fc.constantFrom<Json>(...hostileTexts),
  fc.string({ unit: "binary" }),
);
const extraNames = fc.constantFrom(
  "extra",
  "id",
  "workspace_id",
  "role",
  "__proto__",
  "constructor",
  "secret",
  "owner",
  "scopes",
  "\u0000",
  "$where",
);

/** Every way of being wrong. */
export const faults: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 6, arbitrary: values.map((value): Fault => ({ kind: "put", value })) },
  { weight: 3, arbitrary: fc.boolean().map((isAbove): Fault => ({ kind: "beyond", isAbove })) },
  { weight: 1, arbitrary: fc.constant<Fault>({ kind: "missing" }) },
  {
    weight: 1,
    arbitrary: fc.tuple(extraNames, values).map(([name, value]): Fault => ({ kind: "extra", name, value })),
  },
);

interface Place {
  readonly trail: readonly (string | number)[];
  readonly schema: Schema;
  readonly value: Json;
}

/** The value with the fault in its `at`-th place (counted round). */
export function breakValue(contract: Contract, schema: Schema, value: Json, fault: Fault, at: number): Json {
  const all = placesOf(contract, schema, value, []);
  const fitting = fault.kind === "extra" ? all.filter((place) => isObject(place.value)) : all;
  const chosen = fitting[at % Math.max(1, fitting.length)];
  return chosen === undefined
    ? value
    : change(value, chosen.trail, (old) => wrong(contract.resolve(chosen.schema), old, fault));
}

function isObject(value: Json): value is Readonly<Record<string, Json>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function placesOf(contract: Contract, schema: Schema, value: Json, trail: Place["trail"]): Place[] {
  const resolved = contract.resolve(schema);
  const here: Place = { trail, schema: resolved, value };
  if (Array.isArray(value)) {
    const items = value as readonly Json[];
    return [here, ...items.flatMap((one, index) => placesOf(contract, resolved.items ?? {}, one, [...trail, index]))];
  }
  if (!isObject(value)) {
    return [here];
  }
  const form = [resolved, ...(resolved.oneOf ?? []), ...(resolved.anyOf ?? [])].map((one) => contract.resolve(one));
  const schemaOf = (name: string): Schema =>
    form.map(({ properties }) => properties?.[name]).find((one) => one !== undefined) ?? {};
  return [
    here,
    ...Object.entries(value).flatMap(([name, one]) => placesOf(contract, schemaOf(name), one, [...trail, name])),
  ];
}

/** A copy with what stands at the trail replaced; `undefined` takes it out. */
function change(value: Json, trail: Place["trail"], by: (old: Json) => Json | undefined): Json {
  const [first, ...rest] = trail;
  if (first === undefined) {
    return by(value) ?? null;
  }
  const step = (old: Json): Json | undefined => (rest.length === 0 ? by(old) : change(old, rest, by));
  if (Array.isArray(value)) {
    const items = value as readonly Json[];
    return items.flatMap((one, index) => (index === first ? [step(one)].filter((made) => made !== undefined) : [one]));
  }
  if (!isObject(value)) {
    return value;
  }
  const entries = Object.entries(value).flatMap(([name, one]): [string, Json][] => {
    const made = name === first ? step(one) : one;
    return made === undefined ? [] : [[name, made]];
  });
  return Object.fromEntries(entries);
}

function wrong(schema: Schema, old: Json, fault: Fault): Json | undefined {
  switch (fault.kind) {
    case "missing":
      return undefined;
    case "put":
      return fault.value;
    case "extra":
      return isObject(old) ? Object.fromEntries([...Object.entries(old), [fault.name, fault.value]]) : old;
    case "beyond":
      return fault.isAbove ? above(schema, old) : below(schema, old);
  }
}

function above(schema: Schema, old: Json): Json {
  if (typeof old === "number") {
    return (schema.maximum ?? Number.MAX_SAFE_INTEGER) + 1;
  }
  if (typeof old === "string") {
    return schema.enum === undefined ? "x".repeat((schema.maxLength ?? 3_000) + 1) : `${old}x`;
  }
  if (Array.isArray(old)) {
    return Array.from({ length: (schema.maxItems ?? 400) + 1 }, () => (old as readonly Json[])[0] ?? "x");
  }
  return old === null ? "null" : [old];
}

function below(schema: Schema, old: Json): Json {
  if (typeof old === "number") {
    return (schema.minimum ?? 0) - 1;
  }
  if (typeof old === "string") {
    return schema.enum === undefined ? old.slice(0, Math.max(0, (schema.minLength ?? 1) - 1)) : old.toLowerCase();
  }
  return Array.isArray(old) ? [] : old === null ? 0 : {};
}
