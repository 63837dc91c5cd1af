/** Messages and translation: Slack's incoming webhooks and DeepL. */
import { baseField, choice, flag, keyField, list, text, words, type BuiltinSource } from "./parts.js";

export const slack: BuiltinSource = {
  name: "slack_webhook",
  title: "Slack webhook",
  description: "Posts messages into the one Slack channel that an incoming webhook was made for.",
  docs_url: "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/",
  key_url: "https://api.slack.com/apps",
  // Whoever knows the address can post: its path is the secret, the host is not.
  auth: { type: "api_key", in: "path", name: "webhook" },
  form: [
    {
      ...keyField(
        "Webhook",
        "The part of the webhook's address after https://hooks.slack.com/services/, such as T…/B…/… . It is secret: whoever has it can post.",
      ),
      pattern: "T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+",
      placeholder: "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
    },
  ],
  bases: [{ title: "Slack", url: "https://hooks.slack.com/services" }],
  operations: [
    {
      id: "post_message",
      method: "post",
      path: "/{webhook}",
      title: "Post a message",
      description: "Posts a message into the webhook's channel.",
      body: {
        text: words("The message, in Slack's own markup; what notifications show where there are blocks.", 40_000),
        blocks: {
          type: "array",
          description: "Blocks of Slack's Block Kit, in place of plain text.",
          items: { type: "object", properties: { type: text("The block's kind.") }, required: ["type"] },
          maxItems: 50,
        },
        thread_ts: text("The message to answer in its thread."),
        unfurl_links: flag("Show previews of links."),
      },
      required: ["text"],
    },
  ],
};

const deeplBases = [
  { title: "DeepL API Pro", url: "https://api.deepl.com/v2" },
  { title: "DeepL API Free (keys that end in :fx)", url: "https://api-free.deepl.com/v2" },
];

export const deepl: BuiltinSource = {
  name: "deepl",
  title: "DeepL",
  description: "Translation of texts, with tone and formality.",
  docs_url: "https://developers.deepl.com/docs",
  key_url: "https://www.deepl.com/your-account/keys",
  auth: { type: "api_key", in: "header", name: "Authorization", prefix: "DeepL-Auth-Key " },
  form: [
    keyField("API key", "Found under API Keys in your DeepL account."),
    baseField("Keys that end in :fx belong to the free API, which has an address of its own.", deeplBases),
  ],
  bases: deeplBases,
  operations: [
    {
      id: "translate",
      method: "post",
      path: "/translate",
      title: "Translate",
      description: "Translates texts.",
      body: {
        text: { ...list("The texts.", 50), minItems: 1 },
        target_lang: words("The language to translate to, such as DE, EN-US or ZH-HANS.", 20),
        source_lang: text("The texts' language; found out when left out."),
        context: text("What helps to understand the texts and is not translated."),
        formality: choice(
          "The tone, where the language has one.",
          "default",
          "more",
          "less",
          "prefer_more",
          "prefer_less",
        ),
        preserve_formatting: flag("Keep punctuation and case as they are."),
        tag_handling: choice("Keep tags of this markup.", "xml", "html"),
      },
      required: ["text", "target_lang"],
    },
    {
      id: "list_languages",
      method: "get",
      path: "/languages",
      title: "List languages",
      description: "Gives the languages that DeepL knows.",
      query: { type: choice("Which side of a translation.", "source", "target") },
    },
    {
      id: "get_usage",
      method: "get",
      path: "/usage",
      title: "Usage",
      description: "Gives the characters used and left in this billing period.",
    },
  ],
};
