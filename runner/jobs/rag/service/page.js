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
  let count = 0, atEnd = true;
  const root = document.scrollingElement;
  // who reads further up is left there
  window.addEventListener("scroll", () => { atEnd = root.scrollHeight - root.scrollTop - innerHeight < 80; }, { passive: true });
  new MutationObserver(() => {
    for (const id of open) { const found = document.getElementById(id); if (found && !found.open) found.open = true; }
    const turns = talk.querySelectorAll(".turn");
    if (turns.length > count) turns[turns.length - 1].scrollIntoView({ block: "start" });
    else if (atEnd && turns.length) root.scrollTop = root.scrollHeight;
    count = turns.length;
  }).observe(talk, { childList: true, subtree: true });
}
