/**
 * Code that awaits outside of a function, for an engine that runs scripts.
 *
 * @module
 */

import type * as Acorn from "acorn";

/**
 * Wraps code that awaits at its top into an async function whose result is the value of the last
 * expression. What it declares there stays visible to later code.
 *
 * @returns a script whose value is a promise; null if the code is no such code
 */
export function awaiting(code: string, { parse }: Pick<typeof Acorn, "parse">): string | null {
  let program: Acorn.Program;
  try {
    program = parse(code, { ecmaVersion: "latest", allowAwaitOutsideFunction: true });
  } catch {
    return null;
  }
  const names: string[] = [];
  const functions: string[] = [];
  const text = ({ start, end }: Acorn.Node) => code.slice(start, end);
  const last = program.body.at(-1);
  // Statements keep their lines, so that errors name the right ones.
  let body = "";
  let at = 0;
  for (const statement of program.body) {
    body += code.slice(at, statement.start);
    at = statement.end;
    if (statement.type === "VariableDeclaration") {
      names.push(...statement.declarations.flatMap(({ id }) => namesOf(id)));
      const assignments = statement.declarations.flatMap(({ id, init }) =>
        init ? [`(${text(id)} = ${text(init)})`] : []
      );
      body += `void [${assignments.join(", ")}];`;
    } else if (statement.type === "FunctionDeclaration") {
      functions.push(text(statement));
      body += text(statement).replace(/[^\n]/g, "");
    } else if (statement.type === "ClassDeclaration") {
      names.push(statement.id.name);
      body += `${statement.id.name} = ${text(statement)};`;
    } else if (statement === last && statement.type === "ExpressionStatement") {
      body += `return (${text(statement.expression)});`;
    } else body += text(statement);
  }
  const declared = names.length > 0 ? `var ${names.join(", ")};` : "";
  return `${declared}(async () => {${body}\n})()\n${functions.join("\n")}`;
}

/** The variables that a pattern binds. */
function namesOf(pattern: Acorn.Pattern): string[] {
  switch (pattern.type) {
    case "Identifier":
      return [pattern.name];
    case "ObjectPattern":
      return pattern.properties.flatMap((property) =>
        namesOf(property.type === "RestElement" ? property.argument : property.value)
      );
    case "ArrayPattern":
      return pattern.elements.flatMap((element) => element ? namesOf(element) : []);
    case "AssignmentPattern":
      return namesOf(pattern.left);
    case "RestElement":
      return namesOf(pattern.argument);
    case "MemberExpression":
      return [];
  }
}
