/** The names of what no row stands for: the pool of a model that is called by its own name, and its instances. They say all that they are made of, so they are the same for ever. */

const prefix = "model:";

/** A provider's model, called by its own name. */
export interface ImplicitPool {
  readonly provider_name: string;
  readonly model: string;
}

/** A credential of it. */
export interface ImplicitInstance {
  readonly credential_id: string;
  readonly model: string;
}

/** The id of the pool of a provider's model; no TypeID has a colon. */
export function implicitPoolId({ provider_name: provider, model }: ImplicitPool): string {
  return `${prefix}${provider}/${model}`;
}

/** What `implicitPoolId` named; null for any other id. Provider names hold no slash. */
export function readImplicitPool(id: string): ImplicitPool | null {
  const [provider_name, model] = split(id);
  return provider_name === undefined || model === undefined ? null : { provider_name, model };
}

/** The id of the instance of a credential and a model. */
export function implicitInstanceId({ credential_id: credential, model }: ImplicitInstance): string {
  return `${prefix}${credential}/${model}`;
}

/** What `implicitInstanceId` named; null for any other id. */
export function readImplicitInstance(id: string): ImplicitInstance | null {
  const [credential_id, model] = split(id);
  return credential_id === undefined || model === undefined ? null : { credential_id, model };
}

function split(id: string): readonly [string, string] | readonly [] {
  const at = id.indexOf("/");
  return id.startsWith(prefix) && at > prefix.length ? [id.slice(prefix.length, at), id.slice(at + 1)] : [];
}
