// The page's own script: the theme button, the charts and the token readouts. The data that it
// shows is the JSON in #data, and reaches the page as text only.
(() => {
  "use strict";
  const { uPlot, document } = globalThis;
  const root = document.documentElement;
  const { charts, tokens } = JSON.parse(document.getElementById("data").textContent);
  const plots = [];

  // ---- theme --------------------------------------------------------------------------------

  const button = document.getElementById("theme");
  const systemDark = globalThis.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";
  const themeChanged = () => {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
    colours.clear();
    for (const { plot } of plots) plot.redraw(false);
  };
  /** Storage is refused to pages that are opened from a file in some browsers. */
  const remembered = (value) => {
    try {
      if (value === undefined) return globalThis.localStorage.getItem("mentor-theme");
      globalThis.localStorage.setItem("mentor-theme", value);
    } catch {
      // The choice lasts as long as the page, then.
    }
    return null;
  };
  const chosen = remembered();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    themeChanged();
  });
  systemDark.addEventListener("change", themeChanged);

  // ---- charts -------------------------------------------------------------------------------

  const colours = new Map();
  /** The value of a colour of the style sheet, which canvases can't look up themselves. */
  const colour = (name) => {
    if (!colours.has(name)) {
      const probe = document.createElement("i");
      probe.style.color = `var(${name})`;
      document.body.append(probe);
      colours.set(name, globalThis.getComputedStyle(probe).color);
      probe.remove();
    }
    return colours.get(name);
  };
  const COLOURS = 7;
  const DASHES = [undefined, [7, 4], [2, 3], [11, 3, 2, 3]];
  const ink = (line) => colour(`--c${line.colour % COLOURS}`);
  const dash = (line) => DASHES[Math.floor(line.colour / COLOURS) % DASHES.length];
  const FONT = "12px system-ui, sans-serif";
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = FONT;
  const textWidth = (text) => measure.measureText(text).width;
  const show = (value, digits = 3) =>
    value.toLocaleString("en-US", { maximumSignificantDigits: digits }).replace("-", "\u2212");

  /** Writes the names of the thick lines beside their ends, moved apart where they would meet. */
  const drawLabels = (spec) => (plot) => {
    const { ctx, bbox, data, series } = plot;
    const ratio = globalThis.devicePixelRatio || 1;
    const labels = spec.lines.flatMap((line, i) => {
      if (line.thin || !series[i + 1].show) return [];
      const ys = data[i + 1];
      let last = plot.series[0].idxs?.[1] ?? ys.length - 1;
      while (last >= 0 && typeof ys[last] !== "number") last--;
      return last < 0 ? [] : [{ line, y: plot.valToPos(ys[last], "y", true) }];
    }).sort((a, b) => a.y - b.y);
    const gap = 14 * ratio;
    const bottom = bbox.top + bbox.height;
    labels.forEach((label, i) => {
      label.y = Math.max(label.y, bbox.top, i > 0 ? labels[i - 1].y + gap : 0);
    });
    for (let i = labels.length - 1, limit = bottom; i >= 0; i--, limit -= gap) {
      labels[i].y = Math.min(labels[i].y, limit);
    }
    ctx.save();
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    for (const { line, y } of labels) {
      ctx.fillStyle = ink(line);
      ctx.fillText(line.label, bbox.left + bbox.width + 7 * ratio, y);
    }
    ctx.restore();
  };

  const readOut = (spec, output) => (plot) => {
    const { idx } = plot.cursor;
    if (idx === null || idx === undefined) {
      output.textContent = "";
      return;
    }
    const shown = spec.lines.flatMap((line, i) => {
      const value = plot.data[i + 1][idx];
      if (line.thin || !plot.series[i + 1].show || typeof value !== "number") return [];
      return [spec.lines.length > 1 ? `${line.label} ${show(value)}` : show(value)];
    });
    const at = `${spec.x} ${show(plot.data[0][idx], 9)}`;
    output.textContent = `${at}: ${shown.join(", ") || "no value"}`;
  };

  const axis = (more) => ({
    stroke: () => colour("--soft"),
    font: FONT,
    labelFont: FONT,
    grid: { stroke: () => colour("--rule"), width: 1 },
    ticks: { stroke: () => colour("--rule"), width: 1, size: 4 },
    ...more,
  });

  const options = (spec, holder, output) => ({
    width: holder.clientWidth,
    height: spec.height,
    padding: [
      10,
      spec.labels
        ? 12 + Math.max(0, ...spec.lines.filter((l) => !l.thin).map((l) => textWidth(l.label)))
        : 12,
      0,
      0,
    ],
    legend: { show: false },
    cursor: {
      drag: { x: true, y: false },
      y: false,
      sync: { key: spec.x, setSeries: false },
      points: {
        size: (_, i) => spec.lines[i - 1]?.thin ? 0 : 7,
        fill: (_, i) => i > 0 ? ink(spec.lines[i - 1]) : "",
      },
    },
    scales: {
      x: { time: false, range: (_, low, high) => low === high ? [low - 1, high + 1] : [low, high] },
      y: {
        range: (_, low, high) => {
          if (low === null || high === null) return [0, 1];
          const bottom = spec.zero ? Math.min(0, low) : low;
          if (high === bottom && high === 0) return spec.zero ? [0, 1] : [-1, 1];
          const room = (high - bottom || Math.abs(high)) * 0.06;
          return [bottom === 0 && spec.zero ? 0 : bottom - room, high + room];
        },
      },
    },
    axes: [
      axis({
        label: spec.x,
        labelSize: 16,
        size: 24,
        gap: 3,
        incrs: [1, 2, 5].flatMap((step) => Array.from({ length: 10 }, (_, i) => step * 10 ** i))
          .sort((a, b) => a - b),
        values: (_, ticks) => ticks.map((tick) => show(tick, 9)),
      }),
      axis({
        gap: 4,
        space: 26,
        values: (_, ticks) => ticks.map((tick) => show(tick, 9)),
        size: (_, values) => 12 + Math.max(0, ...(values ?? []).map(textWidth)),
      }),
    ],
    series: [
      {},
      ...spec.lines.map((line) => ({
        label: line.label,
        stroke: () => ink(line),
        width: line.thin ? 0.8 : 2.2,
        alpha: line.thin ? 0.45 : 1,
        dash: dash(line),
        points: line.thin
          ? { show: false }
          : { size: 5, stroke: () => ink(line), fill: () => ink(line) },
      })),
    ],
    hooks: {
      setCursor: [readOut(spec, output)],
      draw: spec.labels ? [drawLabels(spec)] : [],
    },
  });

  /** Arrow keys move the cursor, + and - zoom around it, 0 shows everything again. */
  const onKey = (plot) => (event) => {
    const xs = plot.data[0];
    const at = plot.cursor.idx ?? xs.length - 1;
    const { min, max } = plot.scales.x;
    const zoom = (factor) => {
      const half = (max - min) * factor / 2;
      const low = Math.max(xs[0], xs[at] - half);
      plot.setScale("x", { min: low, max: Math.min(xs.at(-1), low + 2 * half) });
    };
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: xs.length - 1 };
    if (event.key in moves) {
      const to = Math.min(Math.max(moves[event.key], 0), xs.length - 1);
      plot.setCursor({ left: plot.valToPos(xs[to], "x"), top: plot.over.clientHeight / 2 });
    } else if (event.key === "+") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") plot.setScale("x", { min: xs[0], max: xs.at(-1) });
    else return;
    event.preventDefault();
  };

  const byId = new Map(charts.map((spec) => [spec.id, spec]));
  for (const holder of document.querySelectorAll("[data-chart]")) {
    const spec = byId.get(holder.dataset.chart);
    const lines = spec.lines.filter(({ x }) => x.length > 0);
    const drawn = { ...spec, lines };
    if (lines.length === 0) continue;
    const data = uPlot.join(lines.map(({ x, y }) => [x, y]));
    const output = holder.closest("figure").querySelector("output");
    const plot = new uPlot(options(drawn, holder, output), data, holder);
    plots.push({ plot, spec: drawn });
    holder.addEventListener("keydown", onKey(plot));
    new ResizeObserver(() => {
      const width = holder.clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: spec.height });
    }).observe(holder);
  }

  for (const key of document.querySelectorAll("[data-group]")) {
    key.addEventListener("click", () => {
      const shown = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", String(shown));
      for (const { plot, spec } of plots) {
        plot.batch(() => {
          spec.lines.forEach((line, i) => {
            if (line.group === key.dataset.group) plot.setSeries(i + 1, { show: shown });
          });
        });
      }
    });
  }

  // ---- tokens -------------------------------------------------------------------------------

  for (const text of document.querySelectorAll("[data-tokens]")) {
    const { mask, logprobs, advantages } = tokens[text.dataset.tokens];
    const output = text.nextElementSibling;
    const spans = [...text.children];
    const number = (value) =>
      typeof value === "number" ? String(value).replace("-", "\u2212") : "unknown";
    const tell = (at) => {
      text.querySelector(".at")?.classList.remove("at");
      const span = spans[at];
      if (!span) return;
      span.classList.add("at");
      const place = `Token ${at + 1} of ${spans.length}, ${JSON.stringify(span.textContent)}: `;
      const advantage = Array.isArray(advantages) ? advantages[at] : advantages;
      output.textContent = mask[at] === "1"
        ? `${place}sampled, log-probability ${number(logprobs[at])} nats, advantage ${
          number(advantage)
        }`
        : `${place}given to the model, no loss`;
    };
    text.addEventListener("pointerover", ({ target }) => {
      const at = spans.indexOf(target);
      if (at >= 0) tell(at);
    });
    text.addEventListener("keydown", (event) => {
      const at = spans.findIndex((span) => span.classList.contains("at"));
      const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: spans.length - 1 };
      if (!(event.key in moves)) return;
      tell(Math.min(Math.max(moves[event.key], 0), spans.length - 1));
      event.preventDefault();
    });
  }

  themeChanged();
})();
