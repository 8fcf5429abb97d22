// Asks the server for something. Whatever goes wrong is told in words for people.
(() => {
  "use strict";

  const wordsFor = async (answer, hasToken) => {
    if (answer.status === 401 && !hasToken) {
      return { text: "You are signed out. Sign in again in another tab, then go on here" };
    }
    const { error, detail, errors } = await answer.json().catch(() => ({}));
    const wait = answer.headers.get("retry-after");
    const again = wait === null ? "" : `. Try again in ${wait} s or later`;
    return {
      text: (error?.message ?? detail ?? `The server answered ${answer.status}`) + again,
      fields: errors,
    };
  };

  /**
   * The answer, which is a good one.
   *
   * @throws {Error} with what is to be shown, and of an answer its `status`, and as `fields`
   * what is wrong with each where it says so
   */
  globalThis.mentorRequest = async (method, path, { json, token, signal } = {}) => {
    const headers = {
      ...json === undefined ? {} : { "content-type": "application/json" },
      ...token === undefined ? {} : { authorization: `Bearer ${token}` },
    };
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: JSON.stringify(json), signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Error("The server does not answer. Is it still running?");
    }
    if (answer.ok) return answer;
    const { text, fields } = await wordsFor(answer, token !== undefined);
    throw Object.assign(new Error(text), { status: answer.status, fields });
  };
})();
