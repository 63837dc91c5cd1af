/** Shows the contract. What is entered stays in this page's memory: nothing is stored, and nothing asked but this origin. */
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  dom_id: "#reference",
  url: "/openapi.json",
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
  requestSnippetsEnabled: false,
});
