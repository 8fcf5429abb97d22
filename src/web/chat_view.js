// A conversation on the page. What people and models say gets there as text only.
(() => {
  "use strict";
  const { document } = globalThis;
  const list = document.getElementById("messages");

  const element = (name, looks, ...children) => {
    const made = document.createElement(name);
    made.className = looks;
    made.append(...children);
    return made;
  };

  const bounds = list.dataset.bounds.split(" ").map(Number);
  /** Class of a log-probability, as in reports. */
  const surprise = (logprob) => {
    const level = bounds.filter((bound) => Math.exp(logprob) < bound).length;
    return level === 0 ? "" : `l${level}`;
  };

  /** Tells the script that reads out tokens of those of all turns. */
  const tellTokens = (entries) => {
    const tokens = {};
    entries.forEach(({ turn }, i) => {
      if (!turn?.tokens.length) return;
      const logprobs = turn.tokens.map(({ logprob }) => Number(logprob.toPrecision(5)));
      tokens[`t${i}`] = { mask: "1".repeat(logprobs.length), logprobs };
    });
    const data = document.getElementById("data").cloneNode();
    data.textContent = JSON.stringify({ charts: [], tokens });
    document.getElementById("data").replaceWith(data);
  };

  const tokenText = ({ tokens }, id) => {
    const spans = tokens.map(({ token, logprob }) =>
      element("span", `m ${surprise(logprob)}`, token.replace("\n", "\u21b5\n") || "\u25ab")
    );
    const text = element("p", "tokens", ...spans);
    Object.assign(text, { tabIndex: 0, role: "group" });
    text.setAttribute("aria-label", "Tokens; arrow keys move from one to the next");
    text.dataset.tokens = id;
    return element("div", "by-logprob", text, element("output", "note"));
  };

  /** Arguments as they are read most easily; as they came where they are no JSON. */
  const callText = ({ name, arguments: given }) => {
    try {
      const args = Object.entries(JSON.parse(given));
      return `${name}(${
        args.map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(", ")
      })`;
    } catch {
      return `${name} ${given}`;
    }
  };

  const costs = ({ usage, seconds, reason, tokens }, stopped) => {
    const ends = { stop: "finished", length: "cut off by the limit", tool_calls: "calls tools" };
    const parts = [stopped ? "stopped" : ends[reason] ?? "answering\u2026"];
    if (usage) {
      const { prompt_tokens: given, completion_tokens: drawn } = usage;
      const speed = `${Math.round(drawn / seconds)} tokens/s`;
      parts.push(`${given} tokens in, ${drawn} out in ${seconds.toFixed(2)} s (${speed})`);
    }
    if (tokens.length > 0) {
      const mean = tokens.reduce((sum, { logprob }) => sum + logprob, 0) / tokens.length;
      parts.push(`mean log-probability ${mean.toFixed(3).replace("-", "\u2212")} nats`);
    }
    return parts.join(", ");
  };

  const isOver = ({ turn, stopped }) => stopped || turn.reason !== null;

  const turnParts = (entry, i) => {
    const { turn, stopped, model } = entry;
    const { content, thought, calls, errors, tokens, reason } = turn;
    const parts = [];
    if (thought !== "") {
      parts.push(
        element("details", "", element("summary", "", "Thought"), element("pre", "", thought)),
      );
    }
    if (content !== "") {
      const byToken = isOver(entry) && tokens.length > 0;
      parts.push(byToken ? tokenText(turn, `t${i}`) : element("p", "text", content));
    }
    for (const { function: call } of calls) {
      parts.push(element("p", "call", "calls ", element("code", "", callText(call))));
    }
    for (const error of errors) {
      parts.push(element("p", "bad", `It meant to make a call that can't be used: ${error}`));
    }
    if (content + thought === "" && calls.length + errors.length === 0 && reason !== null) {
      parts.push(element("p", "note", "(nothing)"));
    }
    return [element("h3", "", model), ...parts, element("p", "note", costs(turn, stopped))];
  };

  const resultParts = ({ name, content, give }, i) => {
    const title = element("h3", "", "Result of ", element("code", "", name));
    if (content !== null) return [title, element("pre", "", content)];
    if (!give) return [title, element("p", "note", "running\u2026")];
    const field = element("textarea", "");
    Object.assign(field, { id: `result-${i}`, rows: 2 });
    const label = element("label", "", `What ${name} returns`);
    label.htmlFor = field.id;
    const button = element("button", "", "Give it to the model");
    button.type = "button";
    const send = () => give(field.value);
    button.addEventListener("click", send);
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.stopPropagation();
      send();
    });
    return [title, label, field, element("p", "send", button)];
  };

  const partsOf = (entry, i) => {
    if (entry.role === "assistant") return turnParts(entry, i);
    if (entry.role === "tool") return resultParts(entry, i);
    return [element("h3", "", "You"), element("p", "text", entry.content)];
  };

  /** Shows an entry as it is by now. */
  const show = (entries, i) => {
    const entry = entries[i];
    const item = list.children[i] ?? list.appendChild(element("li", entry.role));
    item.replaceChildren(...partsOf(entry, i));
    if (entry.role === "assistant" && isOver(entry)) tellTokens(entries);
  };

  /** Shows all of them, and none that there was. */
  const showAll = (entries) => {
    list.replaceChildren();
    entries.forEach((_, i) => show(entries, i));
  };

  globalThis.mentorChatView = { show, showAll, callText };
})();
