// Filters of the cards. Without JavaScript every card is shown in order and the buttons stay hidden.
for (const bar of document.querySelectorAll(".filters")) {
  const list = bar.nextElementSibling;
  const cards = [...list.children];
  const buttons = [...bar.querySelectorAll("button")];
  const apply = (button) => {
    const { show, sort } = button.dataset;
    const [field, direction] = sort.split(":");
    const order = sort
      ? [...cards].sort((a, b) => direction * (a.dataset[field] - b.dataset[field]))
      : cards;
    list.append(...order);
    let shown = 0;
    for (const card of cards) {
      card.hidden = show !== "" && !card.classList.contains(show);
      shown += !card.hidden;
    }
    for (const other of buttons) other.setAttribute("aria-pressed", other === button);
    bar.querySelector("output").textContent = `${shown} of ${cards.length}`;
  };
  for (const button of buttons) {
    const { show } = button.dataset;
    if (show) {
      const matching = cards.filter((card) => card.classList.contains(show)).length;
      button.textContent += ` (${matching})`;
      button.disabled = matching === 0;
    }
    button.addEventListener("click", () => apply(button));
  }
  apply(buttons[0]);
  bar.hidden = false;
}
