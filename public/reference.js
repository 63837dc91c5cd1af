/** Shows the contract. What is entered stays in this page's memory: nothing is stored, and nobody but this origin is asked. */
const place = document.querySelector("#reference");
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

async function readContract() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) {
    throw new Error(`/openapi.json answered ${answer.status}`);
  }
  return await answer.json();
}

try {
  const contract = await readContract();
  SwaggerUIBundle({
    domNode: place,
    // Requests go where the page came from, by whichever of its names.
    spec: { ...contract, servers: [{ url: location.origin }] },
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
