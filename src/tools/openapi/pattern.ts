/** Which regular expressions of a document may run here: only those whose cost stays in proportion to the text, whatever the text. */

const maxPatternLength = 500;
/** The most ways that optional parts, alternatives and bounded repetitions may be combined. */
const maxWays = 2000;

/** A group being read: how many `|` it has, and the ways to match before it began. */
interface Group {
  bars: number;
  readonly waysBefore: number;
}

/**
 * Whether a pattern is valid (`u` flag) and cheap: no look-arounds or back references, at most one unbounded repetition, which
 * is of one character or class, outside groups, in a pattern that begins with `^` and has no alternative at its top; all else
 * bounded. Any other pattern can take quadratic or exponential time on a text made for it.
 */
export function isSafePattern(pattern: string): boolean {
  if (pattern.length > maxPatternLength || !isValid(pattern) || /\(\?(?!:)|\\[1-9k]/.test(pattern)) {
    return false;
  }
  const groups: Group[] = [{ bars: 0, waysBefore: 1 }];
  const cost = { ways: 1, unbounded: 0 };
  let closed: Group | null = null;
  for (const token of tokensOf(pattern)) {
    const repeat = readRepeat(token);
    const group = groups.at(-1);
    if (group === undefined) {
      return false;
    }
    if (repeat !== null && !addRepeat(cost, repeat, closed, groups.length)) {
      return false;
    }
    closed = null;
    if (token === "(" || token === "(?:") {
      groups.push({ bars: 0, waysBefore: cost.ways });
    } else if (token === ")") {
      cost.ways *= group.bars + 1;
      closed = groups.pop() ?? null;
    } else if (token === "|") {
      group.bars += 1;
    }
  }
  const bars = groups[0]?.bars ?? 0;
  return cost.ways * (bars + 1) <= maxWays && (cost.unbounded === 0 || (pattern.startsWith("^") && bars === 0));
}

interface Repeat {
  readonly min: number;
  readonly max: number;
}

/** Adds a repetition to the cost; false when it may not stand there. `closed` is the group that it repeats. */
function addRepeat(
  cost: { ways: number; unbounded: number },
  repeat: Repeat,
  closed: Group | null,
  depth: number,
): boolean {
  if (repeat.max === Infinity) {
    cost.unbounded += 1;
    return depth === 1 && closed === null && cost.unbounded === 1;
  }
  // A group with more than one way to match, repeated: the ways multiply with every round.
  if (closed !== null && repeat.max > 1 && cost.ways > closed.waysBefore) {
    return false;
  }
  cost.ways *= repeat.max - repeat.min + 1;
  return cost.ways <= maxWays;
}

function tokensOf(pattern: string): readonly string[] {
  return pattern.match(/\\.|\[(?:\\.|[^\]\\])*\]|[*+?]\??|\{\d+(?:,\d*)?\}\??|\(\?:|[\s\S]/gu) ?? [];
}

function readRepeat(token: string): Repeat | null {
  if (token.startsWith("*") || token.startsWith("+")) {
    return { min: 0, max: Infinity };
  }
  if (token.startsWith("?")) {
    return { min: 0, max: 1 };
  }
  const [, min, comma, max] = /^\{(\d+)(,)?(\d*)\}/.exec(token) ?? [];
  if (min === undefined) {
    return null;
  }
  if (comma === undefined) {
    return { min: Number(min), max: Number(min) };
  }
  return { min: Number(min), max: max === "" ? Infinity : Number(max) };
}

function isValid(pattern: string): boolean {
  try {
    return new RegExp(pattern, "u") instanceof RegExp;
  } catch {
    return false;
  }
}
