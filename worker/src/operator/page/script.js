// The pages work without this. It keeps the overview current while somebody looks, moves to the search box, chooses all, and
// shows which section this is where there is no room for all of them.
"use strict";

const REFRESH_MS = 10_000;

async function refresh() {
  const live = document.querySelector("[data-live]");
  // Not under the keyboard's focus: it would be lost.
  if (!live || document.hidden || live.contains(document.activeElement)) return;
  const answer = await fetch(location.href, { headers: { "x-background": "1" }, redirect: "error" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (fresh) live.replaceWith(fresh);
}

setInterval(() => refresh().catch(() => {}), REFRESH_MS);

document.addEventListener("keydown", (event) => {
  const box = document.querySelector("#q");
  if (event.key !== "/" || !box || event.target.closest("input, select, textarea")) return;
  event.preventDefault();
  box.focus();
});

for (const button of document.querySelectorAll("[data-choose-all]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const boxes = [...document.querySelectorAll('input[type="checkbox"][name="id"]:not(:disabled)')];
    const all = boxes.some((box) => !box.checked);
    for (const box of boxes) box.checked = all;
  });
}

document.querySelector("header nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
