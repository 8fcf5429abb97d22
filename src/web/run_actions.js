// Buttons that ask something of a run: each says by "data-action" where the question goes.
(() => {
  "use strict";
  const { document } = globalThis;
  const said = document.getElementById("action-said");
  let busy = false;

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-action]");
    if (button === null || button.disabled || busy) return;
    busy = true;
    said.textContent = "";
    try {
      const answer = await fetch(button.dataset.action, { method: "POST" });
      if (!answer.ok) said.textContent = (await answer.json()).detail;
    } catch {
      said.textContent = "The server does not answer. Is it still running?";
    }
    busy = false;
    document.dispatchEvent(new Event("refresh"));
  });
})();
