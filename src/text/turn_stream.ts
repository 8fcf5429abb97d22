/**
 * A model's turn, read while it is written.
 *
 * @module
 */

import type { DecodeStream } from "./decode_stream.ts";
import { type Beginning, findMark } from "./marks.ts";

/** What became certain of a turn: pieces that are empty where nothing did. */
export interface TurnPiece {
  /** Of the model's thought. */
  readonly thought: string;
  /** Of what it says: never control tokens, never a call or a part of one. */
  readonly content: string;
}

/** Reads a turn token by token; joined, the pieces of a kind are that part of the turn. */
export interface TurnStream {
  /** Takes a token. */
  push(id: number): TurnPiece;
  /**
   * What is left once the turn has ended.
   *
   * @param cut whether the model would have gone on; what may have become a call is left out then
   */
  end(cut: boolean): TurnPiece;
}

/** The opening of a thought. */
export const THINK = "<think>";
/** The end of a thought. */
export const END_THINK = "</think>";

const nothing: TurnPiece = { thought: "", content: "" };

/** How the turns of a format look. */
export interface TurnSyntax {
  /** A stream over decoded tokens. */
  readonly decoded: DecodeStream;
  /** The name of a control token, null for any other token. */
  readonly control: (id: number) => string | null;
  /** Whether a turn begins in the middle of a thought. */
  readonly opensThought: boolean;
  /** Where a call begins in a text, or may begin at its end. */
  readonly callBegins: (text: string) => Beginning;
}

/**
 * Reads turns that are a thought, perhaps, between `<think>` and `</think>`, then text, then calls.
 * White space around either part is left out. A call, once begun, is the rest of the turn.
 */
export class TextTurnStream implements TurnStream {
  readonly #syntax: TurnSyntax;
  #part: "opening" | "thought" | "content" | "call" = "opening";
  /** What is not certain yet. */
  #rest = "";
  /** Whether something of this part was handed out. */
  #begun = false;

  constructor(syntax: TurnSyntax) {
    this.#syntax = syntax;
  }

  push(id: number): TurnPiece {
    const { control, decoded, callBegins } = this.#syntax;
    const name = control(id);
    if (name === null) return this.#take(decoded.push(id), false);
    const { at, sure } = callBegins(name);
    const steers = name === THINK || name === END_THINK || (sure && at === 0);
    return this.#take(decoded.end() + (steers ? name : ""), false);
  }

  end(cut: boolean): TurnPiece {
    return this.#take(this.#syntax.decoded.end(), !cut);
  }

  #take(text: string, last: boolean): TurnPiece {
    this.#rest += text;
    if (this.#part === "opening" && !this.#open(last)) return nothing;
    let thought = "";
    if (this.#part === "thought") {
      const end = findMark(this.#rest, [END_THINK]);
      thought = this.#until(end, last);
      if (!end.sure) return { thought, content: "" };
      this.#enter("content", END_THINK.length);
    }
    if (this.#part === "call") return { thought, content: "" };
    const call = this.#syntax.callBegins(this.#rest);
    const content = this.#until(call, last);
    if (call.sure) this.#enter("call", 0);
    return { thought, content };
  }

  /** Tells whether the turn begins with a thought, once that is certain. */
  #open(last: boolean): boolean {
    const text = this.#rest.trimStart();
    const thinks = text.startsWith(THINK);
    if (!thinks && !last && THINK.startsWith(text)) return false;
    if (thinks) this.#rest = text.slice(THINK.length);
    this.#part = thinks || this.#syntax.opensThought ? "thought" : "content";
    return true;
  }

  #enter(part: "content" | "call", skipped: number): void {
    this.#part = part;
    this.#rest = this.#rest.slice(skipped);
    this.#begun = false;
  }

  /** Hands out what comes before a mark, or before what may become one unless nothing follows. */
  #until({ at, sure }: Beginning, last: boolean): string {
    const text = this.#rest.slice(0, sure || !last ? at : undefined);
    const piece = (this.#begun ? text : text.trimStart()).trimEnd();
    if (piece !== "") this.#begun = true;
    // Without a mark, white space stays: it counts once something follows.
    const used = sure ? at : text.trimEnd().length;
    this.#rest = this.#rest.slice(used);
    return piece;
  }
}
