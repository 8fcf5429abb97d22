// Tells of the token that is pointed at, or that the arrow keys have come to. The numbers are in the
// JSON in #data, and reach the page as text only.
(() => {
  "use strict";
  const { document } = globalThis;
  const number = (value) =>
    typeof value === "number" ? String(value).replace("-", "\u2212") : "unknown";

  let [node, known] = [null, {}];
  /** Parsed anew only where another page has taken the place of the data. */
  const tokensOf = (id) => {
    const data = document.getElementById("data");
    if (data !== node) [node, known] = [data, JSON.parse(data.textContent).tokens];
    return known[id];
  };

  const tell = (text, spans, at) => {
    text.querySelector(".at")?.classList.remove("at");
    const span = spans[at];
    if (!span) return;
    span.classList.add("at");
    const { mask, logprobs, advantages } = tokensOf(text.dataset.tokens);
    const advantage = Array.isArray(advantages) ? advantages[at] : advantages;
    // Of tokens that nobody learns from there are none.
    const gain = advantages === undefined ? "" : `, advantage ${number(advantage)}`;
    const place = `Token ${at + 1} of ${spans.length}, ${JSON.stringify(span.textContent)}: `;
    text.nextElementSibling.textContent = mask[at] === "1"
      ? `${place}sampled, log-probability ${number(logprobs[at])} nats${gain}`
      : `${place}given to the model, no loss`;
  };

  // On the document, so that texts which come later are heard as well.
  document.addEventListener("pointerover", ({ target }) => {
    const text = target.closest("[data-tokens]");
    if (text === null || target === text) return;
    const spans = [...text.children];
    tell(text, spans, spans.indexOf(target));
  });
  document.addEventListener("keydown", (event) => {
    const text = event.target.closest("[data-tokens]");
    if (text === null) return;
    const spans = [...text.children];
    const at = spans.findIndex((span) => span.classList.contains("at"));
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: spans.length - 1 };
    if (!(event.key in moves)) return;
    tell(text, spans, Math.min(Math.max(moves[event.key], 0), spans.length - 1));
    event.preventDefault();
  });
})();
