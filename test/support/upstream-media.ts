/**
 * `https://media.upstream.test/v1`: a fake of the endpoints that are no chat. The model's name chooses the behaviour: `cut` breaks the
 * connection half-way, `html` answers a web page, `busy` 429; any other works. Answers tell what arrived.
 */

const host = "media.upstream.test";
const encoder = new TextEncoder();
const sound = Uint8Array.from({ length: 4_096 }, (_, index) => (index * 31) % 256);

type Answer = (asked: Asked) => Response | Promise<Response>;

interface Asked {
  readonly request: Request;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly model: string;
}

const answers: Readonly<Record<string, Answer>> = {
  "/images/generations": ({ model, fields }) =>
    fields["stream"] === true
      ? events([
          { type: "image_generation.partial_image", b64_json: "AAAA", partial_image_index: 0 },
          { type: "image_generation.completed", b64_json: "AAAAAA", usage: { input_tokens: 3, output_tokens: 9 } },
        ])
      : Response.json({ created: 1, data: [{ b64_json: model }], usage: { input_tokens: 3, output_tokens: 9 } }),
  "/moderations": ({ model }) => Response.json({ id: "modr-1", model, results: [{ flagged: false }] }),
  "/rerank": ({ model }) => Response.json({ id: model, results: [{ index: 0, relevance_score: 0.5 }] }),
  "/audio/speech": ({ model }) =>
    new Response(model === "cut" ? broken(sound) : sound, {
      headers: { "content-type": "audio/mpeg", ...(model === "cut" ? {} : { "content-length": String(sound.length) }) },
    }),
  "/audio/transcriptions": async ({ model, fields }) => {
    const file = fields["file"];
    const bytes = file instanceof File ? Array.from(new Uint8Array(await file.arrayBuffer())) : [];
    if (fields["stream"] === "true") {
      return events([
        { type: "transcript.text.delta", delta: model },
        { type: "transcript.text.done", text: model, usage: { type: "tokens", input_tokens: 7, output_tokens: 2 } },
      ]);
    }
    return fields["response_format"] === "srt"
      ? new Response("1\n00:00:00,000 --> 00:00:01,000\nHello\n", { headers: { "content-type": "text/plain" } })
      : Response.json({ text: `${model} ${bytes.join(",")}` });
  },
  "/messages": ({ request, model }) => {
    const { headers } = request;
    const names = ["anthropic-version", "anthropic-beta", "openai-beta", "authorization"];
    const text = JSON.stringify([model, ...names.map((name) => headers.get(name)), headers.has("x-api-key")]);
    return Response.json({
      id: "msg_1",
      type: "message",
      role: "assistant",
      model,
      content: [{ type: "text", text }],
      stop_reason: "end_turn",
      usage: { input_tokens: 4, output_tokens: 2 },
    });
  },
};

/** The answer of the fake; null for a request to another host. */
export async function answerMedia(request: Request): Promise<Response | null> {
  const url = new URL(request.url);
  if (url.host !== host) {
    return null;
  }
  const isForm = request.headers.get("content-type")?.startsWith("multipart/") === true;
  const fields: Record<string, unknown> = isForm
    ? Object.fromEntries(await request.formData())
    : JSON.parse(await request.text());
  const model = String(fields["model"]);
  if (model === "html") {
    return new Response("<!doctype html><title>Parked</title>", { headers: { "content-type": "text/html" } });
  }
  if (model === "busy") {
    return Response.json({ error: { message: "slow down", type: "requests" } }, { status: 429 });
  }
  const answer = answers[url.pathname.replace(/^\/v1/, "")];
  return answer === undefined ? new Response(null, { status: 404 }) : await answer({ request, fields, model });
}

function events(list: readonly object[]): Response {
  const text = list.map((data) => `data: ${JSON.stringify(data)}\n\n`).join("");
  return new Response(encoder.encode(text), { headers: { "content-type": "text/event-stream" } });
}

function broken(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> {
  let isSent = false;
  return new ReadableStream({
    async pull(controller) {
      if (isSent) {
        // Breaking the connection drops what is still on its way to the socket.
        await new Promise((resolve) => setTimeout(resolve, 20));
        controller.error(new Error("fake upstream cut the connection"));
        return;
      }
      isSent = true;
      controller.enqueue(bytes.subarray(0, bytes.length / 2));
    },
  });
}
