// The button that chooses between the light and the dark theme. Scripts that draw with colours of
// their own hear of a change as "themechange" on the document.
(() => {
  "use strict";
  const { document } = globalThis;
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const systemDark = globalThis.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";
  const changed = () => {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
    document.dispatchEvent(new Event("themechange"));
  };
  /** Storage is refused to pages that are opened from a file in some browsers. */
  const remembered = (value) => {
    try {
      if (value === undefined) return globalThis.localStorage.getItem("mentor-theme");
      globalThis.localStorage.setItem("mentor-theme", value);
    } catch {
      // The choice lasts as long as the page, then.
    }
    return null;
  };
  const chosen = remembered();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    changed();
  });
  systemDark.addEventListener("change", changed);
  changed();
})();
