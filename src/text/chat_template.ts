/**
 * How conversations become token ids.
 *
 * A format hands out ids piece by piece: prompt, model turn, tool result. A rollout concatenates
 * the pieces, so that every prefix of a conversation is a prefix of its tokens, and what a model
 * sampled is never encoded again.
 *
 * @module
 */

import type { PlannedCall, ToolResult } from "./calls/format.ts";
import { type Message, orderMessages, plannedCalls } from "./conversation.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { formatCall, parseCall, type ParsedCall, type ToolSpec } from "./tool_call.ts";
import type { TurnPiece, TurnStream } from "./turn_stream.ts";

/** A call with its result, as a transcript shows it. */
export interface TranscriptCall extends PlannedCall {
  /** What the tool answered, as the model sees it. */
  readonly resultText: string;
}

/** A whole conversation as tokens. */
export interface Transcript {
  /** [T] */
  readonly ids: Uint32Array;
  /** [T]: 1 where the model is to produce the token, 0 on prompt and tool results. */
  readonly mask: Uint8Array;
}

/** What a model's turn turned out to be. */
export interface Turn {
  /** `call` asks for tools, readably or not; `answer` answers; `other` does neither. */
  readonly kind: "call" | "answer" | "other";
  /** The model's thought: the plain text before a call or an answer, often empty. */
  readonly text: string;
  /** The calls in order; empty where a turn asks for tools and not even one could be made out. */
  readonly calls: readonly ParsedCall[];
  /** The text of the answer, otherwise empty. */
  readonly content: string;
  /** Whether the turn is a thought and then calls or one answer, all readable, and nothing else. */
  readonly wellFormed: boolean;
}

/** A chat format: one way to write prompts, calls, results and answers as tokens. */
export interface ChatFormat {
  /** Tokens that end a model's turn; twice the same where there is but one. */
  readonly stops: readonly [number, number];
  /**
   * The user's turn, with the tools where the format shows them, and the opening of the model's.
   *
   * @param system for the system message, behind what the format says there by itself
   */
  promptIds(prompt: string, tools?: readonly ToolSpec[], system?: string): Uint32Array;
  /** A model turn that calls tools, up to and with its stop token. */
  callIds(calls: readonly PlannedCall[]): Uint32Array;
  /** A model turn that answers, up to and with its stop token. */
  answerIds(text: string): Uint32Array;
  /**
   * A whole conversation, and the opening of the model's next turn.
   *
   * @throws {RangeError} if the format can't write these roles in this order, or a call's arguments.
   */
  conversationIds(messages: readonly Message[], tools?: readonly ToolSpec[]): Uint32Array;
  /** The beginning of a turn of the model's that calls a tool: this one, or any. */
  callOpeningIds(tool?: ToolSpec): Uint32Array;
  /** What the tools of one turn answered; the model goes on right behind it. */
  resultIds(results: readonly ToolResult[]): Uint32Array;
  /** The user's next turn, right behind an answer, and the opening of the model's. */
  followUpIds(prompt: string): Uint32Array;
  /** Reads the tokens that a model produced in one turn, its stop token included; never throws. */
  readTurn(ids: ArrayLike<number>, tools?: readonly ToolSpec[]): Turn;
  /**
   * Reads a turn while the model writes it.
   *
   * @param calls whether tools were offered; what looks like a call is text otherwise
   */
  turnStream(calls: boolean): TurnStream;
}

/** A piece of a conversation, and whether the model is to produce it. */
interface Piece {
  readonly ids: Uint32Array;
  readonly bit: 0 | 1;
}

/** The conversation in which a model makes `calls`, one per turn, and then answers. */
export function transcript(
  chat: ChatFormat,
  prompt: string,
  tools: readonly ToolSpec[],
  calls: readonly TranscriptCall[],
  answer: string,
  system?: string,
): Transcript {
  return assemble([
    { ids: chat.promptIds(prompt, tools, system), bit: 0 },
    ...calls.flatMap((call) => [
      { ids: chat.callIds([call]), bit: 1 as const },
      { ids: chat.resultIds([{ name: call.spec.name, text: call.resultText }]), bit: 0 as const },
    ]),
    { ids: chat.answerIds(answer), bit: 1 },
  ]);
}

/** The conversation in which a model makes `calls` in one turn, and which ends there. */
export function callTranscript(
  chat: ChatFormat,
  prompt: string,
  tools: readonly ToolSpec[],
  calls: readonly PlannedCall[],
  system?: string,
): Transcript {
  return assemble([
    { ids: chat.promptIds(prompt, tools, system), bit: 0 },
    { ids: chat.callIds(calls), bit: 1 },
  ]);
}

function assemble(pieces: readonly Piece[]): Transcript {
  const ids = joined(pieces.map((piece) => piece.ids));
  const mask = new Uint8Array(ids.length);
  let at = 0;
  for (const { ids, bit } of pieces) mask.fill(bit, at, at += ids.length);
  return { ids, mask };
}

/**
 * The compact format of the embedded student:
 * `<|user|>PROMPT<|assistant|>` `<|call|>add 34 8<|end_call|>` `<|result|>42<|end_result|>`
 * `<|answer|>42<|end|>`.
 *
 * Control tokens are told from text by their ids alone: the same characters in a prompt or in a
 * tool's result are encoded as characters.
 *
 * @throws {RangeError} if the tokenizer lacks one of the control tokens
 */
export function compactChat(tokenizer: Tokenizer): ChatFormat {
  const user = tokenizer.token("<|user|>");
  const assistant = tokenizer.token("<|assistant|>");
  const call = tokenizer.token("<|call|>");
  const endCall = tokenizer.token("<|end_call|>");
  const result = tokenizer.token("<|result|>");
  const endResult = tokenizer.token("<|end_result|>");
  const answer = tokenizer.token("<|answer|>");
  const end = tokenizer.token("<|end|>");
  const between = (open: number, text: string, close: number) => {
    const inner = tokenizer.encode(text);
    const ids = new Uint32Array(inner.length + 2);
    ids[0] = open;
    ids.set(inner, 1);
    ids[inner.length + 1] = close;
    return ids;
  };

  const callIds = (calls: readonly PlannedCall[]) =>
    joined(calls.map(({ spec, args }) => between(call, formatCall(spec, args), endCall)));

  return {
    stops: [endCall, end],
    // There is no system turn: what it would say opens the user's.
    promptIds: (prompt, _tools, system) =>
      between(user, system === undefined ? prompt : `${system}\n\n${prompt}`, assistant),
    callIds,
    answerIds: (text) => between(answer, text, end),
    followUpIds: (prompt) => between(user, prompt, assistant),
    resultIds: (results) => joined(results.map(({ text }) => between(result, text, endResult))),

    conversationIds(messages, tools = []) {
      const { system, turns } = orderMessages(messages);
      const said = [...system]; // by the user, who may send several messages in a row
      const ids = turns.map((message, i) => {
        switch (message.role) {
          case "system":
          case "user":
            said.push(message.content);
            if (["system", "user"].includes(turns[i + 1]?.role ?? "")) return Uint32Array.of();
            return between(user, said.splice(0).join("\n\n"), assistant);
          case "assistant": {
            const { content, calls = [] } = message;
            if (calls.length === 0) return between(answer, content, end);
            return joined([tokenizer.encode(content), callIds(plannedCalls(calls, tools))]);
          }
          case "tool":
            return between(result, message.content, endResult);
        }
      });
      return joined(ids);
    },

    callOpeningIds(tool) {
      const required = tool?.parameters.required?.length ?? 0;
      const text = `${tool?.name ?? ""}${required > 0 ? " " : ""}`;
      return Uint32Array.of(call, ...tokenizer.encode(text));
    },

    readTurn(turn, tools = []) {
      const ids = Array.from(turn);
      const controls = ids.flatMap((id, i) => tokenizer.isControl(id) ? [i] : []);
      const text = tokenizer.decode(ids.slice(0, controls[0]));
      const close = ids.length - 1;
      const kind = ids[close] === endCall ? "call" : ids[close] === end ? "answer" : "other";
      const open = kind === "other" ? -1 : ids.lastIndexOf(kind === "call" ? call : answer);
      const wellFormed = open >= 0 && controls.length === 2;
      const content = open < 0 ? "" : tokenizer.decode(ids.slice(open + 1, close));
      if (kind === "call") {
        const calls = wellFormed ? [parseCall(content, tools)] : [];
        return { kind, text, calls, content: "", wellFormed };
      }
      return { kind: open < 0 ? "other" : kind, text, calls: [], content, wellFormed };
    },

    // Control tokens alone tell a call from text, whether tools were offered or not.
    turnStream() {
      const decoded = tokenizer.decodeStream();
      let part: keyof TurnPiece | null = "thought";
      const piece = (text: string): TurnPiece => ({
        ...{ thought: "", content: "" },
        ...(part === null ? {} : { [part]: text }),
      });
      return {
        push(id) {
          if (!tokenizer.isControl(id)) return piece(decoded.push(id));
          const last = piece(decoded.end());
          part = id === answer && part === "thought" ? "content" : null;
          return last;
        },
        end: () => piece(decoded.end()),
      };
    },
  };
}

function joined(parts: readonly Uint32Array[]): Uint32Array {
  const ids = new Uint32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    ids.set(part, at);
    at += part.length;
  }
  return ids;
}
