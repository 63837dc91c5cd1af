import { describe, it } from "vitest";
import { languageOf, layOut, type LetterTexts, writeTime } from "../../src/mail/layout.js";

const texts: LetterTexts = {
  language: "en-US",
  subject: "Eve <eve> invited you",
  lead: 'Eve "<script>alert(1)</script>" & co invited you.',
  action: { kind: "link", label: "Accept", url: "https://gatehouse.example/invites/a?b=1&c=2" },
  notes: ["One.", "Two, for o'neil@example.com."],
};

describe("a letter's two forms", () => {
  it("say the same, with the link on a line of its own in one and clickable in the other", ({ expect }) => {
    const { text, html, subject, to } = layOut("ada@example.com", texts);
    expect([to, subject]).toEqual(["ada@example.com", "Eve <eve> invited you"]);
    expect(text).toBe(
      `${texts.lead}\n\nAccept:\n\nhttps://gatehouse.example/invites/a?b=1&c=2\n\nOne.\nTwo, for o'neil@example.com.\n`,
    );
    const escaped = "https://gatehouse.example/invites/a?b=1&amp;c=2";
    expect([...html.matchAll(/href="([^"]*)"/g)].map(([, link]) => link)).toEqual([escaped, escaped]);
    expect(html).toContain("Eve &quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot; &amp; co invited you.");
    expect(html).toContain("<title>Eve &lt;eve&gt; invited you</title>");
    expect(html).toContain("Two, for o&#39;neil@example.com.");
  });

  it("show a code large, and need nothing from anywhere", ({ expect }) => {
    const { text, html } = layOut("ada@example.com", { ...texts, action: { kind: "code", code: "1234 5678" } });
    expect(text).toContain("\n\n1234 5678\n\n");
    expect(html).toMatch(/font: 28px[^>]*>1234 5678</);
    expect(html).not.toMatch(/\b(?:src|href)=|url\(|@import|<(?:script|link|img)\b/i);
  });

  it("let no name break out of its line or turn a sentence around", ({ expect }) => {
    const name = "Eve\r\n\r\nhttps://evil.example\u202egnp.exe\u2066";
    const { subject, text, html } = layOut("a@b.c", {
      ...texts,
      subject: `${name} invited you`,
      lead: name,
      notes: [name],
    });
    expect(subject).toBe("Eve https://evil.examplegnp.exe invited you");
    expect(text.split("\n")[0]).toBe("Eve https://evil.examplegnp.exe");
    expect(`${text}${html}`).not.toMatch(/[\u202a-\u202e\u2066-\u2069\r]/);
  });

  it("are in Chinese for any kind of Chinese, else in English, and tell times in UTC", ({ expect }) => {
    expect(["zh", "zh-CN", "zh-Hant-TW", "ZH-tw"].map(languageOf)).toEqual(Array.from({ length: 4 }, () => "zh-CN"));
    expect(["en-US", "de", "zha", ""].map(languageOf)).toEqual(Array.from({ length: 4 }, () => "en-US"));
    const at = Date.UTC(2026, 10, 29, 18, 4);
    expect(writeTime(at, "en-US")).toBe("November 29, 2026 at 18:04 UTC");
    expect(writeTime(at, "zh-CN")).toBe("2026年11月29日 18:04 UTC");
    expect(layOut("a@b.c", { ...texts, language: "zh-CN" }).html).toContain('<html lang="zh-CN">');
  });
});
