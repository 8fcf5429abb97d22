// A command line that runs in this process, with what it prints caught.

/** Runs it. @param main gives the exit code */
export async function caught(
  main: () => Promise<number>,
): Promise<{ code: number; out: string; err: string }> {
  const { log, error } = console;
  const said = { out: "", err: "" };
  console.log = (text: string) => void (said.out += `${text}\n`);
  console.error = (text: string) => void (said.err += `${text}\n`);
  try {
    return { code: await main(), ...said };
  } finally {
    Object.assign(console, { log, error });
  }
}
