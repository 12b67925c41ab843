"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
document.documentElement.classList.add("js");

const nav = document.querySelector("nav");
for (const section of all("section")) {
  const link = document.createElement("a");
  link.href = "#" + section.id;
  link.textContent = section.querySelector("h2").firstChild.textContent.trim();
  nav.append(link);
}

const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.hidden = false;
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
dark.addEventListener("change", nameTheme);
nameTheme();

// each word of an attribute, of the item or of what it is in
const words = (item, key) => (item.closest(`[data-${key}]`)?.dataset[key] ?? "").split(" ");

for (const form of all("form.tools")) {
  const section = document.getElementById(form.dataset.for);
  const figures = all("figure", section), groups = all("details", section);
  const rows = all("tbody tr", section);
  const names = new Map(figures.map(one => [one, one.querySelector("b").textContent.toLowerCase()]));
  const pictured = new Map(figures.map(one => [names.get(one), one.dataset.classes]));
  for (const row of rows) {
    names.set(row, row.cells[0].textContent.toLowerCase());
    row.dataset.classes = pictured.get(names.get(row)) ?? "";
  }
  const filter = () => {
    const wanted = new FormData(form);
    const text = (wanted.get("file") ?? "").toLowerCase();
    const severities = form.elements.severity && wanted.getAll("severity");
    const choices = ["codes", "classes"].filter(key => wanted.get(key));
    for (const [item, name] of names)
      item.hidden = !(name.includes(text)
        && (!severities || words(item, "severity").some(one => severities.includes(one)))
        && choices.every(key => words(item, key).includes(wanted.get(key))));
    for (const group of groups) {
      const shown = all("tbody tr", group).filter(row => !row.hidden).length;
      group.hidden = !shown;
      if (text && shown) group.open = true;
    }
    const seen = items => items.filter(item => !item.hidden).length;
    const counts = [[rows, "rows"], [figures, "pictures"]].filter(([items]) => items.length);
    form.querySelector("output").value = counts.map(
      ([items, noun]) => `${seen(items)} of ${items.length} ${noun}`).join(", ");
    const chosen = wanted.get("classes");
    all("g[data-c]", section).forEach(
      box => box.classList.toggle("dim", Boolean(chosen) && box.dataset.c !== chosen));
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  form.querySelector("[data-toggle]")?.addEventListener("change", event =>
    section.classList.toggle(event.target.dataset.toggle, !event.target.checked));
  filter();
}

all("[data-show]").forEach(link => link.addEventListener("click", () => {
  const select = document.querySelector("#samples select");
  select.value = link.dataset.show;
  select.dispatchEvent(new Event("input", { bubbles: true }));
}));

for (const table of all("table.sortable")) {
  const heads = all("thead th", table), body = table.tBodies[0];
  heads.forEach((head, column) => {
    if ("fixed" in head.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    const value = row => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
    button.addEventListener("click", () => {
      const isNumber = [...body.rows].some(row => row.cells[column].dataset.v);
      const now = head.getAttribute("aria-sort");
      const up = now === "none" ? !isNumber : now === "descending";
      heads.forEach(other => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sign = up ? 1 : -1;
      body.append(...[...body.rows].sort((one, other) => sign * (isNumber
        ? (Number(value(one)) || 0) - (Number(value(other)) || 0)
        : value(one).localeCompare(value(other)))));
    });
  });
}

addEventListener("beforeprint", () => all("details").forEach(one => { one.open = true; }));
