"use strict";
(() => {
  const value = cell => cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v;
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    if (a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b, undefined, { numeric: true });
  };
  const sort = (table, index, descending) => {
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [value(a.cells[index]), value(b.cells[index])];
      if ((x === "-") !== (y === "-")) return x === "-" ? 1 : -1;  // what is not known comes last
      return descending ? compare(y, x) : compare(x, y);
    });
    table.tBodies[0].append(...rows);
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      if (i === index) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  document.addEventListener("click", event => {
    const head = event.target.closest("table.sortable thead th");
    if (head) sort(head.closest("table"), head.cellIndex, head.getAttribute("aria-sort") === "ascending");
  });
  const filter = () => {
    const box = document.getElementById("filter");
    if (!box) return;
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    const rows = document.querySelectorAll("table.runs tbody tr");
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    document.getElementById("shown").textContent = words.length ? `${shown} of ${rows.length}` : "";
  };
  document.addEventListener("input", event => { if (event.target.id === "filter") filter(); });

  if (!("live" in document.body.dataset)) return;
  // While runs go on the page asks whether anything is new, and takes its main part anew: what a person typed, sorted,
  // opened or scrolled to stays.
  let known = null;
  const state = () => ({
    typed: document.getElementById("filter")?.value ?? "",
    closed: [...document.querySelectorAll("details")].map(each => [each.id, each.open]),
    sorted: [...document.querySelectorAll("table.sortable")].map((table, at) => {
      const head = table.querySelector("th[aria-sort]");
      return head ? [at, head.cellIndex, head.getAttribute("aria-sort") === "descending"] : null;
    }).filter(Boolean),
    focused: document.activeElement?.id,
  });
  const restore = kept => {
    const box = document.getElementById("filter");
    if (box) box.value = kept.typed;
    for (const [id, open] of kept.closed) { const each = id && document.getElementById(id); if (each) each.open = open; }
    const tables = document.querySelectorAll("table.sortable");
    for (const [at, index, descending] of kept.sorted) if (tables[at]) sort(tables[at], index, descending);
    if (kept.focused) document.getElementById(kept.focused)?.focus({ preventScroll: true });
    filter();
  };
  const look = async () => {
    try {
      const version = await (await fetch("version")).text();
      if (known !== null && version !== known) {
        const fresh = new DOMParser().parseFromString(await (await fetch("./")).text(), "text/html");
        const [kept, at] = [state(), [scrollX, scrollY]];
        for (const part of ["main", "nav", "#made"]) document.querySelector(part).replaceWith(fresh.querySelector(part));
        restore(kept);
        scrollTo(...at);
      }
      known = version;
      document.body.classList.remove("gone");
    } catch { document.body.classList.add("gone"); }
    setTimeout(look, document.hidden ? 10000 : 2000);
  };
  look();
})();
