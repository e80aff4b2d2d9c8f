"use strict";
// Walks through the steps. They come as HTML from the page's data, deflated JSON, and numbers as text,
// as they are to be shown: rows[r] = {h, a, d} by layer and unit; weights W, G, N by layer, unit and
// unit below; after[r].
(async () => {
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const one = (id) => document.getElementById(id);
  const packed = Uint8Array.from(atob(one("data").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(unpacked).json();
  one("steps").innerHTML = data.html;
  const steps = all(".step"), units = all(".unit"), net = one("net");
  const slider = one("slider"), rowChoice = one("row");
  const buttons = {first: () => 0, back: () => now - 1, next: () => now + 1, last: () => steps.length - 1};
  const size = (text) => parseFloat(text.replace("−", "-").replace("e−", "e-"));
  const largest = (values) => Math.max(...values.flat(9).map((text) => Math.abs(size(text))), 1e-300);
  let now = 0, row = 0, chosen = "";

  // What unit i of layer k shows at a step; "" where it is not known yet.
  function quantity(name, k, i, at) {
    const again = k > 0 && k <= at.new ? data.after[row] : data.rows[row];
    if (name === "h") return k <= at.h ? again.h[k][i] : "";
    if (name === "a") return k <= at.a ? again.a[k][i] : "";
    return k >= at.d ? data.rows[row].d[k][i] : "";
  }

  function drawUnits(at) {
    for (const unit of units) {
      const [k, i] = unit.dataset.unit.split(".").map(Number), shown = [];
      for (const text of all("[data-u]", unit)) {
        const value = quantity(text.dataset.u, k, i, at);
        text.textContent = value || "·";
        if (value) shown.push(text.dataset.u.replace("δ", "delta") + " " + value);
      }
      unit.setAttribute("aria-label",
        `Unit ${i} of layer ${k}: ${shown.join(", ") || "no number is known yet"}`);
      const box = unit.querySelector("rect"), h = size(quantity("h", k, i, at) || "0");
      box.setAttribute("class", h > 0 ? "p" : h < 0 ? "n" : "");
      const share = Math.abs(h) / largest(data.rows[row].h[k]);
      box.style.setProperty("--t", Math.round(38 * Math.min(share, 1)) + "%");
      unit.classList.toggle("on", at.on.includes(k));
    }
  }

  function drawWeights(at) {
    const behind = at.new >= 0 || at.edges === "N" ? "N" : "W", most = {};
    for (const name of ["W", "G", "N"]) most[name] = data[name] && data[name].map(largest);
    const of = (k) => at.on.includes(k) ? at.edges : behind;
    const number = (key, k) => {
      const [, i, j] = key.split(".").map(Number);
      return data[of(k)][k - 1][i][j];
    };
    for (const edge of all("[data-e]")) {
      const key = edge.dataset.e, k = Number(key.split(".")[0]), text = number(key, k);
      edge.setAttribute("stroke-width", (0.6 + 4 * Math.abs(size(text)) / most[of(k)][k - 1]).toFixed(1));
      edge.classList.toggle("pos", size(text) >= 0);
      edge.classList.toggle("neg", size(text) < 0);
      edge.classList.toggle("on", at.on.includes(k));
      edge.classList.toggle("of", touches(key));
    }
    for (const label of all("[data-w]")) {
      const key = label.dataset.w, k = Number(key.split(".")[0]);
      label.textContent = number(key, k);
      label.classList.toggle("on", at.on.includes(k));
      label.classList.toggle("of", touches(key));
    }
    const known = {W: "weights W", G: "slopes dL/dW", N: "weights W after the update"};
    one("lines-are").textContent = known[at.edges];
    net.classList.toggle("later", at.on.length > 0);
    net.classList.toggle("chosen", chosen !== "");
  }

  const touches = (key) => {
    const [k, i, j] = key.split(".");
    return chosen === `${k}.${i}` || chosen === `${k - 1}.${j}`;
  };

  function card(at) {
    const place = one("card");
    place.replaceChildren();
    for (const line of all(".line")) line.classList.toggle("marked", line.dataset.at === chosen && chosen !== "");
    if (chosen === "") return;
    const unit = units.find((each) => each.dataset.unit === chosen);
    const told = document.createElement("p");
    told.textContent = unit.getAttribute("aria-label") + ".";
    place.append(told);
    const [k, i] = chosen.split(".").map(Number), name = at.edges === "N" || at.new >= 0 ? "N" : "W";
    const add = (caption, heads, rows) => {
      const table = document.createElement("table"), head = table.createTHead().insertRow();
      table.createCaption().textContent = caption;
      for (const text of heads) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.textContent = text;
        head.append(cell);
      }
      const body = table.createTBody();
      for (const cells of rows) {
        const line = body.insertRow(), first = document.createElement("th");
        first.scope = "row";
        first.textContent = cells[0];
        line.append(first);
        for (const text of cells.slice(1)) line.insertCell().textContent = text;
      }
      place.append(table);
    };
    const slope = at.slopes ? ["dL/dW"] : [];
    const cells = (k, i, j) => [data[name][k - 1][i][j], ...(at.slopes ? [data.G[k - 1][i][j]] : [])];
    if (k > 0) add("From below", ["unit", "W", ...slope], data.W[k - 1][i].map((_, j) => [`${j}`, ...cells(k, i, j)]));
    if (k < data.W.length) add("To above", ["unit", "W", ...slope], data.W[k].map((_, j) => [`${j}`, ...cells(k + 1, j, i)]));
  }

  // A drawing wider than the screen moves to the layer that is worked on.
  function follow() {
    const unit = net.querySelector(".unit.on"), frame = net.closest(".wide");
    if (!unit) return;
    const at = unit.getBoundingClientRect(), within = frame.getBoundingClientRect();
    frame.scrollLeft += (at.left + at.right - within.left - within.right) / 2;
  }

  function show(step) {
    const before = now;
    now = Math.min(Math.max(step, 0), steps.length - 1);
    const at = data.steps[now], title = steps[now].querySelector("h2").textContent;
    steps.forEach((each, n) => { each.hidden = n !== now; });
    for (const each of all("[data-row]")) each.hidden = Number(each.dataset.row) !== row;
    slider.value = now;
    slider.setAttribute("aria-valuetext", `${now + 1} of ${steps.length}: ${title}`);
    one("first").disabled = one("back").disabled = now === 0;
    one("last").disabled = one("next").disabled = now === steps.length - 1;
    one("where").textContent = `Step ${now + 1} of ${steps.length}: ${title}`;
    one("loss").textContent = !at.loss ? "" : "L = " + (at.again ? data.loss[1] : data.loss[0]);
    drawUnits(at);
    drawWeights(at);
    card(at);
    if (now !== before) follow();
  }

  function choose(unit) {
    chosen = chosen === unit.dataset.unit ? "" : unit.dataset.unit;
    for (const each of units) each.setAttribute("aria-pressed", each.dataset.unit === chosen);
    show(now);
  }

  for (const [name, to] of Object.entries(buttons)) one(name).addEventListener("click", () => show(to()));
  slider.addEventListener("input", () => show(Number(slider.value)));
  if (rowChoice) rowChoice.addEventListener("change", () => { row = Number(rowChoice.value); show(now); });
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("input,select,.wide,.lines,.formula,pre")) return;
    if (event.key === "ArrowRight") show(now + 1);
    else if (event.key === "ArrowLeft") show(now - 1);
    else return;
    event.preventDefault();
  });
  units.forEach((unit, n) => {
    unit.addEventListener("click", () => choose(unit));
    unit.addEventListener("focus", () => {
      for (const each of units) each.setAttribute("tabindex", each === unit ? 0 : -1);
    });
    unit.addEventListener("keydown", (event) => {
      const to = {ArrowUp: n - 1, ArrowDown: n + 1}[event.key];
      if (event.key === "Enter" || event.key === " ") choose(unit);
      else if (to === undefined) return;
      else if (units[to]) units[to].focus();
      event.preventDefault();
    });
  });
  units[0].setAttribute("tabindex", 0);
  for (const each of all(".alone")) each.hidden = true;
  for (const each of all(".controls,.keys")) each.hidden = false;
  slider.max = steps.length - 1;
  show(0);
})();
