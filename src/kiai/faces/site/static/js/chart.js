// Line charts: the values are in the table below the chart, or in `data-values` with the gaps. uPlot is loaded only where
// there is such a chart.
import { forEach } from "./parts.js";

/** Draw the charts of this page, and of parts that arrive later. */
export function followCharts() {
  forEach("figure[data-chart=line]:not([data-drawn])", (figure) => {
    figure.dataset.drawn = "";
    void draw(figure);
  });
}

/** @param {HTMLElement} figure */
async function draw(figure) {
  const plot = figure.querySelector(".plot");
  const isSeries = figure.dataset.values !== undefined;
  const points = isSeries ? readValues(figure) : readTable(figure);
  if (!(plot instanceof HTMLElement) || points.length < 2) return;
  const { default: uPlot } = await import("../vendor/uplot/uPlot.js");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const size = () => ({ width: plot.clientWidth, height: plot.clientHeight });
  const colour = colours(figure);
  const faint = () => colour("--faint");
  const chart = new uPlot(
    {
      ...size(),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
      scales: {
        x: { time: false, range: (_, from, to) => [from, to] },
        y: isSeries
          ? { range: (_, __, to) => [0, to || 1] }
          : { dir: figure.dataset.invert === undefined ? 1 : -1 },
      },
      axes: [
        { show: false },
        {
          stroke: faint,
          size: 56,
          font: "12px Figtree, sans-serif",
          grid: { stroke: () => colour("--line"), width: 1 },
          ticks: { show: false },
          values: (_, splits) => splits.map((value) => (Number.isInteger(value) ? value.toLocaleString(document.documentElement.lang) : "")),
        },
      ],
      series: [{}, { stroke: () => colour("--accent"), width: 2, points: { show: false }, spanGaps: !isSeries }],
      hooks: {
        setCursor: [
          (drawn) => {
            const point = points[drawn.cursor.idx ?? -1];
            tip.hidden = !point;
            if (point) tip.textContent = `${point.when} · ${point.shown}`;
          },
        ],
      },
    },
    [points.map((_, index) => index), points.map((point) => point.value)],
    (drawn, start) => {
      plot.replaceChildren(drawn.root, tip);
      start();
    },
  );
  new ResizeObserver(() => chart.setSize(size())).observe(plot);
  const redraw = () => chart.redraw(false);
  document.addEventListener("theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

/**
 * Return the rows of the table: when, and the value as number and as shown.
 * @param {HTMLElement} figure
 */
function readTable(figure) {
  const points = [];
  for (const row of figure.querySelectorAll("tbody tr")) {
    const [when, shown] = row.children;
    const value = row.querySelector("data")?.value;
    points.push({
      when: when?.textContent?.trim() ?? "",
      shown: shown?.textContent?.trim() ?? "",
      value: value ? Number(value) : null,
    });
  }
  return points;
}

/**
 * Return the values of a figure with times: one each `data-step` seconds from `data-first`, and none for a gap.
 * @param {HTMLElement} figure
 */
function readValues(figure) {
  const { values = "", first, step, unit } = figure.dataset;
  const language = document.documentElement.lang;
  const times = new Intl.DateTimeFormat(language, { timeStyle: "short" });
  return values.split(",").map((value, index) => ({
    when: times.format((Number(first) + index * Number(step)) * 1000),
    shown: value === "" ? "-" : `${Number(value).toLocaleString(language)} ${unit ?? ""}`.trim(),
    value: value === "" ? null : Number(value),
  }));
}

/**
 * Return a function from the name of a token to its colour in the present theme.
 * @param {HTMLElement} figure
 */
function colours(figure) {
  const probe = document.createElement("i");
  probe.hidden = true;
  figure.append(probe);
  /** @param {string} token */
  return (token) => {
    probe.className = `token${token}`;
    return getComputedStyle(probe).color;
  };
}
