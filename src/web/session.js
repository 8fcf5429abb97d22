// Gives the server a token, which comes back as a cookie that no script can read; and forgets it.
(() => {
  "use strict";
  const { document, location } = globalThis;

  document.getElementById("sign-out")?.addEventListener("click", async ({ target }) => {
    try {
      await globalThis.mentorRequest("DELETE", "/session");
    } catch ({ status, message }) {
      // A token that counts no more is as good as none; any other cookie is still there.
      if (status !== 401) {
        target.textContent = `Not signed out: ${message}`;
        return;
      }
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
      await globalThis.mentorRequest("POST", "/session", { token });
    } catch (error) {
      said.textContent = error.message;
      return;
    }
    // Only to a page of this server.
    const to = URL.parse(new URLSearchParams(location.search).get("to") ?? "/", location.href);
    location.assign(to?.origin === location.origin ? to.href : "/");
  });
})();
