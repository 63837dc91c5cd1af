/** Names of tools as agents see them: one for each tool of a workspace, the same as long as provider and tool keep theirs. */

const maxNameLength = 64;

/**
 * `{provider}__{tool}`, at most 64 characters of `[a-zA-Z0-9_-]`. A name that is too long, or whose halves could be cut
 * elsewhere (`a__b` + `c` and `a` + `b__c`), ends in a hash of both halves instead.
 */
export function exportedName(provider: string, tool: string): string {
  const whole = `${provider}__${tool}`;
  const isPlain = whole.length <= maxNameLength && isClearCut(provider, tool) && !endsLikeHash(tool);
  return isPlain ? whole : `${whole.slice(0, maxNameLength - 10)}__${shortHash(`${provider}/${tool}`)}`;
}

/** The seam can be found again when the first `__` of the whole is the seam itself. */
function isClearCut(provider: string, tool: string): boolean {
  return `${provider}__${tool}`.indexOf("__") === provider.length && !tool.startsWith("_");
}

/** A plain name that looks like a hashed one might be taken for it. */
function endsLikeHash(tool: string): boolean {
  return /__[0-9a-z]{8}$/.test(`_${tool}`);
}

/** 41 bits of a text as 8 characters `[0-9a-z]`: FNV-1a over its UTF-16 units, in two lanes. Tells names apart; keeps nobody out. */
export function shortHash(text: string): string {
  let low = 0x811c9dc5;
  let high = 0x01000193;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    low = Math.imul(low ^ unit, 0x01000193) >>> 0;
    high = Math.imul(high ^ (unit + 0x9e37), 0x85ebca6b) >>> 0;
  }
  const value = (BigInt(high) << 32n) | BigInt(low);
  return value.toString(36).padStart(13, "0").slice(-8);
}
