// Looks for a newer page and takes over what has changed. Cards stay as they are while one is being looked at.
const POLL_MS = 2000;

function beingLookedAt() {
  return [...document.querySelectorAll(".card:not([hidden])")].some((card) => {
    const { top, bottom } = card.getBoundingClientRect();
    return top < innerHeight && bottom > 0;
  });
}

async function text(path) {
  const response = await fetch(path, { cache: "no-store" });
  return response.ok ? response.text() : null;
}

async function refresh() {
  const shown = document.documentElement.dataset;
  const newest = await text("/version");
  if (newest === null || newest === shown.version || beingLookedAt()) return;
  const page = new DOMParser().parseFromString(await text("/"), "text/html");
  const details = () => [...document.querySelectorAll("main > header details")];
  const open = details().filter((one) => one.open).map((one) => one.firstChild.textContent);
  document.querySelector("main").replaceWith(page.querySelector("main"));
  for (const one of details()) one.open = open.includes(one.firstChild.textContent);
  shown.version = page.documentElement.dataset.version;
  document.title = page.title;
  setUpAll();
}

setInterval(() => refresh().catch(() => {}), POLL_MS);
