// Buttons that ask something of a run: each says by "data-action" where the question goes, by
// "data-method" of what kind it is, and by "data-question" what to ask of the reader before.
(() => {
  "use strict";
  const { document, location } = globalThis;
  const said = document.getElementById("action-said");
  let busy = false;

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-action]");
    if (button === null || button.disabled || busy) return;
    const { action, method = "POST", question } = button.dataset;
    if (question !== undefined && !globalThis.confirm(question)) return;
    busy = true;
    said.textContent = "";
    try {
      await globalThis.mentorRequest(method, action);
      if (method === "DELETE") return location.assign("/");
    } catch (error) {
      said.textContent = error.message;
    }
    busy = false;
    document.dispatchEvent(new Event("refresh"));
  });
})();
