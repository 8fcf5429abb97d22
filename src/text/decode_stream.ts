/**
 * Decoding while a model writes.
 *
 * @module
 */

/** Turns ids into text as they come; joined, the pieces are the text of all ids. */
export interface DecodeStream {
  /** The text that is certain after one more id; often empty, never part of a character. */
  push(id: number): string;
  /** What is left once the model has ended. */
  end(): string;
}

/** Text that may still change has this at its end: the bytes so far are no whole character. */
const INCOMPLETE = "\ufffd";

/**
 * A stream over any decoder of whole sequences.
 *
 * How an id reads depends on the ids before it (a tokenizer may drop the first space, or need four
 * ids for one emoji), so that each piece is the difference between two decoded windows, of which the
 * shorter is text that was already handed out.
 */
export function decodeStream(decode: (ids: number[]) => string): DecodeStream {
  let known: number[] = [];
  let pending: number[] = [];
  const flush = (text: string) => {
    const piece = text.slice(decode(known).length);
    known = pending;
    pending = [];
    return piece;
  };
  return {
    push(id) {
      pending.push(id);
      const text = decode([...known, ...pending]);
      return text.endsWith(INCOMPLETE) ? "" : flush(text);
    },
    end() {
      return pending.length === 0 ? "" : flush(decode([...known, ...pending]));
    },
  };
}
