"use strict";
// The theme button, copying, sorting, tabs, and reading values off the charts by pointer, touch or arrow keys. Values come
// from the table that stands below each chart, so that the tooltip and the table cannot disagree.
(() => {
  const root = document.documentElement;
  const SVG = "http://www.w3.org/2000/svg";
  const STORE = "mezzotint-theme";

  // ---- theme ----
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const recall = () => { try { return localStorage.getItem(STORE); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem(STORE, theme); } catch { return; } };
  const theme = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const kept = recall();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;

  const setUpTheme = () => {
    const button = document.getElementById("theme");
    const say = () => {
      const other = theme() === "dark" ? "light" : "dark";
      button.textContent = other === "dark" ? "Dark" : "Light";
      button.setAttribute("aria-label", `Switch to ${other} colours`);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = theme() === "dark" ? "light" : "dark";
      store(root.dataset.theme);
      say();
    });
    dark.addEventListener("change", say);
    say();
  };

  // ---- reading charts ----
  const numbers = (text) => (text ? text.split(" ").map(Number) : []);
  const nearest = (places, value) => {
    let best = 0;
    places.forEach((place, index) => { if (Math.abs(place - value) < Math.abs(places[best] - value)) best = index; });
    return best;
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // The chart whose tooltip is shown; it moves along when the page scrolls.
  let active = null;
  const setUpChart = (svg, tip) => {
    const table = svg.closest("figure").querySelector("table");
    const kind = svg.dataset.hit;
    const [left, top, right, bottom] = numbers(svg.dataset.frame);
    const xs = numbers(svg.dataset.xs), ys = numbers(svg.dataset.ys);
    const items = [...svg.querySelectorAll(".item")];
    if (!table || !(xs.length || ys.length || items.length)) return;
    const place = { row: -1, column: -1 };
    let spot = [0, 0];
    const marks = document.createElementNS(SVG, "g");
    svg.append(marks);

    const draw = (name, attributes, style) => {
      const mark = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) mark.setAttribute(key, value);
      mark.setAttribute("class", style);
      marks.append(mark);
    };
    // A line's points stand in its path, with the same x text as in data-xs.
    const dots = (x) => {
      for (const path of svg.querySelectorAll("path.line")) {
        // The last of two points above each other is the value; the first is the corner of a stepped line.
        const found = [...path.getAttribute("d").matchAll(new RegExp(`[ML]${x} (-?[\\d.]+)`, "g"))].pop();
        if (!found) continue;
        const series = path.getAttribute("class").match(/s\d|pale/) || [""];
        draw("circle", { cx: x, cy: found[1], r: 4 }, `dot ${series[0]}`);
      }
    };
    const point = () => {
      marks.replaceChildren();
      for (const item of items) item.classList.remove("lit");
      if (kind === "items") {
        const item = items[place.row], edge = item.getBBox();
        item.classList.add("lit");
        return [edge.x + edge.width / 2, edge.y + Math.min(edge.height / 2, 40)];
      }
      if (kind === "x") {
        const x = xs[place.row];
        draw("path", { d: `M${x} ${top}V${bottom}` }, "cursor");
        dots(String(x));
        return [x, top];
      }
      if (kind === "y") {
        const pitch = ys.length > 1 ? Math.abs(ys[1] - ys[0]) : bottom - top;
        const y = ys[place.row];
        draw("rect", { x: left, y: y - pitch / 2, width: right - left, height: pitch, rx: 4 }, "cursor wash");
        return [left + (right - left) / 2, y - pitch / 2];
      }
      const width = (right - left) / xs.length, height = (bottom - top) / ys.length;
      const x = xs[place.column], y = ys[place.row];
      draw("rect", { x: x - width / 2, y: y - height / 2, width, height }, "cursor");
      return [x, y - height / 2];
    };
    const pair = (name, value) => {
      const span = document.createElement("span"), strong = document.createElement("i");
      span.append(name);
      strong.textContent = value;
      span.append(strong);
      return span;
    };
    const tell = () => {
      const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
      const cells = [...table.tBodies[0].rows[place.row].cells].map((cell) => cell.textContent);
      const title = document.createElement("b");
      if (kind === "grid") {
        title.textContent = cells[0];
        tip.replaceChildren(title, pair(`${svg.dataset.each} ${heads[place.column + 1]}`, cells[place.column + 1]));
        return;
      }
      title.textContent = kind === "x" ? `${heads[0]} ${cells[0]}` : cells[0];
      tip.replaceChildren(title, ...heads.slice(1).map((head, index) => pair(head, cells[index + 1])));
    };
    const show = () => {
      if (active && active.hide !== hide) active.hide();
      spot = point();
      tell();
      tip.hidden = false;
      settle();
      active = { settle, hide, svg };
    };
    const settle = () => {
      const [x, y] = spot;
      const frame = svg.getBoundingClientRect(), own = tip.getBoundingClientRect();
      const unit = frame.width / svg.viewBox.baseVal.width;
      const above = frame.top + y * unit - own.height - 10;
      const wanted = frame.left + x * unit - own.width / 2;
      tip.style.left = `${clamp(wanted, 8, Math.max(innerWidth - own.width - 8, 8))}px`;
      tip.style.top = `${above < 56 ? frame.top + y * unit + 26 : above}px`;
    };
    const hide = () => {
      for (const item of items) item.classList.remove("lit");
      marks.replaceChildren();
      place.row = -1;
      // Another chart may have taken the tooltip over.
      if (active && active.hide === hide) { tip.hidden = true; active = null; }
    };
    const go = (row, column) => {
      const rows = kind === "items" ? items.length : kind === "x" ? xs.length : ys.length;
      const next = { row: clamp(row, 0, rows - 1), column: clamp(column, 0, Math.max(xs.length - 1, 0)) };
      if (next.row === place.row && next.column === place.column && !tip.hidden) return;
      Object.assign(place, next);
      show();
    };
    // Scrolling under a pointer that rests makes it leave: who reads by keys is not disturbed by that.
    let keyed = false;
    const follow = (event) => {
      keyed = false;
      if (kind === "items") {
        const met = items.indexOf(event.target.closest(".item"));
        if (met >= 0) go(met, 0);
        return;
      }
      const frame = svg.getBoundingClientRect();
      const unit = svg.viewBox.baseVal.width / frame.width;
      const x = (event.clientX - frame.left) * unit, y = (event.clientY - frame.top) * unit;
      go(kind === "x" ? nearest(xs, x) : nearest(ys, y), nearest(xs, x));
    };
    const steps = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
    const press = (event) => {
      const upright = event.key === "ArrowUp" || event.key === "ArrowDown";
      if (event.key === "Escape") { hide(); return; }
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      keyed = true;
      if (event.key === "Home") go(0, 0);
      else if (event.key === "End") go(Infinity, Infinity);
      else if (!(event.key in steps)) return;
      else if (place.row < 0) go(0, 0);
      else if (kind === "grid") go(place.row + (upright ? steps[event.key] : 0), place.column + (upright ? 0 : steps[event.key]));
      else go(place.row + steps[event.key], 0);
      event.preventDefault();
    };
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("pointerdown", follow);
    svg.addEventListener("pointerleave", () => { if (!keyed) hide(); });
    svg.addEventListener("keydown", press);
    svg.addEventListener("focus", () => { if (svg.matches(":focus-visible") && place.row < 0) go(Infinity, Infinity); });
    svg.addEventListener("blur", hide);
  };

  // ---- tables that sort ----
  const setUpSorting = (table) => {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const value = (row, place) => {
      const cell = row.cells[place];
      return cell.dataset.key !== undefined ? Number(cell.dataset.key) : cell.textContent.trim();
    };
    const numeric = (place) => [...body.rows].some((row) => row.cells[place].dataset.key !== undefined);
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        // Numbers are wanted largest first, words from A on.
        const first = numeric(place) ? "descending" : "ascending", other = first === "ascending" ? "descending" : "ascending";
        const wanted = head.getAttribute("aria-sort") === first ? other : first;
        for (const one of heads) one.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", wanted);
        const sign = wanted === "ascending" ? 1 : -1;
        const rows = [...body.rows].sort((a, b) => {
          const x = value(a, place), y = value(b, place);
          if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
          return sign * (typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true }));
        });
        body.append(...rows);
      });
    });
  };

  // ---- copying ----
  const setUpCopy = (button) => {
    const source = () => (button.dataset.copy ? document.getElementById(button.dataset.copy) : button.previousElementSibling);
    const select = () => { getSelection().selectAllChildren(source()); return document.execCommand("copy"); };
    button.hidden = false;
    button.addEventListener("click", async () => {
      let done;
      try { await navigator.clipboard.writeText(source().innerText); done = true; } catch { done = select(); }
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  };

  // ---- tabs ----
  const chosen = {};  // remembered while a page that is served renews its sections
  const setUpTabs = (list) => {
    const tabs = [...list.querySelectorAll('[role="tab"]')];
    const choose = (tab, focus) => {
      for (const one of tabs) {
        const own = one === tab;
        one.setAttribute("aria-selected", String(own));
        one.tabIndex = own ? 0 : -1;
        document.getElementById(one.getAttribute("aria-controls")).hidden = !own;
      }
      chosen[tabs[0].id] = tab.id;
      if (focus) tab.focus();
    };
    list.hidden = false;
    tabs.forEach((tab, place) => {
      tab.addEventListener("click", () => choose(tab, false));
      tab.addEventListener("keydown", (event) => {
        const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[event.key];
        if (to === undefined) return;
        choose(tabs[(to + tabs.length) % tabs.length], true);
        event.preventDefault();
      });
    });
    choose(tabs.find((tab) => tab.id === chosen[tabs[0].id]) || tabs[0], false);
  };

  // ---- where the reader is ----
  const setUpPlace = () => {
    const links = new Map([...document.querySelectorAll(".masthead nav a")].map((link) => [link.hash.slice(1), link]));
    const seen = new Set();
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const here = [...links.keys()].find((key) => seen.has(key));
      for (const [key, link] of links) {
        if (key === here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
      }
    }, { rootMargin: "-80px 0px -55% 0px" });
    for (const key of links.keys()) watcher.observe(document.getElementById(key));
  };

  // Everything inside an element; a served page calls it again for what it has renewed.
  const setUp = (part) => {
    const tip = document.getElementById("tip");
    for (const svg of part.querySelectorAll("svg[data-hit]")) setUpChart(svg, tip);
    for (const table of part.querySelectorAll("table.sortable")) setUpSorting(table);
    for (const button of part.querySelectorAll("button.copy")) setUpCopy(button);
    for (const list of part.querySelectorAll('[role="tablist"]')) setUpTabs(list);
  };
  // Whether the reader just reads values off a chart inside an element.
  window.mezzotint = { setUp, reading: (part) => active !== null && part.contains(active.svg) };

  document.addEventListener("DOMContentLoaded", () => {
    setUpTheme();
    setUp(document);
    setUpPlace();
    addEventListener("scroll", () => { if (active) active.settle(); }, { passive: true, capture: true });
    addEventListener("resize", () => { if (active) active.hide(); });
  });
})();
