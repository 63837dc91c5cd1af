import { describe, it } from "vitest";
import { cloudflareTransport, emailBinding } from "../../src/mail/cloudflare.js";

const from = { name: "Gatehouse", address: "no-reply@gatehouse.example" };
const letter = { to: "ada@example.com", subject: "Hello", text: "text", html: "<p>html</p>" };

function bindingOf(error?: Error): { readonly binding: SendEmail; readonly sent: { from: string; to: string }[] } {
  const sent: { from: string; to: string }[] = [];
  const binding = {
    send(message: { readonly from: string; readonly to: string }) {
      if (error !== undefined) {
        return Promise.reject(error);
      }
      sent.push({ from: message.from, to: message.to });
      return Promise.resolve({ messageId: "1" });
    },
  };
  return { binding: binding as SendEmail, sent };
}

async function outcomeOf(code: string | undefined, message = "with words about https://x/invites/inv_1") {
  const error = Object.assign(new Error(message), code === undefined ? {} : { code });
  return await cloudflareTransport(bindingOf(error).binding, from).send(letter, "mail_1");
}

describe("a letter by a send_email binding", () => {
  it("is handed over from MAIL_FROM to its reader", async ({ expect }) => {
    const { binding, sent } = bindingOf();
    expect(await cloudflareTransport(binding, from).send(letter, "mail_1")).toEqual({ kind: "sent" });
    expect(sent).toEqual([{ from: "no-reply@gatehouse.example", to: "ada@example.com" }]);
    expect(await cloudflareTransport(binding, from).send({ ...letter, to: "ü@example.com" }, "mail_1")).toMatchObject({
      kind: "failed",
    });
    expect(sent).toHaveLength(1);
  });

  it("that is refused itself has failed; a sender, a limit, a moment or an unknown code is worth another attempt", async ({
    expect,
  }) => {
    for (const code of [
      "E_RECIPIENT_SUPPRESSED",
      "E_RECIPIENT_NOT_ALLOWED",
      "E_CONTENT_TOO_LARGE",
      "E_VALIDATION_ERROR",
    ]) {
      expect([code, await outcomeOf(code)]).toMatchObject([code, { kind: "failed" }]);
    }
    for (const code of [
      "E_SENDER_NOT_VERIFIED",
      "E_RATE_LIMIT_EXCEEDED",
      "E_INTERNAL_SERVER_ERROR",
      "toString",
      undefined,
    ]) {
      expect([code, await outcomeOf(code)]).toMatchObject([code, { kind: "retry" }]);
    }
    expect(await outcomeOf("E_DAILY_LIMIT_EXCEEDED")).toMatchObject({ kind: "retry", afterSeconds: 3600 });
  });

  it("has a reason that holds the code and none of the service's own words", async ({ expect }) => {
    for (const code of ["E_DELIVERY_FAILED", "E_VALIDATION_ERROR", "code with https://x/invites/inv_1", undefined]) {
      expect(JSON.stringify(await outcomeOf(code))).not.toContain("inv_1");
    }
    expect(await outcomeOf("E_NEW_ONE")).toEqual({
      kind: "retry",
      reason: "Cloudflare did not take the letter (E_NEW_ONE).",
    });
  });

  it("needs a binding named EMAIL that can send", ({ expect }) => {
    const { binding } = bindingOf();
    expect(emailBinding({ EMAIL: binding })).toBe(binding);
    expect([emailBinding({}), emailBinding({ EMAIL: "x" }), emailBinding({ EMAIL: {} })]).toEqual([null, null, null]);
  });
});
