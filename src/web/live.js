// Keeps an open page up to date: when something has happened, the page is fetched again, and what is
// in its elements with "data-live" is made like what is in those there. What did not change stays as
// it is, with the reader's focus, selection and scrolling; so do charts, which get their new data.
(() => {
  "use strict";
  const { document, location } = globalThis;
  /** Of the server's time, at most this share goes into one open page. */
  const SHARE = 0.1;
  const LEAST_MS = 1000;
  /** How long it takes to ask again where there was no page. */
  const AGAIN_MS = 5000;
  const stale = document.getElementById("stale");
  let [due, busy] = [false, false];

  const changes = {
    childrenOnly: true,
    onBeforeElUpdated(here, fresh) {
      // What the reader has opened or ticked is theirs, and so is what a chart says at the cursor.
      if (here.localName === "details") fresh.open = here.open;
      if (here.type === "checkbox") fresh.checked = here.checked;
      return !here.matches("[data-chart] ~ output");
    },
    onBeforeElChildrenUpdated: (here) => !here.matches("[data-chart]"),
  };

  const replace = (page) => {
    watch(page.body.dataset);
    const { activeElement: focused } = document;
    for (const fresh of page.querySelectorAll("[data-live][id]")) {
      const element = document.getElementById(fresh.id);
      if (element === null) continue;
      const hasFocus = element.contains(focused);
      globalThis.morphdom(element, fresh, changes);
      if (!hasFocus || document.activeElement === focused) continue;
      // It was moved, or is gone.
      (focused.isConnected ? focused : element).focus({ preventScroll: true });
    }
    document.getElementById("data").replaceWith(
      document.importNode(page.getElementById("data"), true),
    );
    document.dispatchEvent(new Event("datachange"));
  };

  /** Says why the page is not up to date, if it isn't. */
  const say = (text) => {
    stale.hidden = text === "";
    if (stale.textContent !== text) stale.textContent = text;
  };

  /** @returns how long to wait before the next time; null if there was nothing to be had. */
  const load = async () => {
    const asked = performance.now();
    let answer, text;
    try {
      answer = await fetch(location.href);
      text = await answer.text();
    } catch {
      say("The server does not answer. This page shows what it said last.");
      return null;
    }
    if (answer.redirected) {
      // To the page where a token is given.
      location.assign(answer.url);
      return null;
    }
    if (!answer.ok) {
      say(
        answer.status === 404
          ? "What this page is about is no longer there."
          : `The server answered ${answer.status}. This page shows what it said before.`,
      );
      return null;
    }
    say("");
    replace(new DOMParser().parseFromString(text, "text/html"));
    return Math.max(LEAST_MS, (performance.now() - asked) / SHARE);
  };

  const refresh = async () => {
    if (busy || document.hidden) {
      due = true;
      return;
    }
    [due, busy] = [false, true];
    const rest = await load();
    if (rest === null) due = true;
    setTimeout(() => {
      busy = false;
      if (due) refresh();
    }, rest ?? AGAIN_MS);
  };

  document.addEventListener("visibilitychange", () => {
    // A browser has six connections to a server: a page in the background leaves its own to others.
    if (document.hidden) source?.close();
    else refresh();
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
    const watches = source !== null && source.readyState !== EventSource.CLOSED;
    if (events === undefined || watches || document.hidden) return;
    source = new EventSource(events);
    source.addEventListener("message", refresh);
    source.addEventListener("rewind", refresh);
    // The stream ends with the run, whose last state is shown then.
    source.addEventListener("error", refresh);
  };
  watch(document.body.dataset);
})();
