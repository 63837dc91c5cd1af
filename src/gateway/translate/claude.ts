/** What Anthropic's models differ in that a chat request leaves open: how many tokens they may answer with, and how they are told to think. */
import { type JsonRecord, lookUp } from "./json.js";

/** Sent where the caller set no cap, since `max_tokens` must be sent. First match wins; none of these is refused by its models. */
const answerCaps: readonly (readonly [RegExp, number])[] = [
  [/claude-3-(?:opus|sonnet|haiku)|claude-(?:2|instant)/, 4_096],
  [/claude-3[.-]5/, 8_192],
  [/claude-opus-4(?![.-][2-9](?!\d))/, 32_000],
  [/claude/, 64_000],
];
/** Models of other makers behind Anthropic's wire. */
const otherCap = 8_192;

/** The largest answer of a model that is sure to be allowed, in tokens. */
export function defaultMaxTokens(model: string): number {
  return answerCaps.find(([pattern]) => pattern.test(model))?.[1] ?? otherCap;
}

/** Effort by OpenAI's words, as a budget of thinking tokens. Zero: no thinking. */
const budgets: Readonly<Record<string, number>> = {
  none: 0,
  minimal: 1_024,
  low: 2_048,
  medium: 8_192,
  high: 16_384,
  xhigh: 32_768,
  max: 32_768,
};
/** Effort by OpenAI's words, in Anthropic's. */
const efforts: Readonly<Record<string, string>> = {
  minimal: "low",
  low: "low",
  medium: "medium",
  high: "high",
  xhigh: "xhigh",
  max: "max",
};
/** Anthropic refuses a smaller budget. */
const leastBudget = 1_024;

/** What a request says beside its effort. */
export interface ThinkingContext {
  readonly maxTokens: number;
  /** A tool must be called. */
  readonly isForced: boolean;
  /** The turn that is under way brings its thinking along, or has not begun. */
  readonly isThinkingCarried: boolean;
}

/** `field` belongs at the top of the request, `outputConfig` into its `output_config`; both are empty without thinking. */
export interface Thinking {
  readonly field: JsonRecord;
  readonly outputConfig: JsonRecord;
}

/** How a model is told to think for a given effort. It stays a hint: where Anthropic refuses thinking beside what else is asked, it is left out. */
export function thinkingFor(model: string, effort: string | null, context: ThinkingContext): Thinking {
  const none: Thinking = { field: {}, outputConfig: {} };
  const wanted = lookUp(budgets, effort) ?? 0;
  if (effort === null || wanted === 0 || isWithoutThinking(model) || context.isForced) {
    return none;
  }
  if (thinksAdaptively(model)) {
    return { field: { thinking: { type: "adaptive" } }, outputConfig: { effort: lookUp(efforts, effort) ?? "high" } };
  }
  // Thinking counts as part of the answer, which needs room beside it.
  const budget = Math.min(wanted, Math.floor(context.maxTokens / 2));
  return budget < leastBudget || !context.isThinkingCarried
    ? none
    : { field: { thinking: { type: "enabled", budget_tokens: budget } }, outputConfig: {} };
}

function isWithoutThinking(model: string): boolean {
  return /claude-(?:2|instant|3(?![.-]7))/.test(model);
}

/** From 4.6 on models decide how much to think, and take a budget no longer or not for long. */
function thinksAdaptively(model: string): boolean {
  const version = /claude-[a-z]+-(\d+)(?:[.-](\d{1,2}))?(?![\d])/.exec(model);
  const [major, minor] = [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)];
  return major > 4 || (major === 4 && minor >= 6);
}
