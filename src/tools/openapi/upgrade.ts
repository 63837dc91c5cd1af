/** Older documents are brought to OpenAPI 3.1, whose schemas are JSON Schema, so that the rest reads one version only. */
import { upgradeFromThreeToThreeOne } from "@scalar/openapi-upgrader/3.0-to-3.1";
import { upgradeFromTwoToThree } from "@scalar/openapi-upgrader/2.0-to-3.0";
import { documentFault, fault, isTree, type Tree } from "./tree.js";

/** The document as OpenAPI 3.1. Throws `AppError` `validation_failed` for other versions and for what cannot be converted. */
export function upgradeDocument(document: Tree): Tree {
  const swagger = versionOf(document["swagger"]);
  const openapi = versionOf(document["openapi"]);
  if (swagger === "2.0") {
    return convert(() =>
      upgradeFromThreeToThreeOne(upgradeFromTwoToThree({ schemes: ["https"], ...document, swagger })),
    );
  }
  if (openapi.startsWith("3.0")) {
    return convert(() => upgradeFromThreeToThreeOne({ ...document, openapi }));
  }
  if (openapi.startsWith("3.1")) {
    return document;
  }
  throw documentFault([
    fault(
      "#/openapi",
      'The document must say `openapi: 3.0.x` or `3.1.x`, or `swagger: "2.0"`; no other version is known here.',
    ),
  ]);
}

/** YAML reads an unquoted 3.1 as a number. */
function versionOf(value: unknown): string {
  if (typeof value === "number") {
    return value.toFixed(1);
  }
  return typeof value === "string" ? value : "";
}

function convert(upgrade: () => unknown): Tree {
  let converted: unknown = null;
  try {
    converted = upgrade();
  } catch {
    converted = null;
  }
  if (!isTree(converted)) {
    throw documentFault([
      fault(
        "#",
        "The document cannot be converted to OpenAPI 3.1. Check its `paths`, `parameters` and schemas, or convert it yourself.",
      ),
    ]);
  }
  return converted;
}
