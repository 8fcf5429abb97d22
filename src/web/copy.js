// Buttons that copy what an element says, and the words of a shell.
(() => {
  "use strict";
  const { document, navigator } = globalThis;

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy]");
    if (button === null) return;
    const source = document.getElementById(button.dataset.copy);
    const said = button.parentElement.querySelector("output");
    try {
      await navigator.clipboard.writeText(source.textContent);
      said.textContent = "Copied";
    } catch {
      // Only pages over HTTPS and of this machine may reach the clipboard.
      globalThis.getSelection().selectAllChildren(source);
      said.textContent = "Selected; copy it by the keyboard";
    }
    setTimeout(() => (said.textContent = ""), 4000);
  });

  /** A text as one word of a shell. */
  const word = (text) =>
    /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;

  /** A request of this server as a command; who has a token keeps it in a variable. */
  const curl = (path, body, withToken) =>
    [
      `curl -sS ${word(globalThis.location.origin + path)} -H 'content-type: application/json'`,
      ...withToken ? ['-H "authorization: Bearer $TOKEN"'] : [],
      `-d ${word(JSON.stringify(body, null, 2))}`,
    ].join(" \\\n  ");

  globalThis.mentorCommands = { word, curl };
})();
