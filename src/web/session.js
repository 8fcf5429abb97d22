// Gives the server a token, which comes back as a cookie that no script can read; and forgets it.
(() => {
  "use strict";
  const { document, location } = globalThis;

  document.getElementById("sign-out")?.addEventListener("click", async ({ target }) => {
    try {
      await fetch("/session", { method: "DELETE" });
    } catch {
      // The cookie is still there.
      target.textContent = "Not signed out: no answer";
      return;
    }
    location.assign("/ui/sign-in");
  });

  const form = document.getElementById("sign-in");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = form.querySelector("output");
    said.textContent = "";
    const token = form.elements.namedItem("token").value.trim();
    try {
      const answer = await fetch("/session", {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
      });
      if (!answer.ok) {
        said.textContent = (await answer.json()).detail;
        return;
      }
    } catch {
      said.textContent = "The server does not answer. Is it still running?";
      return;
    }
    // Only to a page of this server.
    const to = URL.parse(new URLSearchParams(location.search).get("to") ?? "/", location.href);
    location.assign(to?.origin === location.origin ? to.href : "/");
  });
})();
