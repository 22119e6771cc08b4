// Filters of the cards, stepping through them with keys, and one answer shown alone.
// Without JavaScript every card is shown in order and the bars stay hidden.
const chosen = new Map(); // section id -> what its bar shows, so that a live page keeps it

function setUp(bar) {
  const id = bar.parentElement.id;
  const list = bar.nextElementSibling;
  const cards = [...list.children];
  const buttons = [...bar.querySelectorAll("button")];
  const selects = [...bar.querySelectorAll("select")];
  const apply = (button) => {
    const { show, sort } = button.dataset;
    const [field, direction] = sort.split(":");
    const order = sort
      ? [...cards].sort((a, b) => direction * (a.dataset[field] - b.dataset[field]))
      : cards;
    list.append(...order);
    let shown = 0;
    for (const card of cards) {
      const matches = selects.every(({ value }) => value === "" || card.dataset.kinds.split("\n").includes(value));
      card.hidden = !matches || (show !== "" && !card.classList.contains(show));
      shown += !card.hidden;
    }
    for (const other of buttons) other.setAttribute("aria-pressed", other === button);
    bar.querySelector("output").textContent = `${shown} of ${cards.length}`;
    chosen.set(id, [button.firstChild.data, selects.map(({ ariaLabel, value }) => [ariaLabel, value])]);
  };
  const pressed = () => buttons.find((button) => button.getAttribute("aria-pressed") === "true") ?? buttons[0];
  const [label, values] = chosen.get(id) ?? ["", []];
  for (const button of buttons) {
    const { show } = button.dataset;
    if (show) {
      const matching = cards.filter((card) => card.classList.contains(show)).length;
      button.append(` (${matching})`);
      button.disabled = matching === 0;
    }
    button.addEventListener("click", () => apply(button));
  }
  for (const select of selects) {
    select.addEventListener("change", () => apply(pressed()));
    const [, value] = values.find(([name]) => name === select.ariaLabel) ?? [];
    if ([...select.options].some((option) => option.value === value)) select.value = value;
  }
  apply(buttons.find((button) => button.firstChild.data === label && !button.disabled) ?? buttons[0]);
  bar.hidden = false;
}

function setUpAll() {
  for (const bar of document.querySelectorAll(".filters")) setUp(bar);
}

const FORWARD = new Set(["j", "ArrowRight"]);
const BACK = new Set(["k", "ArrowLeft"]);
document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("select, input, textarea")) return;
  if (!FORWARD.has(key) && !BACK.has(key)) return;
  const cards = [...document.querySelectorAll(".card:not([hidden])")];
  const here = cards.indexOf(document.activeElement?.closest(".card"));
  const below = cards.findIndex((card) => card.getBoundingClientRect().top >= 0);
  const next = here >= 0 ? here + (FORWARD.has(key) ? 1 : -1) : FORWARD.has(key) ? below : below - 1;
  const card = cards[next];
  if (!card) return;
  event.preventDefault();
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start" });
});

// The row of the table that is pointed at dims every other answer in the card's drawings.
document.addEventListener("pointerover", ({ target }) => {
  for (const drawn of document.querySelectorAll(".dimmed")) drawn.classList.remove("dimmed");
  const row = target.closest("tr[data-answer]");
  for (const drawn of row?.closest(".card").querySelectorAll("[data-answers]") ?? []) {
    drawn.classList.toggle("dimmed", !drawn.dataset.answers.split(" ").includes(row.dataset.answer));
  }
});

setUpAll();
