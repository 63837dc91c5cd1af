/** The sandbox's tokens and its made-up text, both deterministic. */

const vocabulary =
  "river stone quiet lantern carries morning over the harbour and slowly turns a page of weather while seven boats wait for wind".split(
    " ",
  );

const minWords = 12;
const maxWords = 24;

/**
 * The sandbox's token rule: every word (anything between spaces, tabs and line breaks) costs one token for each 4 bytes
 * of its UTF-8, or part of them; a character is never split.
 */
export function countTokens(text: string): number {
  const ends = tokenEnds(text);
  let tokens = 0;
  while (ends.next().done !== true) {
    tokens += 1;
  }
  return tokens;
}

/** Cuts a text into its tokens, each with the white space before it; joined they give the text again. */
export function cutTokens(text: string): string[] {
  const tokens: string[] = [];
  let start = 0;
  for (const end of tokenEnds(text)) {
    tokens.push(text.slice(start, end));
    start = end;
  }
  const rest = text.slice(start);
  return rest === "" ? tokens : [...tokens.slice(0, -1), (tokens.at(-1) ?? "") + rest];
}

/** 32-bit FNV-1a over a text's UTF-16 units, chained from an earlier hash. */
export function hashText(text: string, from = 0x811c9dc5): number {
  let hash = from;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return hash >>> 0;
}

/** Eight hexadecimal digits of a hash, for ids. */
export function hashName(hash: number): string {
  return hash.toString(16).padStart(8, "0");
}

/** Twelve to twenty-four made-up words after an opening that shows the hash they come from. */
export function makeText(hash: number): string {
  let state = hash;
  const roll = (sides: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    // The high bits: the low ones of a linear generator repeat after a few steps.
    return Math.floor((state / 2 ** 32) * sides);
  };
  const count = minWords + roll(maxWords - minWords + 1);
  const words = Array.from({ length: count }, () => vocabulary[roll(vocabulary.length)] ?? "");
  return `Sandbox answer ${hashName(hash)}: ${words.join(" ")}.`;
}

function* tokenEnds(text: string): Generator<number> {
  let bytes = 0;
  for (let at = 0; at < text.length;) {
    const point = text.codePointAt(at) ?? 0;
    const isBlank = point === 32 || point === 9 || point === 10 || point === 13;
    const size = isBlank ? 0 : utf8Size(point);
    if (bytes > 0 && (isBlank || bytes + size > 4)) {
      yield at;
      bytes = 0;
    }
    bytes += size;
    at += point > 0xffff ? 2 : 1;
  }
  if (bytes > 0) {
    yield text.length;
  }
}

function utf8Size(point: number): number {
  if (point < 0x80) {
    return 1;
  }
  if (point < 0x800) {
    return 2;
  }
  return point < 0x10000 ? 3 : 4;
}
