/**
 * How a teacher is asked to state its answer, and how the statement is found in its prose.
 *
 * @module
 */

/** What the system message says unless the user has words of their own. */
export const INSTRUCTION = `Solve the task, with the tools wherever they help. \
End with a line that states the answer and nothing else, numbers in digits, like

Answer: 42`;

/** A line that states an answer: "Answer: 42", "**Final answer:** 42", "The answer is: 42". */
const STATEMENT = /^[\s>#*_]*(?:the )?(?:final )?answer(?: is)?[*_]*\s*:[*_]*(.*)$/i;

/** Markup around a whole value, which is not part of it. */
const WRAPPINGS: readonly RegExp[] = [
  /^\*\*(.+)\*\*$/s,
  /^\*(.+)\*$/s,
  /^__(.+)__$/s,
  /^`(.+)`$/s,
  /^\$\$?([^$]+)\$\$?$/s,
  /^\\\((.+)\\\)$/s,
  /^\\\[(.+)\\\]$/s,
  /^\\(?:text|mathrm|mathbf)\{([^{}]*)\}$/s,
  // Of a line that is bold as a whole only the end is left behind the colon.
  /^([^*]+)\*{1,3}$/s,
  /^"(.+)"$/s,
  /^(.+)\.$/s,
];

const THOUGHT_END = "</think>";

/**
 * What a teacher's last message states as the answer, in every reading that markup allows, the
 * barest first: of `**"pen".**` these are `pen`, `"pen"`, `"pen".` and the whole.
 *
 * A statement is, in this order: the last line that begins with "Answer:" (where nothing follows on
 * the line, what follows below); the last `\boxed{}`; the whole message. A thought before `</think>`
 * states nothing.
 */
export function statedAnswers(message: string): string[] {
  const thought = message.lastIndexOf(THOUGHT_END);
  const said = message.slice(thought < 0 ? 0 : thought + THOUGHT_END.length).trim();
  const lines = said.split("\n");
  const at = lines.findLastIndex((line) => STATEMENT.test(line));
  if (at < 0) return readings(lastBoxed(said) ?? said);
  const onLine = STATEMENT.exec(lines[at]!)![1]!.trim();
  return readings(onLine === "" ? lines.slice(at + 1).join("\n").trim() : onLine);
}

/** A value with fewer and fewer of its wrappings. */
function readings(value: string): string[] {
  const found = [value];
  for (let inner: string | undefined = value; inner !== undefined;) {
    inner = unwrapped(inner);
    if (inner !== undefined) found.push(inner);
  }
  return found.reverse().filter((reading) => reading !== "");
}

function unwrapped(value: string): string | undefined {
  const boxed = lastBoxed(value);
  if (boxed !== null) return boxed;
  for (const wrapping of WRAPPINGS) {
    const inner = wrapping.exec(value)?.[1];
    if (inner !== undefined) return inner.trim();
  }
  // What TeX writes for the dollar, the percent sign, and the comma and space among digits.
  const plain = value.replace(/\\([$%])/g, "$1").replace(/\{,\}|\\,/g, ",");
  return plain === value ? undefined : plain;
}

/** What the last `\boxed{}` holds, whose braces may be nested; null if there is none. */
function lastBoxed(text: string): string | null {
  const open = text.lastIndexOf("\\boxed{");
  if (open < 0) return null;
  const start = open + "\\boxed{".length;
  for (let at = start, depth = 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return text.slice(start, at).trim();
  }
  return null;
}
