"use strict";
// What every page does: draws its charts in the colours of the reader's theme, offers downloads, and says when it is old.
(function () {
  var narrow = matchMedia("(max-width: 640px)"), dark = matchMedia("(prefers-color-scheme: dark)");
  var all = function (query, root) { return Array.prototype.slice.call((root || document).querySelectorAll(query)); };

  function resolved(value, style) {
    if (typeof value === "string") {
      return value.slice(0, 4) === "var(" ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) {
      // Long lists are numbers and dates, in which nothing is to be found.
      return value.length > 400 ? value : value.map(function (one) { return resolved(one, style); });
    }
    if (value && typeof value === "object") {
      var found = {};
      Object.keys(value).forEach(function (name) { found[name] = resolved(value[name], style); });
      return found;
    }
    return value;
  }

  function layoutOf(figure, box) {
    var style = getComputedStyle(document.documentElement), colour = function (name) { return style.getPropertyValue(name).trim(); };
    var axis = { gridcolor: colour("--grid"), zerolinecolor: colour("--grid"), linecolor: colour("--line") };
    var layout = Object.assign({}, resolved(figure.layout, style));
    // Margins that are found by drawing cost a chart half its time: only for prices, whose digits nobody knows before.
    layout.template = { layout: { xaxis: axis, yaxis: Object.assign({ automargin: true }, axis), colorway: [colour("--accent")] } };
    // Dates are written in two lines where a year begins.
    layout.margin = Object.assign({}, layout.margin, { b: Math.max((layout.margin || {}).b || 0, 46) });
    layout.height = +box.dataset.height;
    layout.autosize = true;
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") };
    layout.hoverlabel = { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
    layout.paper_bgcolor = layout.plot_bgcolor = colour("--panel");
    if (narrow.matches) {
      var margin = layout.margin || {};
      layout.margin = { l: Math.min(margin.l || 50, 50), r: 8, t: margin.t || 20, b: margin.b || 36 };
      if (layout.showlegend !== false && figure.data.length > 1) {
        layout.margin.t = Math.min(layout.margin.t, 24);
        // Below the chart: beside or above it a legend of several lines covers what it explains.
        var names = figure.data.filter(function (one) { return one.showlegend !== false; }).map(function (one) { return one.name || ""; });
        var long = names.some(function (name) { return name.length > 16; });
        var space = 14 + 20 * Math.ceil(names.length / (long ? 1 : 2));
        layout.legend = Object.assign({}, layout.legend, { orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom", font: { size: 11 } });
        layout.height += space;
        layout.margin.b += space;
      }
      layout.annotations = (layout.annotations || []).map(function (one) { return Object.assign({}, one, { font: { size: 10.5 } }); });
    }
    return layout;
  }

  var script = null;
  function plotly() {
    // plotly's script is the heaviest part of a page: fetched once the text is on the screen, and only for charts.
    script = script || new Promise(function (done) {
      var element = document.createElement("script");
      element.src = document.documentElement.dataset.plotly;
      element.addEventListener("load", done);
      document.head.appendChild(element);
    });
    return script;
  }

  var pages = window.pages = {
    figures: {},
    first: {},
    shown: {},
    // Calls `then` with the chart's element once it is drawn for the first time, or now where it is.
    drawn: function (name, then) { if (pages.shown[name]) { then(pages.shown[name]); } else { pages.first[name] = then; } },
    draw: function (name) {
      var figure = pages.figures[name], box = document.getElementById(name);
      var style = getComputedStyle(document.documentElement);
      var config = { displayModeBar: false, responsive: true };
      charts.describe(box, figure);
      return plotly().then(function () {
        // The still picture goes in the moment in which the chart comes.
        var still = box.querySelector(".still");
        if (still) { still.remove(); }
        return Plotly.react(box, resolved(figure.data, style), layoutOf(figure, box), config);
      }).then(function () {
        pages.shown[name] = box;
        if (pages.first[name]) { pages.first[name](box); delete pages.first[name]; }
      });
    },
    // Draws a chart anew where it is on the screen already; one further down is drawn when it comes into view.
    changed: function (name) { if (pages.shown[name]) { return pages.draw(name); } charts.describe(document.getElementById(name), pages.figures[name]); },
    drawAll: function () {
      return Promise.all(Object.keys(pages.figures).filter(function (name) { return !pages.shown[name]; }).map(pages.draw));
    },
    redraw: function () { Object.keys(pages.shown).forEach(pages.draw); },
    saved: function (name, type, text) {
      var link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: type }));
      link.download = name;
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
    },
    csvOfTable: function (table) {
      return all("tr", table).map(function (row) {
        return all("th,td", row).map(function (cell) { return quoted(cell.dataset.value || cell.textContent.trim()); }).join(",");
      }).join("\r\n") + "\r\n";
    },
    csvOfFigure: function (figure) {
      var rows = [["trace", "x", "y"]];
      figure.data.forEach(function (trace) {
        if (trace.type === "heatmap") {
          trace.y.forEach(function (label, row) {
            trace.x.forEach(function (x, column) { rows.push([label.trim(), x, trace.text ? trace.text[row][column] : trace.z[row][column]]); });
          });
        } else {
          (trace.x || []).forEach(function (x, place) { if (x !== null) { rows.push([trace.name || "", x, trace.y[place]]); } });
        }
      });
      return rows.map(function (row) { return row.map(quoted).join(","); }).join("\r\n") + "\r\n";
    }
  };

  function quoted(value) {
    var text = value === null || value === undefined ? "" : String(value);
    // A spreadsheet runs what begins so, but for a number.
    if (/^[=+\-@\t]/.test(text) && !/^[+-]?[\d.]/.test(text)) { text = "'" + text; }
    return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }

  function button(text, label, action) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", action);
    return made;
  }

  function toolsBefore(element, buttons) {
    var tools = document.createElement("div");
    tools.className = "tools";
    buttons.forEach(function (one) { tools.appendChild(one); });
    element.parentNode.insertBefore(tools, element);
  }

  function fileName(title) {
    return (location.pathname.split("/").pop().replace(/\.html$/, "") || "page") + "_" + title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  }

  function titleOf(element) {
    var section = element.closest("section"), heading = section && section.querySelector("h2");
    return heading ? heading.textContent.trim() : document.title;
  }

  function addTools() {
    all(".plot").forEach(function (box) {
      var title = titleOf(box), name = fileName(title);
      toolsBefore(box, [
        button("PNG", "Download the chart as PNG: " + title, function () {
          pages.draw(box.id).then(function () { Plotly.downloadImage(box, { format: "png", scale: 2, width: box.clientWidth, height: box.clientHeight, filename: name }); });
        }),
        button("CSV", "Download the chart's data as CSV: " + title, function () {
          pages.saved(name + "_chart.csv", "text/csv", pages.csvOfFigure(pages.figures[box.id]));
        })
      ]);
    });
    all(".scroll > table").forEach(function (table) {
      var title = titleOf(table), name = fileName(title);
      toolsBefore(table.parentNode, [
        button("CSV", "Download the table as CSV: " + title, function () { pages.saved(name + ".csv", "text/csv", pages.csvOfTable(table)); })
      ]);
    });
  }

  function sayWhetherOld() {
    // A page that nothing renews looks as it did on its day: from when a newer one was due it says so itself.
    var note = document.getElementById("outdated");
    if (!note || Date.now() <= Date.parse(note.dataset.due)) { return; }
    note.hidden = false;
    // What was fresh on its day is no more.
    all(".banner.fresh").forEach(function (one) { one.hidden = true; });
  }

  function reachable() {
    // A table that scrolls must be reached by the keyboard; one that does not is no stop on the way.
    all(".scroll").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth) { box.tabIndex = 0; } else { box.removeAttribute("tabindex"); }
    });
  }

  function dayForms() {
    all("form.day").forEach(function (form) {
      if (location.protocol === "file:") { form.hidden = true; return; }
      form.addEventListener("submit", function (event) {
        event.preventDefault();
        var date = form.querySelector("input").value;
        if (date) { location.href = form.querySelector("select").value + "_" + date + ".html"; }
      });
    });
  }

  function inView() {
    // What can be seen is drawn first, the rest as it comes near: few readers scroll to the end of a long page.
    var boxes = all(".plot"), root = document.documentElement;
    var shown = function () { requestAnimationFrame(function () { root.dataset.shown = root.dataset.shown || Math.round(performance.now()); }); };
    var done = function () { shown(); root.dataset.drawn = root.dataset.drawn || Math.round(performance.now()); };
    if (!boxes.length) { done(); return; }
    var look = new IntersectionObserver(function (entries) {
      var near = entries.filter(function (one) { return one.isIntersecting && pages.figures[one.target.id]; });
      near.forEach(function (one) { look.unobserve(one.target); });
      // What is in view is shown with the text where each chart there has its still picture.
      if (near.every(function (one) { return one.target.querySelector(".still"); })) { shown(); }
      // The text is on the screen before a chart keeps the browser busy.
      requestAnimationFrame(function () { setTimeout(function () {
        near.reduce(function (before, one) { return before.then(function () { return pages.draw(one.target.id); }); }, Promise.resolve()).then(done);
      }, 0); });
    }, { rootMargin: "200px 0px" });
    boxes.forEach(function (box) { look.observe(box); });
    addEventListener("beforeprint", pages.drawAll);
  }

  document.addEventListener("DOMContentLoaded", function () {
    all('script[type="application/json"][data-plot]').forEach(function (source) {
      pages.figures[source.dataset.plot] = JSON.parse(source.textContent);
      charts.describe(document.getElementById(source.dataset.plot), pages.figures[source.dataset.plot]);
    });
    sayWhetherOld();
    addTools();
    dayForms();
    reachable();
    inView();
    [narrow, dark].forEach(function (query) { query.addEventListener("change", pages.redraw); });
    addEventListener("resize", reachable);
  });
})();
