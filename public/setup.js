// The set-up page: the token comes in the address's fragment, which browsers never send to a server.
const form = document.querySelector("form");
const alertLine = document.querySelector("[role=alert]");
form.elements.token.value = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = (name) => form.elements[name].value;
  form.querySelector("button").disabled = true;
  alertLine.textContent = "Setting up …";
  try {
    const response = await fetch("/setup", {
      method: "POST",
      headers: { authorization: `Bearer ${field("token")}`, "content-type": "application/json" },
      body: JSON.stringify({ email: field("email"), name: field("name"), workspace: { name: field("workspace") } }),
    });
    const answer = await response.json();
    if (!response.ok) {
      throw new Error([answer.detail, ...(answer.errors ?? []).map((error) => `${error.pointer}: ${error.detail}`)].join(" "));
    }
    document.querySelector("pre").textContent = answer.session_token;
    document.querySelector("section").hidden = false;
    form.hidden = true;
    alertLine.textContent = "";
  } catch (error) {
    alertLine.textContent = error.message;
    form.querySelector("button").disabled = false;
  }
});
