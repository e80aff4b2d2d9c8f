"use strict";
// Shows one epoch at a time. The page has all pictures; data: where each is on the charts.
(() => {
  const one = (id) => document.getElementById(id);
  const frames = [...document.querySelectorAll(".frame")], slider = one("slider"), play = one("play");
  const across = JSON.parse(one("data").textContent), last = frames.length - 1;
  const cursors = [...document.querySelectorAll(".timed figure > svg")].map((chart) => {
    const cursor = document.createElementNS(chart.namespaceURI, "path");
    cursor.setAttribute("class", "cursor");
    chart.append(cursor);
    return cursor;
  });
  const buttons = {first: () => 0, back: () => now - 1, next: () => now + 1, last: () => last};
  let now = 0, timer = 0;

  function show(frame) {
    now = Math.min(Math.max(frame, 0), last);
    frames.forEach((each, n) => { each.hidden = n !== now; });
    for (const cursor of cursors) cursor.setAttribute("d", `M${across[now]} 10V238`);
    const told = frames[now].querySelector("figcaption").textContent;
    slider.value = now;
    slider.setAttribute("aria-valuetext", told);
    one("where").textContent = told;
    one("first").disabled = one("back").disabled = now === 0;
    one("last").disabled = one("next").disabled = now === last;
    if (timer && now === last) pause();
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    one("where").setAttribute("aria-live", "polite");
  }

  play.addEventListener("click", () => {
    if (timer) return pause();
    if (now === last) show(0);
    one("where").setAttribute("aria-live", "off");
    timer = setInterval(() => show(now + 1), 350);
    play.textContent = "Pause";
  });
  const go = (frame) => { pause(); show(frame); };
  for (const [name, to] of Object.entries(buttons)) one(name).addEventListener("click", () => go(to()));
  slider.addEventListener("input", () => go(Number(slider.value)));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("input,.wide,.formula")) return;
    if (event.key === "ArrowRight") go(now + 1);
    else if (event.key === "ArrowLeft") go(now - 1);
    else return;
    event.preventDefault();
  });
  document.body.classList.add("walking");
  document.querySelector(".controls").hidden = false;
  slider.max = last;
  show(0);
})();
