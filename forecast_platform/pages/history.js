"use strict";
// The fan chart of a chosen day, from the numbers on the page.
document.addEventListener("DOMContentLoaded", function () {
  var data = JSON.parse(document.getElementById("history-data").textContent);
  var input = document.getElementById("day"), said = document.getElementById("said"), full = document.getElementById("full");
  var DAY = 86400000;

  function later(date, days) { return new Date(Date.parse(date + "T00:00:00Z") + days * DAY).toISOString().slice(0, 10); }
  function price(value) { return value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }); }

  function figureOf(row) {
    var date = data.dates[row], horizon = data.median[row].length, from = later(date, -60), x = [], closes = { x: [], y: [] };
    data.closes[0].forEach(function (day, place) {
      if (day >= from && day < date) { closes.x.push(day); closes.y.push(data.closes[1][place]); }
    });
    var anchor = closes.y.length ? [closes.y[closes.y.length - 1]] : [];
    if (anchor.length) { x.push(closes.x[closes.x.length - 1]); }
    for (var day = 0; day < horizon; day++) { x.push(later(date, day)); }
    var traces = [95, 80].map(function (level) {
      var upper = anchor.concat(data["upper_" + level][row]), lower = anchor.concat(data["lower_" + level][row]);
      return { type: "scatter", x: x.concat(x.slice().reverse()), y: upper.concat(lower.slice().reverse()), fill: "toself",
        fillcolor: "var(--band" + level + ")", line: { width: 0 }, mode: "lines", name: level + " % band", hoverinfo: "skip" };
    });
    traces.push({ type: "scatter", x: closes.x, y: closes.y, mode: "lines", line: { width: 2, color: "var(--ink)" }, name: "close", hovertemplate: "%{y:,.6~r}" });
    traces.push({ type: "scatter", x: x, y: anchor.concat(data.median[row]), mode: "lines", line: { width: 3, color: "var(--accent)" }, name: "median", hovertemplate: "%{y:,.6~r}" });
    var seen = { x: [], y: [] };
    data.actual[row].forEach(function (value, day) { if (value !== null) { seen.x.push(later(date, day)); seen.y.push(value); } });
    if (seen.x.length) {
      traces.push({ type: "scatter", x: seen.x, y: seen.y, mode: "lines+markers", line: { width: 1.6, color: "var(--bad)" }, marker: { size: 6 }, name: "actual close", hovertemplate: "%{y:,.6~r}" });
    }
    return { data: traces, layout: { hovermode: "x unified", margin: { l: 60, r: 16, t: 40, b: 30 },
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 }, xaxis: { showgrid: false, hoverformat: "%a %d %b %Y" },
      yaxis: { title: { text: data.unit ? "Close (" + data.unit.replace(/&/g, "&amp;").replace(/</g, "&lt;") + ")" : "Close" }, tickformat: ",~r", zeroline: false } } };
  }

  function words(row) {
    var end = data.median[row].length - 1, last = -1, unit = data.unit ? " " + data.unit : "";
    data.actual[row].forEach(function (value, day) { if (value !== null) { last = day; } });
    var text = "Forecast of " + data.dates[row] + ": in " + (end + 1) + " days " + price(data.median[row][end]) + unit +
      " (median), 80 % band " + price(data.lower_80[row][end]) + " to " + price(data.upper_80[row][end]) + ". ";
    if (last < 0) { return text + "No close has been seen since."; }
    var close = data.actual[row][last];
    var where = close >= data.lower_80[row][last] && close <= data.upper_80[row][last] ? "inside 80 %"
      : close >= data.lower_95[row][last] && close <= data.upper_95[row][last] ? "inside 95 %" : "outside 95 %";
    return text + "The close of " + later(data.dates[row], last) + ", day " + (last + 1) + ", was " + price(close) + ": " + where + ".";
  }

  function show(date) {
    var row = data.dates.indexOf(date);
    if (row < 0) { said.textContent = "There is no forecast of " + date + " on this page."; return; }
    input.value = date;
    said.textContent = words(row);
    full.href = data.full + "_" + date + ".html";
    // Made on demand by `forecast-platform up`; from a folder only some of them are there.
    full.hidden = location.protocol === "file:";
    pages.figures["day-chart"] = figureOf(row);
    return pages.changed("day-chart");
  }

  function step(by) {
    var row = data.dates.indexOf(input.value) + by;
    if (row >= 0 && row < data.dates.length) { show(data.dates[row]); }
  }

  document.getElementById("before").addEventListener("click", function () { step(-1); });
  document.getElementById("after").addEventListener("click", function () { step(1); });
  input.addEventListener("change", function () { show(input.value); });
  show(data.dates[data.dates.length - 1]);
  pages.drawn("hits", function (box) {
    box.on("plotly_click", function (event) {
      var point = event.points.find(function (one) { return one.customdata; });
      if (point) { show(point.customdata); document.getElementById("day-chart").scrollIntoView({ behavior: "smooth", block: "center" }); }
    });
  });
});
