/** Gives each block of code on a page a button that copies it. */
const words = document.documentElement.lang.startsWith("zh")
  ? { copy: "复制", copied: "已复制", failed: "无法复制" }
  : { copy: "Copy", copied: "Copied", failed: "Could not copy" };

for (const block of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = words.copy;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.querySelector("code").textContent.trimEnd());
      button.textContent = words.copied;
    } catch {
      button.textContent = words.failed;
    }
    setTimeout(() => (button.textContent = words.copy), 2000);
  });
  const frame = document.createElement("div");
  frame.className = "code";
  block.replaceWith(frame);
  frame.append(block, button);
}
