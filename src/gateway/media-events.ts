/** The events of images, speech and transcriptions: `….delta` or `….partial_image` as they come, then `….done` or `….completed`. */
import { chatDialect, commentLine } from "./chat-events.js";
import { content, type Dialect, errorMeaning, filler, hasValue, type Meaning, parseData, typeOf } from "./dialect.js";
import type { SseEvent } from "./sse.js";
import { asRecord } from "./usage.js";

const common = { keepAlive: commentLine, errorEvent: chatDialect.errorEvent };

/** The stream of `audio/transcriptions`, ended by `transcript.text.done`. */
export const transcriptDialect: Dialect = { ...common, ...reader(/\.done$/, "done"), endsByClose: false, isText: true };

/** The stream of `audio/speech`, ended by `speech.audio.done`. */
export const speechDialect: Dialect = { ...common, ...reader(/\.done$/, "done"), endsByClose: false, isText: false };

/** The stream of `images/generations`: each image that was asked for has its own `….completed`, and no event ends them all. */
export const imagesDialect: Dialect = {
  ...common,
  ...reader(/\.completed$/, "content"),
  endsByClose: true,
  isText: false,
};

function reader(finish: RegExp, kind: "done" | "content"): Pick<Dialect, "readMeaning" | "skimMeaning"> {
  function readMeaning(event: SseEvent): Meaning {
    if (event.data === null || event.data === "" || event.data === "[DONE]") {
      return filler;
    }
    const type = typeOf(event);
    if (type !== null && type !== "error" && !finish.test(type)) {
      return content;
    }
    const value = asRecord(parseData(event.data));
    if (type === "error" || hasValue(value?.["error"])) {
      return errorMeaning(value ?? undefined, event.data);
    }
    const told = type ?? value?.["type"];
    if (value === null || typeof told !== "string") {
      return { ...filler, kind: "malformed" };
    }
    return finish.test(told) ? { ...filler, kind, isFinish: true, usage: asRecord(value["usage"]) } : content;
  }
  return { readMeaning, skimMeaning: readMeaning };
}
