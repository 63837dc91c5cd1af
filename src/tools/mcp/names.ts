/** Names of tools as agents see them: one for each tool of a workspace, the same as long as provider and tool keep theirs. */
import { sha256Hex } from "../../base/bytes.js";

/** The longest name that every agent takes. */
export const maxNameLength = 64;
const hashLength = 12;
const seam = "__";

/** A tool by the wire names of its provider and itself. */
export interface ToolPlace {
  readonly provider: string;
  readonly name: string;
}

/**
 * `{provider}__{tool}`, at most 64 characters of `[a-zA-Z0-9_-]`. A name that is too long, that could be read as another
 * pair's, or that looks like one of these ends in a hash of the pair, so no two tools share one.
 */
export async function exportedName({ provider, name }: ToolPlace): Promise<string> {
  const whole = `${provider}${seam}${name}`;
  const isPlain = whole.length <= maxNameLength && isClear(provider, name) && !looksHashed(whole);
  return isPlain ? whole : await hashedName(whole, `${provider}/${name}`);
}

/** The only tool that a name can be without a look at the workspace's; null for a name that ends in a hash. */
export function readPlainName(exported: string): ToolPlace | null {
  const at = exported.indexOf(seam);
  return at < 1 || looksHashed(exported)
    ? null
    : { provider: exported.slice(0, at), name: exported.slice(at + seam.length) };
}

/** What stands before the hash, for a name that ends in one; the pair's `{provider}__{tool}` begins with it. */
export function hashedPrefix(exported: string): string | null {
  return looksHashed(exported) ? exported.slice(0, -(hashLength + seam.length)) : null;
}

/** `text` cut to leave room for a hash of `of`, and that hash. */
export async function hashedName(text: string, of: string): Promise<string> {
  const hash = (await sha256Hex(of)).slice(0, hashLength);
  return `${text.slice(0, maxNameLength - hashLength - seam.length)}${seam}${hash}`;
}

/** Whether the first seam of the whole is the one between the two, so that it is read as it was written. */
function isClear(provider: string, name: string): boolean {
  return `${provider}${seam}${name}`.indexOf(seam) === provider.length && !name.startsWith("_");
}

/** Hashed names of pairs have a seam before the hash's own, or the full length. */
function looksHashed(whole: string): boolean {
  const at = whole.length - hashLength - seam.length;
  return /__[0-9a-f]{12}$/.test(whole) && (whole.length === maxNameLength || whole.slice(0, at).includes(seam));
}
