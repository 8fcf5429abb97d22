/**
 * The form that starts a run, made from the settings of the schema.
 *
 * @module
 */

import type { Setting } from "../run/config/setting.ts";
import { flagName } from "../run/config/flags.ts";
import { compactJson, count } from "../run/report/format.ts";
import { clip, type Html, markup } from "../run/report/html.ts";
import { controlOnly, readOnlyNote } from "./control_only.ts";
import { copied } from "./copied.ts";
import type { DashboardPage, Visitor } from "./shell.ts";
import { runUrl } from "./urls.ts";

/** What the form offers. */
export interface StartView {
  /** Those that may be set here, in the order of the schema. */
  readonly settings: readonly Setting[];
  /** The run whose settings the form begins with, and these, by path; null without one. */
  readonly like: { readonly id: string; readonly values: ReadonlyMap<string, unknown> } | null;
  /** What is likely to be named, by the path of the setting. */
  readonly suggestions: Readonly<Record<string, readonly string[]>>;
}

/** Those that people change first; the others follow by group. */
const FIRST = [
  ...["method", "from", "reward", "domains", "tasks", "tools", "steps", "seed"],
  ...["rollout.prompts", "rollout.group", "optimizer.learningRate", "lora.rank"],
];

/** Texts that may have several lines. */
const LONG = ["chat.system"];

/** Title of the group of settings that belong to none. */
const GENERAL = "general";

/** The page at `/ui/start`. */
export function startPage(view: StartView, visitor: Visitor): DashboardPage {
  const { settings, like } = view;
  const first = FIRST.flatMap((path) => settings.find((setting) => setting.path === path) ?? []);
  const groups = Map.groupBy(
    settings.filter((setting) => !first.includes(setting)),
    ({ path }) => path.includes(".") ? path.split(".")[0]! : GENERAL,
  );
  return {
    title: "Start a run",
    lead: like === null
      ? markup`<p>What is left as it is has its default. The run waits for its turn in the queue.</p>`
      : markup`<p>With the settings of <a href="${runUrl(like.id)}">${
        clip(like.id, 60)
      }</a>; what is left empty has its default.</p>`,
    body: markup`${readOnlyNote(visitor, "starting a run")}
<p class="find"><label for="filter">Find a setting</label> <input id="filter" type="search" autocomplete="off" spellcheck="false"> <output for="filter" class="note"></output></p>
<form id="start" autocomplete="off" novalidate>
<fieldset class="all"${controlOnly(visitor)}>
<section class="group settings" aria-label="What is changed first">
${first.map((setting) => field(setting, view))}</section>
${[...groups].map(([name, members]) => group(name, members, view))}
<p class="send"><button class="main">Start the run</button> <button type="reset">Reset</button> <span class="note" id="changes"></span></p>
<p class="bad" id="refusal" role="alert" hidden></p>
</fieldset>
</form>
<details id="command"${visitor.name === null ? null : markup` data-token`}>
<summary>As a command</summary>
<h2>At a terminal</h2>
${copied("as-flags")}
<h2>Over HTTP</h2>
${copied("as-curl")}
<h2>As a config file</h2>
${copied("as-json")}
</details>`,
    scripts: ["copy.js", "start.js"],
  };
}

function group(name: string, members: readonly Setting[], view: StartView): Html {
  return markup`<details class="group">
<summary>${name} <small>${
    count(members.length, "setting")
  }<span class="changed"></span></small></summary>
<div class="settings">
${members.map((setting) => field(setting, view))}</div>
</details>
`;
}

function field(setting: Setting, { like, suggestions }: StartView): Html {
  const { path, kind, fallback, description, allowed, options } = setting;
  const id = `set-${path}`;
  const value = like?.values.get(path) ?? fallback;
  const several = kind === "texts" && options !== null;
  const control = several
    ? checkboxes(setting, value as readonly string[])
    : one(setting, id, value, suggestions[path] ?? []);
  const label = several
    ? markup`<legend>${path}</legend>`
    : kind === "switch"
    ? null
    : markup`<label for="${id}">${path}</label>`;
  const body = markup`${label}
${control}
<p class="note" id="${id}-hint">${description}.${
    options === null && kind !== "switch" ? markup` <span>Allowed: ${allowed}.</span>` : null
  }</p>
<p class="bad wrong" id="${id}-wrong" hidden></p>`;
  const data = markup`class="setting" data-path="${path}" data-kind="${kind}" data-flag="${
    flagName(path)
  }" data-default="${JSON.stringify(fallback)}"`;
  return several
    ? markup`<fieldset ${data} aria-describedby="${id}-hint ${id}-wrong">${body}</fieldset>\n`
    : markup`<div ${data}>${body}</div>\n`;
}

/** The control of a setting with one value, or of a list of any texts or numbers. */
function one(
  { path, kind, fallback, options }: Setting,
  id: string,
  value: unknown,
  suggested: readonly string[],
): Html {
  const about = markup`id="${id}" name="${path}" aria-describedby="${id}-hint ${id}-wrong"`;
  if (kind === "switch") {
    return markup`<label class="choice"><input type="checkbox" ${about}${
      checked(value === true)
    }> ${path}</label>`;
  }
  if (options !== null) {
    return markup`<select ${about}>${
      options.map((option) =>
        markup`<option value="${option}"${option === value ? markup` selected` : null}>${option}${
          option === fallback ? " (default)" : null
        }</option>`
      )
    }</select>`;
  }
  const given = value === fallback ? "" : textOf(value);
  const placeholder = markup`placeholder="${fallback === null ? "null" : textOf(fallback)}"`;
  // A line break that comes first would be left out.
  if (LONG.includes(path)) {
    return markup`<textarea ${about} ${placeholder} rows="2">\n${given}</textarea>`;
  }
  const type = kind === "integer"
    ? markup`type="number" step="1"`
    : kind === "number"
    ? markup`type="number" step="any"`
    : markup`type="text" spellcheck="false" autocapitalize="off"`;
  const list = suggested.length === 0 ? null : markup`
<datalist id="${id}-list">${
    suggested.map((text) => markup`<option value="${text}"></option>`)
  }</datalist>`;
  return markup`<input ${about} ${type} ${placeholder} value="${given}"${
    list && markup` list="${id}-list"`
  }>${list}`;
}

function checkboxes({ path, options }: Setting, chosen: readonly string[]): Html {
  return markup`<div class="choices">${
    options!.map((option) =>
      markup`<label class="choice"><input type="checkbox" name="${path}" value="${option}"${
        checked(chosen.includes(option))
      }> ${option}</label> `
    )
  }</div>`;
}

function checked(yes: boolean): Html | null {
  return yes ? markup` checked` : null;
}

/** A value as one types it; a list with commas between. */
function textOf(value: unknown): string {
  if (value === null) return "";
  return Array.isArray(value) ? value.map(compactJson).join(", ") : compactJson(value);
}
