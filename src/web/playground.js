// Talks to a model: keeps the conversation, calls tools and gives the model their results.
(() => {
  "use strict";
  const { document } = globalThis;
  const { complete, emptyTurn, callTool } = globalThis.mentorChat;
  const { show, showAll, callText } = globalThis.mentorChatView;
  const at = (id) => document.getElementById(id);
  const form = at("playground");
  const [said, own, failure, state, news] = ["said", "own", "failure", "state", "news"].map(at);
  const boxes = [...form.querySelectorAll("[data-tool]")];

  /** Users' messages, models' turns and results of tools, in order. */
  const entries = [];
  /** What ends what is going on; null where nothing is. */
  let stop = null;

  const say = (place, text) => {
    place.hidden = text === "";
    place.textContent = text;
  };

  /** A number that was typed; undefined where none was. @throws {Error} if it can't be used. */
  const numberOf = (id) => {
    const field = at(id);
    if (!field.validity.valid) {
      throw new Error(`${field.labels[0].textContent}: ${field.validationMessage}`);
    }
    return field.value === "" ? undefined : Number(field.value);
  };

  const chosen = () =>
    boxes.filter(({ checked }) => checked).map(({ dataset }) => JSON.parse(dataset.tool));

  const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

  /** The user's own definitions. @throws {Error} with what is wrong. */
  const ownTools = () => {
    if (own.value.trim() === "") return [];
    let given;
    try {
      given = [JSON.parse(own.value)].flat();
    } catch (error) {
      throw new Error(`This is not JSON: ${error.message}`);
    }
    const names = new Set(chosen().map(({ name }) => name));
    return given.map((item, i) => {
      const spec = isRecord(item) && isRecord(item.function) ? item.function : item;
      const fail = (what) => {
        throw new Error(`Definition ${i + 1}: ${what}`);
      };
      if (!isRecord(spec)) fail("it has to be an object with a name and parameters");
      const { name, description = "", parameters = { type: "object", properties: {} } } = spec;
      if (typeof name !== "string" || !/^[A-Za-z_][\w.-]{0,63}$/.test(name)) {
        fail('"name" has to be 1 to 64 letters, digits, "_", "." or "-", a letter or "_" first');
      }
      if (names.has(name)) fail(`there is another tool "${name}"`);
      names.add(name);
      if (typeof description !== "string") fail('"description" has to be a text');
      if (!isRecord(parameters) || parameters.type !== "object") {
        fail('"parameters" has to be a JSON Schema whose "type" is "object"');
      }
      return { name, description, parameters };
    });
  };

  /** @throws {Error} with what is wrong with the definitions, which is also shown beside them. */
  const checkOwn = () => {
    say(at("own-wrong"), "");
    own.removeAttribute("aria-invalid");
    try {
      return ownTools();
    } catch (error) {
      say(at("own-wrong"), error.message);
      own.setAttribute("aria-invalid", "true");
      throw new Error("Your own tools can't be used as they are; below them stands why");
    }
  };

  const messageOf = ({ role, content, id, turn }) => {
    if (role === "user") return { role, content };
    if (role === "tool") return { role, tool_call_id: id, content: content ?? "" };
    return {
      role,
      content: turn.content,
      ...turn.calls.length > 0 ? { tool_calls: turn.calls } : {},
    };
  };

  /** The request for the next turn. @throws {Error} if something in the form can't be used. */
  const requestOf = (conversation) => {
    const system = at("system").value;
    const tools = [...chosen(), ...checkOwn()];
    const numbers = ["temperature", "top_p", "max_tokens", "seed"].map((id) => [id, numberOf(id)]);
    return {
      model: at("model").value,
      messages: [
        ...system.trim() === "" ? [] : [{ role: "system", content: system }],
        ...conversation.map(messageOf),
      ],
      ...Object.fromEntries(numbers.filter(([, value]) => value !== undefined)),
      ...at("logprobs").checked ? { logprobs: true } : {},
      ...tools.length > 0
        ? { tools: tools.map((spec) => ({ type: "function", function: spec })) }
        : {},
    };
  };

  const update = () => {
    const busy = stop !== null;
    at("send").disabled = busy;
    at("stop").hidden = !busy;
    for (const id of ["retry", "edit", "clear"]) at(id).disabled = busy || entries.length === 0;
    const next = said.value.trim() === "" ? [] : [{ role: "user", content: said.value }];
    if (!at("command").open) return;
    let text;
    try {
      text = globalThis.mentorCommands.curl(
        "/v1/chat/completions",
        requestOf([...entries, ...next]),
        "token" in form.dataset,
      );
    } catch (error) {
      text = error.message;
    }
    at("as-curl").textContent = text;
  };

  const add = (entry) => {
    entries.push(entry);
    show(entries, entries.length - 1);
    return entry;
  };
  const changed = (entry) => show(entries, entries.indexOf(entry));

  /** What comes of a call: by the server, by the user, or at once where there is no such tool. */
  const resultOf = (entry, { name, arguments: given }, mine, signal) => {
    if (chosen().some((tool) => tool.name === name)) {
      return callTool(name, JSON.parse(given), signal);
    }
    if (!mine.some((tool) => tool.name === name)) return `error: no tool ${name}`;
    const { promise, resolve, reject } = Promise.withResolvers();
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    entry.give = resolve;
    changed(entry);
    // The first of those that wait.
    document.querySelector("#messages textarea").focus();
    return promise;
  };

  const runCalls = async (calls, mine, signal) => {
    const made = calls.map(({ id, function: call }) => {
      const entry = add({ role: "tool", id, name: call.name, content: null, give: null });
      return { entry, call };
    });
    await Promise.all(made.map(async ({ entry, call }) => {
      try {
        entry.content = await resultOf(entry, call, mine, signal);
      } catch (error) {
        // The conversation has to go on with some result.
        entry.content = signal.aborted ? "error: stopped" : `error: ${error.message}`;
        if (!signal.aborted) say(failure, error.message);
      }
      changed(entry);
    }));
    signal.throwIfAborted();
  };

  /** One turn of the model. @returns the calls that it makes. */
  const turnOf = async (signal) => {
    const request = requestOf(entries);
    const entry = add({
      role: "assistant",
      model: request.model,
      turn: emptyTurn(),
      stopped: false,
    });
    try {
      await complete(request, entry.turn, signal, () => changed(entry));
    } catch (error) {
      entry.stopped = true;
      // A call that nobody answers is none.
      entry.turn.calls = [];
      if (entry.turn.content + entry.turn.thought === "") entries.pop();
      showAll(entries);
      throw error;
    }
    const { turn: { content, calls, errors }, model } = entry;
    const parts = [content, ...calls.map((call) => `calls ${callText(call.function)}`), ...errors];
    news.textContent = `${model}: ${parts.filter((part) => part !== "").join("; ")}`;
    return calls;
  };

  /** Lets the model answer, and run tools, until it calls none. */
  const answer = async () => {
    stop = new AbortController();
    const { signal } = stop;
    say(failure, "");
    update();
    try {
      const most = numberOf("rounds") ?? Number(at("rounds").placeholder);
      const mine = checkOwn();
      for (let round = 1;; round++) {
        say(state, `Round ${round} of at most ${most}`);
        const calls = await turnOf(signal);
        if (calls.length === 0) break;
        await runCalls(calls, mine, signal);
        if (round === most) {
          throw new Error(`The model still called tools in round ${most}, which was the last one`);
        }
      }
    } catch (error) {
      if (signal.aborted) news.textContent = "Stopped";
      else say(failure, error.message);
    } finally {
      stop = null;
      say(state, "");
      update();
    }
  };

  const send = () => {
    if (stop !== null) return;
    if (said.value.trim() === "") return said.focus();
    try {
      requestOf([]);
    } catch (error) {
      return say(failure, error.message);
    }
    add({ role: "user", content: said.value });
    said.value = "";
    answer();
  };

  /** Takes back all that came after the last message of the user. */
  const rewind = (beforeIt) => {
    const last = entries.findLastIndex(({ role }) => role === "user");
    entries.length = last + (beforeIt ? 0 : 1);
    showAll(entries);
    say(failure, "");
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  said.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    send();
  });
  at("stop").addEventListener("click", () => {
    stop?.abort();
    said.focus();
  });
  at("retry").addEventListener("click", () => {
    rewind(false);
    answer();
  });
  at("edit").addEventListener("click", () => {
    const { content } = entries.findLast(({ role }) => role === "user");
    rewind(true);
    said.value = content;
    said.focus();
    update();
  });
  at("clear").addEventListener("click", () => {
    entries.length = 0;
    showAll(entries);
    say(failure, "");
    said.focus();
    update();
  });
  at("all-tools")?.addEventListener("click", ({ target }) => {
    const none = boxes.every(({ checked }) => !checked);
    for (const box of boxes) box.checked = none;
    target.textContent = none ? "None of them" : "All of them";
    update();
  });
  own.addEventListener("change", () => {
    try {
      checkOwn();
    } catch {
      // It stands beside the field.
    }
  });
  form.addEventListener("input", update);
  at("command").addEventListener("toggle", update);
  update();
})();
