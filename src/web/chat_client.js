// Asks a model of this server by OpenAI's API, and calls its tools.
(() => {
  "use strict";

  const post = (path, json, signal) => globalThis.mentorRequest("POST", path, { json, signal });

  /** The data of server-sent events, one by one. */
  const dataOf = async function* (body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const events = (text + next.value).split("\n\n");
      text = events.pop();
      for (const event of events) yield event.replace(/^data: /, "");
    }
  };

  /** Puts what has come into a turn. */
  const grow = (turn, { error, choices = [], usage }) => {
    if (error) throw new Error(error.message);
    if (usage) turn.usage = usage;
    for (const { delta, logprobs, finish_reason: reason } of choices) {
      turn.content += delta.content ?? "";
      turn.thought += delta.reasoning_content ?? "";
      // Each comes in one piece, with its place in front.
      turn.calls.push(...(delta.tool_calls ?? []).map(({ index: _, ...call }) => call));
      turn.errors.push(...delta.tool_call_errors ?? []);
      turn.tokens.push(...logprobs?.content ?? []);
      if (reason !== null) turn.reason = reason;
    }
  };

  /**
   * Lets a model make its turn.
   *
   * @param turn what grows, with a call of `onGrowth` for each piece
   * @throws {Error} with what is to be shown; an AbortError once the signal is aborted.
   */
  const complete = async (body, turn, signal, onGrowth) => {
    const stream = { stream: true, stream_options: { include_usage: true } };
    const begin = performance.now();
    const answer = await post("/v1/chat/completions", { ...body, ...stream }, signal);
    for await (const data of dataOf(answer.body)) {
      if (data === "[DONE]") break;
      grow(turn, JSON.parse(data));
      turn.seconds = (performance.now() - begin) / 1000;
      onGrowth();
    }
    signal.throwIfAborted();
    if (turn.reason === null) throw new Error("The answer broke off. Is the server still running?");
  };

  /** A turn of which nothing has come yet. */
  const emptyTurn = () => ({
    content: "",
    thought: "",
    calls: [],
    errors: [],
    tokens: [],
    usage: null,
    reason: null,
    seconds: 0,
  });

  /** Has the server call a tool. @returns what the model is told. */
  const callTool = async (name, args, signal) => {
    const answer = await post(`/tools/${encodeURIComponent(name)}`, { arguments: args }, signal);
    return (await answer.json()).result;
  };

  globalThis.mentorChat = { complete, emptyTurn, callTool };
})();
