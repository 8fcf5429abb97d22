/**
 * How conversations become token ids.
 *
 * A format hands out ids piece by piece: prompt, model turn, tool result. A rollout concatenates
 * the pieces, so that every prefix of a conversation is a prefix of its tokens, and what a model
 * sampled is never encoded again.
 *
 * @module
 */

import type { Tokenizer } from "./tokenizer.ts";
import { formatCall, type ToolSpec } from "./tool_call.ts";

/** A call with its result, as a transcript shows it. */
export interface TranscriptCall {
  /** The tool. */
  readonly spec: ToolSpec;
  /** Its arguments, by name. */
  readonly args: Readonly<Record<string, unknown>>;
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
  /** `call` and `answer` are by how the turn ends; `other` neither calls nor answers. */
  readonly kind: "call" | "answer" | "other";
  /** The plain text before the first control token: the model's thought, often empty. */
  readonly text: string;
  /** The text of the call or of the answer; empty for `other`. */
  readonly content: string;
  /** Whether the turn is plain text and then exactly one call or answer, and nothing else. */
  readonly wellFormed: boolean;
}

/** A chat format: one way to write prompts, calls, results and answers as tokens. */
export interface ChatFormat {
  /** Tokens that end a model's turn: after a call, and after an answer. */
  readonly stops: { readonly endCall: number; readonly end: number };
  /** The user's turn and the opening of the model's. */
  promptIds(prompt: string): Uint32Array;
  /** A model turn that calls a tool, up to and with its stop token. */
  callIds(spec: ToolSpec, args: Readonly<Record<string, unknown>>): Uint32Array;
  /** A model turn that answers, up to and with its stop token. */
  answerIds(text: string): Uint32Array;
  /** A tool's result; the model goes on right behind it. */
  resultIds(text: string): Uint32Array;
  /** The conversation in which a model makes `calls` and then answers. */
  transcript(prompt: string, calls: readonly TranscriptCall[], answer: string): Transcript;
  /** Reads the tokens that a model produced in one turn, its stop token included; never throws. */
  readTurn(ids: ArrayLike<number>): Turn;
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

  const format: ChatFormat = {
    stops: { endCall, end },
    promptIds: (prompt) => between(user, prompt, assistant),
    callIds: (spec, args) => between(call, formatCall(spec, args), endCall),
    answerIds: (text) => between(answer, text, end),
    resultIds: (text) => between(result, text, endResult),

    transcript(prompt, calls, answerText) {
      const pieces: { ids: Uint32Array; bit: 0 | 1 }[] = [
        { ids: format.promptIds(prompt), bit: 0 },
        ...calls.flatMap(({ spec, args, resultText }) => [
          { ids: format.callIds(spec, args), bit: 1 as const },
          { ids: format.resultIds(resultText), bit: 0 as const },
        ]),
        { ids: format.answerIds(answerText), bit: 1 },
      ];
      const length = pieces.reduce((sum, { ids }) => sum + ids.length, 0);
      const ids = new Uint32Array(length);
      const mask = new Uint8Array(length);
      let at = 0;
      for (const piece of pieces) {
        ids.set(piece.ids, at);
        mask.fill(piece.bit, at, at + piece.ids.length);
        at += piece.ids.length;
      }
      return { ids, mask };
    },

    readTurn(turn) {
      const ids = Array.from(turn);
      const controls = ids.flatMap((id, i) => tokenizer.isControl(id) ? [i] : []);
      const text = tokenizer.decode(ids.slice(0, controls[0]));
      const close = ids.length - 1;
      const kind = ids[close] === endCall ? "call" : ids[close] === end ? "answer" : "other";
      const open = kind === "other" ? -1 : ids.lastIndexOf(kind === "call" ? call : answer);
      if (kind === "other" || open < 0) {
        return { kind: "other", text, content: "", wellFormed: false };
      }
      const content = tokenizer.decode(ids.slice(open + 1, close));
      return { kind, text, content, wellFormed: controls.length === 2 };
    },
  };
  return format;
}
