"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const make = (tag, looks, text) => {
    const element = document.createElement(tag);
    if (looks) element.className = looks;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Tables: a heading sorts by its column, a field above keeps the rows that contain every word.
  const key = (cell) => {
    const value = cell.dataset.value;
    if (value === undefined) return cell.textContent.trim().toLowerCase();
    return value === "" ? null : Number(value);
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = make("button", "sort", heading.textContent.trim());
      button.type = "button";
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        // Numbers begin with the largest, texts with the first; a third click brings the original order back.
        const orders = heading.classList.contains("number") ? ["descending", "ascending"] : ["ascending", "descending"];
        const order = orders[orders.indexOf(heading.getAttribute("aria-sort")) + 1] ?? null;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        if (order === null) { body.append(...original); return; }
        heading.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const keyed = original.map((row) => [key(row.cells[column]), row]);
        // What is missing stays at the end, whichever the order.
        keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
        body.append(...keyed.map(([, row]) => row));
      });
    });
    const field = make("input", "filter");
    const count = make("span", "count");
    field.type = "search";
    field.placeholder = "Filter rows";
    field.setAttribute("aria-label", "Filter rows of " + table.dataset.title);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of original) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown} of ${original.length} rows` : "";
    });
    if (original.length > 3) {
      const bar = make("div", "bar");
      bar.append(field, count);
      table.closest(".scroll").before(bar);
    }
  }

  // Predictions: everything below comes from a model or a data set, and reaches the page as text only.
  const data = $("#predictions-data");
  const root = $("#browser");
  if (!data || !root) return;
  const sets = JSON.parse(data.textContent);
  if (!sets.length) return;
  const PAGE = 25;
  const state = { set: 0, system: 0, only: "all", words: [], page: 0 };
  const select = (label, options) => {
    const box = make("label", "choice", label);
    const list = make("select");
    options.forEach((text, place) => {
      const option = make("option", "", text);
      option.value = place;
      list.append(option);
    });
    box.append(list);
    return [box, list];
  };
  const [setBox, setList] = select("Test set", sets.map((one) => one.title));
  const [systemBox, systemList] = select("System", []);
  const kinds = ["all", "matched at rank 1", "matched later", "not matched"];
  const [onlyBox, onlyList] = select("Show", kinds);
  const searchBox = make("label", "choice wide", "Search");
  const search = make("input");
  search.type = "search";
  search.placeholder = "words of intent, reference or candidates";
  searchBox.append(search);
  const controls = make("div", "controls");
  controls.append(setBox, systemBox, onlyBox, searchBox);
  if (sets.length === 1) setBox.hidden = true;
  const found = make("p", "found");
  found.setAttribute("role", "status");
  const list = make("ol", "items");
  const pager = make("div", "pager");
  root.replaceChildren(controls, found, list, pager);

  const rank = (row) => (row[2].length ? row[2][0] : 0);
  const verdict = (row) => (rank(row) ? `matched at rank ${rank(row)}` : "not matched");
  const wanted = (row) => [true, rank(row) === 1, rank(row) > 1, rank(row) === 0][kinds.indexOf(state.only)];
  const fill = () => {
    systemList.replaceChildren();
    sets[state.set].systems.forEach((one, place) => {
      const option = make("option", "", one.title);
      option.value = place;
      systemList.append(option);
    });
    systemList.value = state.system;
  };

  // The common beginning and end stay plain; what differs in between is marked.
  const differing = (text, reference) => {
    const line = make("span");
    let start = 0;
    while (start < text.length && start < reference.length && text[start] === reference[start]) start += 1;
    let end = 0;
    while (end < text.length - start && end < reference.length - start && text[text.length - 1 - end] === reference[reference.length - 1 - end]) end += 1;
    line.append(text.slice(0, start));
    if (start < text.length - end) line.append(make("mark", "", text.slice(start, text.length - end)));
    line.append(text.slice(text.length - end));
    return line;
  };
  const candidates = (row, reference) => {
    const box = make("ol", "candidates");
    row[0].forEach((text, place) => {
      const line = make("li", row[2].includes(place + 1) ? "match" : "");
      const code = make("pre");
      if (row[2].includes(place + 1)) code.textContent = text;
      else code.append(differing(text, reference));
      line.append(code);
      if (row[1][place] !== undefined) line.append(make("span", "score", row[1][place].toFixed(3)));
      box.append(line);
    });
    if (!row[0].length) box.append(make("li", "", "no candidates"));
    return box;
  };
  const detail = (place) => {
    const set = sets[state.set];
    const [, , reference] = set.items[place];
    const box = make("div", "detail");
    const row = set.systems[state.system].rows[place];
    box.append(make("h4", "", "Reference"), make("pre", "", reference));
    box.append(make("h4", "", "Candidates, best first, with their scores; what differs from the reference is marked"), candidates(row, reference));
    if (set.systems.length > 1) {
      box.append(make("h4", "", "First candidate of the other systems"));
      const others = make("dl", "others");
      set.systems.forEach((system, other) => {
        if (other === state.system) return;
        const theirs = system.rows[place];
        const name = make("dt", rank(theirs) ? "hit" : "miss", `${system.title}: ${verdict(theirs)}`);
        const code = make("pre");
        code.append(differing(theirs[0][0] ?? "", reference));
        const text = make("dd");
        text.append(code);
        others.append(name, text);
      });
      box.append(others);
    }
    return box;
  };
  const render = () => {
    const set = sets[state.set];
    const rows = set.systems[state.system].rows;
    const places = set.items.map((_, place) => place).filter((place) => {
      if (!wanted(rows[place])) return false;
      const text = [...set.items[place], ...rows[place][0]].join("\n").toLowerCase();
      return state.words.every((word) => text.includes(word));
    });
    const pages = Math.max(1, Math.ceil(places.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    found.textContent = `${places.length} of ${set.items.length} items`;
    list.replaceChildren();
    for (const place of places.slice(state.page * PAGE, (state.page + 1) * PAGE)) {
      const item = make("li");
      const box = make("details");
      const head = make("summary");
      const [id, intent] = set.items[place];
      head.append(make("span", "id", id), " ", make("span", "intent", intent), " ", make("span", rank(rows[place]) ? "hit" : "miss", verdict(rows[place])));
      box.append(head);
      box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(detail(place)); });
      if (places.length === 1 || (place === places[0] && state.page === 0 && !state.words.length)) box.open = true;
      item.append(box);
      list.append(item);
    }
    pager.replaceChildren();
    if (pages > 1) {
      for (const [text, step] of [["Previous", -1], ["Next", 1]]) {
        const button = make("button", "", text);
        button.type = "button";
        button.disabled = state.page + step < 0 || state.page + step >= pages;
        button.addEventListener("click", () => { state.page += step; render(); controls.scrollIntoView(); });
        pager.append(button);
      }
      pager.children[0].after(make("span", "", `page ${state.page + 1} of ${pages}`));
    }
  };
  setList.addEventListener("change", () => { state.set = Number(setList.value); state.system = 0; state.page = 0; fill(); render(); });
  systemList.addEventListener("change", () => { state.system = Number(systemList.value); render(); });
  onlyList.addEventListener("change", () => { state.only = kinds[Number(onlyList.value)]; state.page = 0; render(); });
  search.addEventListener("input", () => { state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean); state.page = 0; render(); });
  fill();
  render();
})();
