/**
 * The rules that the contract is held to: all of Spectral's for OpenAPI, and all of its OWASP ruleset (API Security Top 10
 * 2023). Each rule that is narrowed or switched off says why here. Nothing else is let pass: every other finding is an error.
 */
import owasp from "@stoplight/spectral-owasp-ruleset";
import { oas } from "@stoplight/spectral-rulesets";

/** A rule of the OWASP set that looks at these places instead of its own. @param {string} name @param {string[]} given */
const narrow = (name, given) => ({ ...owasp.rules[name], given });

const ownPaths = "$.paths[?(!@property.match(/^.(v1|anthropic|mcp)/))]";

// What is sent is bounded by the contract; what is answered is bounded by what was taken in, and a limit on it would bind
// nobody but the clients, on the day that it moves. What the gateway and /mcp pass on belongs to other contracts: theirs
// is bounded as a whole, by bytes.
/** @param {string} type */
const sent = (type) =>
  [`${ownPaths}[*].parameters[*].schema`, `${ownPaths}[*].requestBody.content[*].schema`].flatMap((place) => [
    `${place}[?(@property === 'type' && @ === '${type}')]^`,
    `${place}..[?(@ && @.type === '${type}')]`,
    `${place}..[?(@ && @.type && @.type.constructor.name === 'Array' && @.type.includes('${type}'))]`,
  ]);

const stringLimit = owasp.rules["owasp:api4:2023-string-limit"];

/** Operations that need nobody to sign in: each is meant so. */
const open = [
  // Signing in, and what a page needs for it.
  "askForCode",
  "verifyCode",
  "listSignInMethods",
  "startProviderSignIn",
  "finishProviderSignIn",
  "startPasskeySignIn",
  "finishPasskeySignIn",
  // The link in an invite is the credential.
  "readInvite",
  "acceptInvite",
  "declineInvite",
  // Public keys are public.
  "readKeySet",
  "getAuditLogKey",
  // Health, documents, and letters of a local run.
  "isAlive",
  "isReady",
  "readContract",
  "readDocs",
  "readDocsInChinese",
  "readReference",
  "readGuide",
  "readGuideInChinese",
  "readManual",
  "listErrorCodes",
  "readErrorCode",
  "readOutbox",
];

const isOpen = `/^(${open.join("|")})$/`;
const guarded = `$.paths[*][?(@ && @.operationId && !@.operationId.match(${isOpen}))]`;

export const ruleset = {
  extends: [
    [oas, "all"],
    [owasp, "all"],
  ],
  rules: {
    "owasp:api4:2023-array-limit": narrow("owasp:api4:2023-array-limit", sent("array")),
    "owasp:api4:2023-integer-limit": narrow("owasp:api4:2023-integer-limit", sent("integer")),
    "owasp:api4:2023-integer-format": narrow("owasp:api4:2023-integer-format", sent("integer")),
    // A pattern without `*` and `+` bounds a text as well.
    "owasp:api4:2023-string-limit": {
      ...stringLimit,
      given: sent("string"),
      // oxlint-disable-next-line unicorn/no-thenable -- a rule's form
      then: {
        ...stringLimit.then,
        functionOptions: {
          schema: {
            type: "object",
            anyOf: [
              ...stringLimit.then.functionOptions.schema.anyOf,
              { required: ["format"], properties: { format: { const: "date-time" } } },
              { required: ["pattern"], properties: { pattern: { not: { pattern: "[^\\\\][*+]" } } } },
            ],
          },
        },
      },
    },
    // Names, prompts, search words and providers' secrets have no form; what has one says so.
    "owasp:api4:2023-string-restricted": "off",
    // The platform counts requests per caller where they come in and says yes or no, not how many are left. Its 429 and
    // Retry-After are declared, which two other rules hold. The gateway tells `x-ratelimit-*` of keys that have a limit.
    "owasp:api4:2023-rate-limit": "off",
    // Health is asked by machines that must not be turned away.
    "owasp:api4:2023-rate-limit-responses-429": narrow("owasp:api4:2023-rate-limit-responses-429", [
      "$.paths[?(@property !== '/healthz' && @property !== '/readyz')]..responses",
    ]),
    // Its path breaks on a schema that has fields named `in` and `name`; said anew. The link of an invite is the one secret
    // in an address: a person opens it from a letter. Answers to it forbid to pass the address on, and logs hold its pattern.
    "owasp:api2:2023-no-credentials-in-url": narrow("owasp:api2:2023-no-credentials-in-url", [
      "$.paths[?(!@property.match(/^.invites/))][*].parameters[?(@ && @.in !== 'header')]",
    ]),
    // These two take no list of exceptions, so one of ours stands for both: an operation outside the list above must name
    // a way to sign in.
    "owasp:api2:2023-read-restricted": "off",
    "owasp:api2:2023-write-restricted": "off",
    "gatehouse:signed-in": {
      description: "An operation must be guarded, or stand in the list of those that are meant to be open.",
      message: "{{error}}",
      severity: "error",
      given: guarded,
      // oxlint-disable-next-line unicorn/no-thenable -- a rule's form
      then: {
        field: "security",
        function: stringLimit.then.function,
        functionOptions: { schema: { type: "array", minItems: 1, items: { type: "object", minProperties: 1 } } },
      },
    },
    // Where nobody has to sign in there is no 401.
    "owasp:api8:2023-define-error-responses-401": narrow("owasp:api8:2023-define-error-responses-401", [
      `${guarded}.responses`,
    ]),
    // Where nothing is sent, nothing can be wrong with it.
    "owasp:api8:2023-define-error-validation": narrow("owasp:api8:2023-define-error-validation", [
      "$.paths[*][?(@ && @.requestBody)].responses",
    ]),
    // The document names the address of the service that hands it out; the one that is linted runs on this machine. A
    // public one must be https: /readyz and the settings see to that.
    "owasp:api8:2023-no-server-http": "off",
    // Its reader of patterns does not know Unicode, which JSON Schema asks for. test/openapi.test.ts checks every example.
    "oas3-valid-media-example": "off",
    "oas3-valid-schema-example": "off",
    // In the order in which somebody comes to need them.
    "openapi-tags-alphabetical": "off",
    // Two methods of /mcp are there to be refused with 405, as its protocol has it.
    "operation-success-response": {
      ...oas.rules["operation-success-response"],
      given: "$.paths[?(@property !== '/mcp')][*]",
    },
    // Whom to ask is known to who runs the service, not to the service.
    "info-contact": "off",
    "license-url": "off",
  },
};
