/** Shows the contract. What is entered stays in this page's memory: nothing is stored, and nobody but this origin is asked. */
const place = document.querySelector("#reference");
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

/** A part of the contract with what it refers to in place of the references; one that leads back into itself stays. */
function resolve(contract, part, within = []) {
  if (Array.isArray(part)) {
    return part.map((item) => resolve(contract, item, within));
  }
  if (typeof part !== "object" || part === null) {
    return part;
  }
  const { $ref: reference, ...rest } = part;
  if (typeof reference === "string" && reference.startsWith("#/") && !within.includes(reference)) {
    const target = reference.split("/").slice(1).reduce((at, name) => at?.[unescapeName(name)], contract);
    return { ...resolve(contract, target, [...within, reference]), ...resolve(contract, rest, within) };
  }
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, resolve(contract, value, within)]));
}

/** A segment of a JSON pointer in a URI's fragment. */
function unescapeName(name) {
  return decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~");
}

/** Without the examples of parameters that may be left out: they would be sent, a stale cursor or somebody's workspace. */
function withoutOptionalExamples(part) {
  if (Array.isArray(part)) {
    return part.map(withoutOptionalExamples);
  }
  if (typeof part !== "object" || part === null) {
    return part;
  }
  const entries = Object.entries(part).filter(([name]) => name !== "example" || !isOptionalParameter(part));
  return Object.fromEntries(entries.map(([name, value]) => [name, withoutOptionalExamples(value)]));
}

function isOptionalParameter({ in: place, name, required }) {
  return ["header", "query"].includes(place) && typeof name === "string" && required !== true;
}

/** In place of the library's own resolver, which reads the whole contract again for each operation that is opened: seconds, not milliseconds. */
const ownResolver = (contract) => () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        requestResolvedSubtree: (_original, system) => (path) => {
          const part = path.reduce((at, name) => at?.[name], contract);
          return system.specActions.updateResolvedSubtree(path, resolve(contract, part));
        },
      },
    },
  },
});

async function readContract() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) {
    throw new Error(`/openapi.json answered ${answer.status}`);
  }
  return await answer.json();
}

try {
  const contract = { ...withoutOptionalExamples(await readContract()), servers: [{ url: location.origin }] };
  SwaggerUIBundle({
    domNode: place,
    // Requests go where the page came from, by whichever of its names.
    spec: contract,
    plugins: [ownResolver(contract)],
    // No outside validator, and no settings by the page's address.
    validatorUrl: null,
    queryConfigEnabled: false,
    persistAuthorization: false,
    deepLinking: true,
    docExpansion: "none",
    defaultModelsExpandDepth: -1,
    filter: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
  });
} catch (error) {
  const words = document.createElement("p");
  words.setAttribute("role", "alert");
  words.textContent = `The reference could not be shown: ${error.message}. Load the page again.`;
  place.replaceChildren(words);
}
