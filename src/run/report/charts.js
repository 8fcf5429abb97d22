// Draws the charts of the page: what each shows is in the JSON in #data, and where it goes is a
// figure. When "datachange" is heard on the document, the data is read again: charts that were there
// go on with it, zoomed as they are, and figures that are new get theirs.
(() => {
  "use strict";
  const { uPlot, document } = globalThis;
  /** Charts by the element that holds them. */
  const drawn = new Map();

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
  /** The label of a line, cut to a third of the chart. */
  const labelOf = ({ label }, width) => {
    let text = label;
    while (text.length > 1 && textWidth(text) > width / 3) text = `${text.slice(0, -2)}\u2026`;
    return text;
  };
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
      ctx.fillText(labelOf(line, plot.width), bbox.left + bbox.width + 7 * ratio, y);
    }
    ctx.restore();
  };

  const readOut = (spec, holder, output) => (plot) => {
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
    // The cursors of all charts move together: only the chart that has the focus is read out.
    output.ariaLive = document.activeElement === holder ? "polite" : "off";
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
        ? 12 +
          Math.max(
            0,
            ...spec.lines.filter(({ thin }) => !thin)
              .map((line) => textWidth(labelOf(line, holder.clientWidth))),
          )
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
      setCursor: [readOut(spec, holder, output)],
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

  const draw = (holder, spec) => {
    const output = holder.closest("figure").querySelector("output");
    const plot = new uPlot(options(spec, holder, output), dataOf(spec), holder);
    const observer = new ResizeObserver(() => {
      const width = holder.clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: spec.height });
    });
    observer.observe(holder);
    const key = onKey(plot);
    holder.addEventListener("keydown", key);
    const remove = () => {
      observer.disconnect();
      holder.removeEventListener("keydown", key);
      plot.destroy();
      drawn.delete(holder);
    };
    drawn.set(holder, { plot, spec, remove });
  };

  const dataOf = ({ lines }) => uPlot.join(lines.map(({ x, y }) => [x, y]));
  const namesOf = ({ lines }) => lines.map(({ label }) => label).join("\n");

  /** Gives a chart its new lines; one that is zoomed in stays so. */
  const redraw = ({ plot, spec }, { lines }) => {
    const xs = plot.data[0];
    const { min, max } = plot.scales.x;
    const isZoomed = min > xs[0] || max < xs.at(-1);
    spec.lines = lines;
    plot.setData(dataOf(spec), !isZoomed);
    if (isZoomed) plot.redraw();
  };

  const update = () => {
    for (const [holder, { remove }] of drawn) if (!holder.isConnected) remove();
    const { charts } = JSON.parse(document.getElementById("data").textContent);
    const byId = new Map(charts.map((spec) => [spec.id, spec]));
    for (const holder of document.querySelectorAll("[data-chart]")) {
      const chart = byId.get(holder.dataset.chart);
      const spec = { ...chart, lines: chart.lines.filter(({ x }) => x.length > 0) };
      const before = drawn.get(holder);
      if (before && namesOf(before.spec) === namesOf(spec)) redraw(before, spec);
      else {
        before?.remove();
        if (spec.lines.length > 0) draw(holder, spec);
      }
    }
  };

  /** Buttons that show and hide lines together. */
  document.addEventListener("click", ({ target }) => {
    const key = target.closest("[data-group]");
    if (key === null) return;
    const shown = key.getAttribute("aria-pressed") !== "true";
    key.setAttribute("aria-pressed", String(shown));
    for (const { plot, spec } of drawn.values()) {
      plot.batch(() => {
        spec.lines.forEach((line, i) => {
          if (line.group === key.dataset.group) plot.setSeries(i + 1, { show: shown });
        });
      });
    }
  });
  document.addEventListener("themechange", () => {
    colours.clear();
    for (const { plot } of drawn.values()) plot.redraw(false);
  });
  document.addEventListener("datachange", update);
  update();
})();
