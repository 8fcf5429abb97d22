// Keeps an open page up to date: when something has happened, the page is fetched again, and what is
// in its elements with "data-live" takes the place of what is in those here. A chart whose figure
// stays is given its new data and stays as it is zoomed.
(() => {
  "use strict";
  const { document, location } = globalThis;
  /** Of the server's time, at most this share goes into one open page. */
  const SHARE = 0.1;
  const LEAST_MS = 1000;
  let [due, busy, rest] = [false, false, LEAST_MS];

  /** What the server sent for each element last: what a reader opened since is not a change. */
  const shown = new Map();
  const liveElements = (page) => page.querySelectorAll("[data-live][id]");
  for (const element of liveElements(document)) shown.set(element.id, element.innerHTML);

  const chartsOf = (element) =>
    [...element.querySelectorAll("[data-chart]")].map(({ dataset }) => dataset.chart).join();

  const replace = (page) => {
    watch(page.body.dataset);
    for (const fresh of liveElements(page)) {
      const element = document.getElementById(fresh.id);
      if (element === null || shown.get(fresh.id) === fresh.innerHTML) continue;
      shown.set(fresh.id, fresh.innerHTML);
      const charts = chartsOf(fresh);
      if (charts !== "" && charts === chartsOf(element)) {
        for (const holder of fresh.querySelectorAll("[data-chart]")) {
          element.querySelector(`[data-chart="${holder.dataset.chart}"]`)
            .setAttribute("aria-label", holder.getAttribute("aria-label"));
        }
        continue;
      }
      const focus = element.contains(document.activeElement) ? document.activeElement.id : "";
      const chosen = [...element.querySelectorAll("input:checked")].map(({ value }) => value);
      element.replaceChildren(...document.importNode(fresh, true).childNodes);
      for (const input of element.querySelectorAll("input[type=checkbox]")) {
        input.checked = chosen.includes(input.value);
      }
      if (focus !== "") (document.getElementById(focus) ?? element).focus();
    }
    document.getElementById("data").replaceWith(
      document.importNode(page.getElementById("data"), true),
    );
    document.dispatchEvent(new Event("datachange"));
  };

  const refresh = async () => {
    if (busy || document.hidden) {
      due = true;
      return;
    }
    [due, busy] = [false, true];
    try {
      const asked = performance.now();
      const answer = await fetch(location.href);
      // To the page where a token is given.
      if (answer.redirected) return location.assign(answer.url);
      if (answer.ok) {
        replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      }
      rest = Math.max(LEAST_MS, (performance.now() - asked) / SHARE);
    } catch {
      // The server is not there just now: the next time, maybe.
    }
    setTimeout(() => {
      busy = false;
      if (due) refresh();
    }, rest);
  };

  document.addEventListener("visibilitychange", () => {
    if (due && !document.hidden) refresh();
  });
  // Of another script that has changed something.
  document.addEventListener("refresh", refresh);

  let [pace, timer, source] = [undefined, 0, null];
  /** Refreshes at the pace that the page has by now, and with the events that it names. */
  const watch = ({ events, every }) => {
    if (every !== pace) {
      clearInterval(timer);
      pace = every;
      if (every !== undefined) timer = setInterval(refresh, Number(every));
    }
    if (events === undefined || (source !== null && source.readyState !== EventSource.CLOSED)) {
      return;
    }
    source = new EventSource(events);
    source.addEventListener("message", refresh);
    source.addEventListener("rewind", refresh);
    // The stream ends with the run, whose last state is shown then.
    source.addEventListener("error", refresh);
  };
  watch(document.body.dataset);
})();
