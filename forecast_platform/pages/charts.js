"use strict";
// Charts for those who do not see them, or have no mouse: a text, the numbers as a table, and arrow keys.
var charts = (function () {
  var MOST = 400, KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

  function shown(value) {
    return typeof value === "number" ? value.toLocaleString("en-US", { maximumSignificantDigits: 6 }) : String(value);
  }

  function panel(trace) { return trace.yaxis && trace.yaxis !== "y" ? trace.yaxis.slice(1) : "1"; }

  // A figure as columns of numbers by x: {names, rows: [x, values...]}. A band is two of them, a map one a row.
  function table(figure) {
    var columns = [], several = new Set(figure.data.map(panel)).size > 1;
    function add(name, trace, x, y) { columns.push({ name: several ? name + ", panel " + panel(trace) : name, x: x, y: y }); }
    figure.data.forEach(function (trace) {
      var name = trace.name || "value", x = trace.x || [], half = x.length / 2;
      if (trace.type === "heatmap") {
        trace.y.forEach(function (label, row) {
          add(label.trim(), trace, x, x.map(function (_, at) { return trace.text ? String(trace.text[row][at]).split("<br>").pop() : trace.z[row][at]; }));
        });
      } else if (trace.orientation === "h") { add(name, trace, trace.y, x);
      } else if (trace.fill === "toself") {
        add(name + " from", trace, x.slice(half).reverse(), trace.y.slice(half).reverse());
        add(name + " to", trace, x.slice(0, half), trace.y.slice(0, half));
      } else if (x.indexOf(null) < 0) { add(name, trace, x, trace.y); }
    });
    var places = new Map(), rows = [];
    columns.forEach(function (column, number) {
      column.x.forEach(function (x, at) {
        if (!places.has(x)) { places.set(x, rows.length); rows.push([x]); }
        rows[places.get(x)][number + 1] = column.y[at];
      });
    });
    rows.sort(function (a, b) { return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0; });
    return { names: columns.map(function (one) { return one.name.replace(/<br>/g, " "); }), rows: rows };
  }

  function known(value) { return value !== null && value !== undefined && value !== ""; }

  function words(names, row) {
    return row[0] + ": " + names.map(function (name, at) { return known(row[at + 1]) ? name + " " + shown(row[at + 1]) : ""; })
      .filter(Boolean).join(", ");
  }

  function cell(kind, text, scope) {
    var made = document.createElement(kind);
    made.textContent = text;
    if (scope) { made.scope = scope; }
    return made;
  }

  function fill(box, figure, place) {
    var found = table(figure), rows = found.rows.slice(-MOST), made = document.createElement("table"), head = made.createTHead().insertRow();
    var dated = rows.length && /^\d{4}-\d\d-\d\d/.test(rows[0][0]);
    head.appendChild(cell("th", dated ? "Date" : "At", "col"));
    found.names.forEach(function (name) { head.appendChild(cell("th", name, "col")); });
    var body = made.createTBody();
    rows.forEach(function (row) {
      var line = body.insertRow();
      line.appendChild(cell("th", shown(row[0]), "row"));
      found.names.forEach(function (_, at) { line.appendChild(cell("td", known(row[at + 1]) ? shown(row[at + 1]) : "", "")); });
    });
    place.replaceChildren(made);
    place.tabIndex = 0;
    place.setAttribute("role", "region");
    place.setAttribute("aria-label", "Numbers of " + box.dataset.named);
    if (rows.length < found.rows.length) {
      place.appendChild(cell("p", "The newest " + MOST + " of " + found.rows.length + " rows; all are in the CSV."));
    }
  }

  function walk(box) {
    box.addEventListener("keydown", function (event) {
      var step = KEYS[event.key], figure = box.figure;
      if (step === undefined || !figure || event.ctrlKey || event.metaKey || event.altKey) { return; }
      event.preventDefault();
      var found = table(figure), last = found.rows.length - 1;
      var from = box.at === undefined ? (step > 0 && step < Infinity ? -1 : last + 1) : box.at;
      box.at = Math.max(0, Math.min(last, from + step));
      var row = found.rows[box.at], points = [];
      box.said.textContent = words(found.names, row);
      if (!box.data) { return; }
      figure.data.forEach(function (trace, curve) {
        var point = trace.hoverinfo === "skip" || trace.type === "heatmap" || trace.orientation === "h" ? -1 : (trace.x || []).indexOf(row[0]);
        if (point >= 0) { points.push({ curveNumber: curve, pointNumber: point }); }
      });
      if (points.length) { Plotly.Fx.hover(box, points); } else { Plotly.Fx.unhover(box); }
    });
    box.addEventListener("blur", function () { if (box.data) { Plotly.Fx.unhover(box); } });
  }

  return {
    table: table,
    // What a chart is of, in words, and below it its numbers; brought up to date where the figure is another.
    describe: function (box, figure) {
      if (!figure || box.figure === figure) { return; }
      box.figure = figure;
      box.at = undefined;
      if (!box.said) {
        box.dataset.named = box.getAttribute("aria-label");
        box.tabIndex = 0;
        box.said = document.createElement("p");
        box.said.className = "said";
        box.said.setAttribute("aria-live", "polite");
        var numbers = document.createElement("details"), place = document.createElement("div");
        numbers.className = "numbers";
        numbers.appendChild(cell("summary", "Numbers of this chart"));
        place.className = "scroll";
        numbers.appendChild(place);
        numbers.addEventListener("toggle", function () { if (numbers.open) { fill(box, box.figure, place); } });
        box.after(box.said, numbers);
        box.numbers = numbers;
        walk(box);
      } else if (box.numbers.open) { fill(box, figure, box.numbers.lastChild); }
      var found = table(figure), rows = found.rows, names = found.names.slice(0, 8);
      var text = box.dataset.named + ": chart of " + names.join(", ") + (found.names.length > 8 ? " and others" : "");
      if (rows.length) { text += ", from " + shown(rows[0][0]) + " to " + words(names, rows[rows.length - 1]); }
      box.setAttribute("aria-label", text + ". Arrow keys move along it; its numbers follow as a table.");
    }
  };
})();
