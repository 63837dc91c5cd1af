/** Who calls: asks each authenticator in turn. A credential that is sent but not good is a 401, never an anonymous call. */
import type { Principal } from "../access/principal.js";
import type { Database } from "../base/database.js";
import { AppError } from "../base/errors.js";

/** Recognises one kind of credential. Null: not of my kind. Throws `unauthenticated` for one of its kind that is not good. */
export type Authenticator = (request: Request, env: Env, db: Database) => Promise<Principal | null>;

/** The caller of a request, or null for nobody. */
export async function authenticate(
  request: Request,
  env: Env,
  db: Database,
  authenticators: readonly Authenticator[],
): Promise<Principal | null> {
  for (const recognise of authenticators) {
    const principal = await recognise(request, env, db);
    if (principal !== null) {
      return principal;
    }
  }
  return null;
}

/** The bearer token of a request, or null. Throws `unauthenticated` for another scheme. */
export function bearerToken(request: Request): string | null {
  const header = request.headers.get("authorization");
  if (header === null) {
    return null;
  }
  const token = /^bearer +([\x21-\x7e]{1,8192})$/i.exec(header.trim())?.[1];
  if (token === undefined) {
    throw new AppError("unauthenticated", { detail: "Authorization takes `Bearer` and one token." });
  }
  return token;
}
