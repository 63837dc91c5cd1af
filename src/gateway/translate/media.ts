/** Pictures and documents, between OpenAI's data URLs and Anthropic's sources. */
import { asList, asRecord, asText, type JsonRecord, type Path, refuse, refuseUnknown } from "./json.js";

const pictures = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const dataUrl = /^data:([^;,]*)((?:;[^;,]*)*),/i;

interface DataUrl {
  readonly mediaType: string;
  readonly data: string;
}

/** An `image_url` part as an image block. Throws `untranslatable`. */
export function toImage(part: JsonRecord, path: Path): JsonRecord {
  const url = asText(asRecord(part["image_url"])?.["url"]) ?? asText(part["image_url"]) ?? "";
  const field = [...path, "image_url", "url"];
  const read = readDataUrl(url);
  if (read !== null && pictures.includes(read.mediaType)) {
    return { type: "image", source: { type: "base64", media_type: read.mediaType, data: read.data } };
  }
  if (/^https?:/i.test(url)) {
    return { type: "image", source: { type: "url", url } };
  }
  throw refuse(
    "untranslatable",
    field,
    "Send an http(s) address, or a base64 data URL of a JPEG, PNG, GIF or WebP image.",
  );
}

/** A `file` part as a document block. Throws `untranslatable`. */
export function toDocument(part: JsonRecord, path: Path): JsonRecord {
  const file = asRecord(part["file"]) ?? {};
  const read = readDataUrl(asText(file["file_data"]) ?? "");
  if (read?.mediaType !== "application/pdf") {
    throw refuse("untranslatable", [...path, "file"], "Send a PDF as a base64 data URL in `file_data`.");
  }
  const title = asText(file["filename"]);
  const source = { type: "base64", media_type: read.mediaType, data: read.data };
  return { type: "document", source, ...(title === null ? {} : { title }) };
}

/** An image block as an `image_url` part. Throws `untranslatable`. */
export function fromImage(block: JsonRecord, path: Path): JsonRecord {
  const source = asRecord(block["source"]) ?? {};
  return { type: "image_url", image_url: { url: sourceUrl(source, path) } };
}

/** A document block as parts of a message. Throws `untranslatable`. */
export function fromDocument(block: JsonRecord, path: Path): readonly JsonRecord[] {
  refuseUnknown(block, {
    known: ["type", "source", "title", "cache_control"],
    idle: { citations: [{ enabled: false }] },
    path,
    otherWire: "OpenAI's chat",
  });
  const source = asRecord(block["source"]) ?? {};
  if (source["type"] === "text") {
    return [{ type: "text", text: asText(source["data"]) ?? "" }];
  }
  if (source["type"] === "content") {
    const { content } = source;
    const blocks = typeof content === "string" ? [{ type: "text", text: content }] : asList(content);
    return blocks.map((item, index) => fromInner(asRecord(item) ?? {}, [...path, "source", "content", index]));
  }
  if (source["type"] !== "base64") {
    throw refuse("untranslatable", [...path, "source"], "Send the document itself, as base64 or text.");
  }
  const file = { filename: asText(block["title"]) ?? "document.pdf", file_data: sourceUrl(source, path) };
  return [{ type: "file", file }];
}

function fromInner(block: JsonRecord, path: Path): JsonRecord {
  if (block["type"] === "image") {
    return fromImage(block, path);
  }
  if (block["type"] !== "text") {
    throw refuse("untranslatable", [...path, "type"], "Only text and images within a document can be translated.");
  }
  return { type: "text", text: asText(block["text"]) ?? "" };
}

function sourceUrl(source: JsonRecord, path: Path): string {
  const [data, url] = [asText(source["data"]), asText(source["url"])];
  if (source["type"] === "base64" && data !== null) {
    return `data:${asText(source["media_type"]) ?? ""};base64,${data}`;
  }
  if (source["type"] === "url" && url !== null) {
    return url;
  }
  throw refuse("untranslatable", [...path, "source"], "Send the data as base64, or an address.");
}

/** Null for anything but base64. The data is as long as a body, so it is cut out and never matched. */
function readDataUrl(url: string): DataUrl | null {
  const head = dataUrl.exec(url.slice(0, 256));
  if (head === null || !/;base64$/i.test(head[2] ?? "")) {
    return null;
  }
  return { mediaType: (head[1] ?? "").toLowerCase(), data: url.slice(head[0].length) };
}
