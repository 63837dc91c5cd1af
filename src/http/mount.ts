/** Mounting: declared endpoints become routes; nothing else does. */
import type { Hono } from "hono";
import type { HttpEnv } from "./context.js";
import type { Endpoint } from "./endpoint.js";

/** Mounts endpoints on an app. Throws for two declarations of one route or operation. */
export function mount(app: Hono<HttpEnv>, endpoints: readonly Endpoint[]): void {
  const seen = new Set<string>();
  for (const { spec, run } of endpoints) {
    for (const name of [`${spec.method} ${spec.path.replaceAll(/\{\w+\}/g, "{}")}`, spec.operation]) {
      if (seen.has(name)) {
        throw new TypeError(`declared twice: ${name}`);
      }
      seen.add(name);
    }
    app.on(spec.method.toUpperCase(), toHonoPath(spec.path), (context) => run(context));
  }
}

/** A declared path in Hono's form: `{id}` is `:id`. */
function toHonoPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

/** The methods that declared endpoints take at an address, for the Allow header of a 405. */
export function allowedMethods(endpoints: readonly Endpoint[], pathname: string): string[] {
  const methods = endpoints.flatMap(({ spec }) => {
    const pattern = new RegExp(`^${spec.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`);
    return pattern.test(pathname) ? [spec.method.toUpperCase()] : [];
  });
  return [...new Set(methods)];
}
