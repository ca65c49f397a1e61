() => {
  // a citation opens the passage that it names, and goes there
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a.cite");
    if (!link) return;
    const passage = document.getElementById(link.getAttribute("href").slice(1));
    if (!passage) return;
    event.preventDefault();
    passage.parentElement.open = true;
    passage.open = true;
    const summary = passage.querySelector("summary");
    summary.focus({ preventScroll: true });
    passage.scrollIntoView({ block: "nearest" });
  });
  // what a reader opened stays open when the next words come
  const open = new Set();
  document.addEventListener("toggle", (event) => {
    if (event.target.id) open[event.target.open ? "add" : "delete"](event.target.id);
  }, true);
  const talk = document.getElementById("talk");
  if (!talk) return;
  talk.setAttribute("role", "log");
  talk.setAttribute("aria-label", "Conversation");
  talk.setAttribute("aria-live", "polite");
  let count = 0;
  new MutationObserver(() => {
    for (const id of open) { const found = document.getElementById(id); if (found && !found.open) found.open = true; }
    const turns = talk.querySelectorAll(".turn");
    if (turns.length > count) turns[turns.length - 1].scrollIntoView({ block: "start" });
    count = turns.length;
  }).observe(talk, { childList: true, subtree: true });
}
