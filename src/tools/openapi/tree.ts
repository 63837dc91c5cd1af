/** The values that a document consists of, how a place in them is named, and the error that names one. */
import { AppError, type FieldError } from "../../base/errors.js";

/** An object of named members. */
export type Tree = Readonly<Record<string, unknown>>;

/** Longer pointers are cut in messages. */
const maxShown = 300;

/** Whether a value is an object of named members. */
export function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An own member of an object or list; undefined where there is none. */
export function ownMember(value: unknown, key: string): unknown {
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value;
    return /^(0|[1-9]\d{0,8})$/.test(key) ? items[Number(key)] : undefined;
  }
  return isTree(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** The pointer of a member, as a URI fragment such as `#/paths/~1pets`. */
export function childPointer(pointer: string, key: string): string {
  return `${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** An error at a place of the document, in the words of the API. */
export function fault(pointer: string, sentence: string): FieldError {
  const shown = pointer.length > maxShown ? `${pointer.slice(0, maxShown)}…` : pointer;
  return { pointer: "/document", detail: `At ${shown}: ${sentence}` };
}

/** The 422 that a wrong document ends in. */
export function documentFault(errors: readonly FieldError[]): AppError {
  return new AppError("validation_failed", {
    detail: "The OpenAPI document cannot be used. `errors` says where it is wrong.",
    errors,
  });
}
