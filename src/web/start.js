// The form that starts a run. Only what differs from its default is sent.
(() => {
  "use strict";
  const { document, location } = globalThis;
  const { word, curl } = globalThis.mentorCommands;
  const form = document.getElementById("start");
  const filter = document.getElementById("filter");
  const refusal = document.getElementById("refusal");
  const command = document.getElementById("command");
  const settings = [...form.querySelectorAll(".setting")];
  const groups = [...form.querySelectorAll(".group")];
  const controlsOf = (setting) => [...setting.querySelectorAll("input, select, textarea")];
  const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

  const numberOf = (text) => text.trim() === "" || isNaN(text) ? text.trim() : Number(text);
  const itemsOf = (text) =>
    text.split(",").map((item) => item.trim()).filter((item) => item !== "");

  /** The value of a setting; undefined where it is the default. */
  const valueOf = (setting) => {
    const { kind, default: fallback } = setting.dataset;
    const controls = controlsOf(setting);
    const [{ type, value: text }] = controls;
    let value;
    if (kind === "switch") value = controls[0].checked;
    else if (type === "checkbox") {
      value = controls.filter(({ checked }) => checked).map(({ value }) => value);
    } else if (text.trim() === "") return undefined;
    else if (kind === "texts") value = itemsOf(text);
    else if (kind === "numbers") value = itemsOf(text).map(numberOf);
    else value = kind === "text" ? text : numberOf(text);
    return JSON.stringify(value) === fallback ? undefined : value;
  };

  const changed = () =>
    settings.flatMap((setting) => {
      const value = valueOf(setting);
      return value === undefined ? [] : [[setting, value]];
    });

  const configOf = (changes) => {
    const config = {};
    for (const [{ dataset: { path } }, value] of changes) {
      const keys = path.split(".");
      let at = config;
      for (const key of keys.slice(0, -1)) at = at[key] ??= {};
      at[keys.at(-1)] = value;
    }
    return config;
  };

  const flag = ([{ dataset: { flag } }, value]) => {
    if (value === true) return `--${flag}`;
    const text = String(value);
    return text.startsWith("-") ? `--${flag}=${word(text)}` : `--${flag} ${word(text)}`;
  };

  const update = () => {
    const changes = changed();
    for (const setting of settings) {
      setting.classList.toggle("set", changes.some(([each]) => each === setting));
    }
    for (const group of groups) {
      const own = group.querySelectorAll(".set").length;
      const said = group.querySelector(".changed");
      if (said) said.textContent = own === 0 ? "" : `, ${own} changed`;
    }
    document.getElementById("changes").textContent = changes.length === 0
      ? "All settings have their defaults"
      : `${plural(changes.length, "setting")} changed`;
    const config = configOf(changes);
    const texts = {
      "as-flags": ["./mentor train", ...changes.map(flag)].join(" \\\n  "),
      "as-curl": curl("/runs", config, "token" in command.dataset),
      "as-json": JSON.stringify(config, null, 2),
    };
    for (const [id, text] of Object.entries(texts)) document.getElementById(id).textContent = text;
  };

  const search = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    const wanted = (setting) => {
      const text = setting.textContent.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    let found = 0;
    for (const group of groups) {
      const own = [...group.querySelectorAll(".setting")];
      for (const setting of own) setting.hidden = !wanted(setting);
      const shown = own.filter(({ hidden }) => !hidden).length;
      group.hidden = shown === 0;
      found += shown;
      if (group.localName === "details") group.open = words.length > 0 && shown > 0;
    }
    filter.parentElement.querySelector("output").textContent = words.length === 0
      ? ""
      : `${plural(found, "setting")} found`;
  };

  /** Shows what is wrong with a setting, or that nothing is. */
  const mark = (setting, message) => {
    const said = setting.querySelector(".wrong");
    said.hidden = message === "";
    said.textContent = message;
    for (const control of controlsOf(setting)) {
      if (message === "") control.removeAttribute("aria-invalid");
      else control.setAttribute("aria-invalid", "true");
    }
  };

  const refuse = (message) => {
    refusal.hidden = message === "";
    refusal.textContent = message;
  };

  /** Shows what is wrong, by setting; what is about none of them stands below. */
  const refuseAll = (errors) => {
    const others = [];
    const marked = [];
    for (const { path, message } of errors) {
      const setting = settings.find(({ dataset }) =>
        path === dataset.path || path.startsWith(`${dataset.path}.`)
      );
      if (setting === undefined) others.push(message);
      else {
        mark(setting, message);
        marked.push(setting);
      }
    }
    refuse([
      ...others,
      ...marked.length > 0 ? [`${plural(marked.length, "setting")} can't be used like this`] : [],
    ].join("\n"));
    const [first] = settings.filter((setting) => marked.includes(setting));
    if (first === undefined) return;
    if (first.hidden) {
      filter.value = "";
      search();
    }
    for (const setting of marked) {
      const group = setting.closest("details");
      if (group) group.open = true;
    }
    controlsOf(first)[0].focus();
  };

  const start = async () => {
    refuse("");
    for (const setting of settings) mark(setting, "");
    // What a field for numbers can't read, it does not tell either.
    const unread = settings.filter((setting) => controlsOf(setting)[0].validity.badInput);
    if (unread.length > 0) {
      return refuseAll(
        unread.map(({ dataset: { path } }) => ({ path, message: "This is no number" })),
      );
    }
    try {
      const answer = await globalThis.mentorRequest("POST", "/runs", {
        json: configOf(changed()),
      });
      location.assign(`/ui/runs/${encodeURIComponent((await answer.json()).id)}`);
    } catch (error) {
      if (error.fields) refuseAll(error.fields);
      else refuse(error.message);
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button.main");
    button.disabled = true;
    await start();
    button.disabled = false;
  });
  form.addEventListener("input", ({ target }) => {
    mark(target.closest(".setting"), "");
    update();
  });
  form.addEventListener("reset", () => {
    refuse("");
    for (const setting of settings) mark(setting, "");
    // The fields are set back after this.
    setTimeout(update);
  });
  filter.addEventListener("input", search);
  // Also with what a browser has kept of a page that one comes back to.
  globalThis.addEventListener("pageshow", update);
  update();
})();
