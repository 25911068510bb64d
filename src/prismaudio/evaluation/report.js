const { clips, systems, scorers, groups, columns, values, sources } = data;
const ARROW = { true: " ↑", false: " ↓", null: "" };
const PER_PAGE = 25;
const SIDE = 26; // px around the scatter, times the room for labels
const base = data.baseline;
const numbers = new Map(clips.map((clip, number) => [clip.id, number]));
const visible = systems.map(() => true);
const shownSystems = () => systems.map((_, number) => number).filter((number) => visible[number]);

const titled = (scorer) => `${scorer.name}${ARROW[scorer.higher]}`;
const isNumber = (value) => typeof value === "number";
const minus = (text) => text.replace("-", "−");

function shown(value, digits = 4) {
  if (!isNumber(value)) return "–";
  return minus(String(Number(value.toPrecision(digits))));
}

const shownDifference = (value) => (isNumber(value) && value > 0 ? `+${shown(value, 3)}` : shown(value, 3));

function colour(number) {
  return number === null ? "" : `c${number % 8}`;
}

function dot(number) {
  return element("i", { className: `dot ${colour(number)}`, "aria-hidden": "true" });
}

function named(number, text = systems[number].name) {
  return element("span", { className: "name" }, dot(number), text);
}

function difference(system, scorer, clip) {
  const [one, other] = [values[system][scorer][clip], values[base][scorer][clip]];
  return isNumber(one) && isNumber(other) ? one - other : null;
}

function mean(list) {
  const found = list.filter(isNumber);
  return found.length ? found.reduce((sum, value) => sum + value, 0) / found.length : null;
}

// The systems with the best value among two or more; the truth itself is no competitor.
function bestOf(list, higher) {
  const found = list.map((value, system) => (isNumber(value) && !systems[system].is_truth ? value : null));
  const rest = found.filter(isNumber);
  if (higher === null || rest.length < 2) return new Set();
  const target = higher ? Math.max(...rest) : Math.min(...rest);
  return new Set(systems.map((_, system) => system).filter((system) => found[system] === target));
}

function compared(one, other, direction) {
  if (one === other) return 0;
  if (one === null || one === undefined) return 1;
  if (other === null || other === undefined) return -1;
  if (typeof one === "string") return direction * one.localeCompare(other, undefined, { numeric: true });
  return direction * (one - other);
}

function options(select, list, chosen = 0) {
  select.replaceChildren(...list.map((text, number) => element("option", { value: String(number) }, text)));
  if (list.length) select.value = String(chosen);
}

// Sort buttons in the cells of a header: aria-sort says what is sorted, a second press turns the order.
function sortButton(cell, isSorted, direction, onSort) {
  const button = element("button", { type: "button", onclick: onSort }, ...cell.childNodes);
  cell.replaceChildren(button);
  if (isSorted) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  else cell.removeAttribute("aria-sort");
  return button;
}

// A table of columns {label, get(row), show(row), higher} and a first column; sort is {column, direction}.
function fillTable(table, { first, columns: shownColumns, rows, sort, onSort, onRow, number }) {
  const heads = [first, ...shownColumns].map((column, index) => {
    const cell = element("th", { scope: "col", className: column.isText ? "text" : "" }, ...[column.label].flat());
    sortButton(cell, sort.column === index, sort.direction, () => {
      const start = column.start || -1;
      onSort({ column: index, direction: sort.column === index ? -sort.direction : start });
      table.tHead.rows[0].cells[index].querySelector("button").focus();
    });
    return cell;
  });
  const body = rows.map((row) => {
    const cells = shownColumns.map((column) => {
      const made = column.show(row);
      return made instanceof Element ? made : element("td", {}, ...[made].flat());
    });
    const made = element("tr", {}, element("th", { scope: "row" }, ...[first.show(row)].flat()), ...cells);
    if (onRow) made.addEventListener("click", (event) => event.target.closest("button") || onRow(row));
    if (number) made.dataset.number = number(row);
    return made;
  });
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...body)
  );
}

function sorted(rows, column, direction) {
  const keys = new Map(rows.map((row) => [row, column.get(row)]));
  return [...rows].sort((one, other) => compared(keys.get(one), keys.get(other), direction));
}

// Systems: the tables are in the page, the script chooses one and sorts its rows.
let group = 0;
const sections = [...document.querySelectorAll("section.group")];

function enhance(section) {
  const table = section.querySelector("table");
  const heads = [...table.tHead.rows[1].cells];
  heads.forEach((head, index) => sortButton(head, false, 1, () => sortSystems(table, index)));
}

function sortSystems(table, index) {
  const heads = [...table.tHead.rows[1].cells];
  const head = heads[index];
  const before = head.getAttribute("aria-sort");
  const start = index && head.dataset.higher !== "-1" ? "descending" : "ascending";
  const order = before === null ? start : before === "ascending" ? "descending" : "ascending";
  heads.forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const key = (row) => {
    if (!index) return systems[row.dataset.system].name;
    const value = row.cells[index].dataset.value;
    return value === undefined ? null : Number(value);
  };
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => compared(key(one), key(other), order === "ascending" ? 1 : -1));
  table.tBodies[0].append(...rows);
}

function showGroup() {
  sections.forEach((section, number) => {
    section.hidden = number !== group;
  });
  showBars();
}

function showChips() {
  $("chips").replaceChildren(
    element("span", {}, "Systems below"),
    ...systems.map((_, number) => {
      const button = element("button", { type: "button", onclick: () => toggleSystem(number, button) }, dot(number), systems[number].name);
      button.setAttribute("aria-pressed", String(visible[number]));
      return button;
    })
  );
}

function toggleSystem(number, button) {
  if (visible[number] && shownSystems().length === 1) return;
  visible[number] = !visible[number];
  button.setAttribute("aria-pressed", String(visible[number]));
  clipSort.column = 0;
  clipSort.direction = 1;
  showBars();
  if (scorers.length) showBreakdown();
  fillViews();
  filter();
}

// Dimensions: bars on the scale of each scorer.
function showBars() {
  const made = [];
  for (const name of new Set(scorers.map((scorer) => scorer.dimension))) {
    const measures = scorers.map((_, number) => number).filter((number) => scorers[number].dimension === name);
    const lines = measures.map((number) => measure(number)).filter(Boolean);
    if (lines.length) made.push(element("div", { className: "dimension" }, element("h3", {}, name), ...lines));
  }
  $("bars").replaceChildren(...made);
  $("dimensions-title").textContent = group ? `By dimension, ${groups[group].name}` : "By dimension";
}

function measure(number) {
  const scorer = scorers[number];
  const cells = groups[group].cells[number];
  const present = shownSystems().filter((system) => cells[system]);
  if (!present.length) return null;
  const [low, high] = scorer.range;
  const isBounded = low !== null && high !== null;
  const start = isBounded ? low : 0;
  const size = isBounded ? high - low : Math.max(...present.map((system) => Math.abs(cells[system][3] ?? cells[system][0])), 1e-12);
  const share = (value) => 100 * Math.min(Math.max((isBounded ? value - start : Math.abs(value)) / size, 0), 1);
  const scale = isBounded ? `${shown(low)} to ${shown(high)}` : "relative to the largest";
  const head = element("p", {}, element("span", {}, titled(scorer)), element("span", {}, scale));
  const lines = present.map((system) => {
    const [value, , from, to] = cells[system];
    const track = element("span", { className: "track", "aria-hidden": "true" }, element("span", { className: `fill ${colour(system)}` }));
    track.firstChild.style.width = `${share(value)}%`;
    if (isNumber(from) && isNumber(to)) {
      const whisker = element("span", { className: "whisker" });
      whisker.style.left = `${Math.min(share(from), share(to))}%`;
      whisker.style.width = `${Math.abs(share(to) - share(from))}%`;
      track.append(whisker);
    }
    return element("div", { className: "line" }, element("span", {}, systems[system].name), track, element("span", {}, shown(value)));
  });
  return element("div", { className: "measure" }, head, ...lines);
}

// Groups: one score, for each group or each value of a column.
const breakdownSort = { column: 0, direction: 1, isGiven: true };

function breakdownRows() {
  const scorer = Number($("breakdown-scorer").value);
  const by = Number($("breakdown-by").value);
  if (!by) {
    return groups
      .map((one) => ({ name: one.name, cells: one.cells[scorer] }))
      .filter((row) => row.cells.some(Boolean))
      .map((row) => ({ ...row, count: Math.max(...row.cells.map((cell) => (cell ? cell[1] : 0))) }));
  }
  return columns[by - 1].values
    .map((name, place) => {
      const members = clips.map((_, clip) => clip).filter((clip) => clips[clip].classes[by - 1] === place);
      const cells = systems.map((_, system) => {
        const average = mean(members.map((clip) => values[system][scorer][clip]));
        return average === null ? null : [average];
      });
      return { name, cells, count: members.length };
    })
    .filter((row) => row.cells.some(Boolean));
}

function showBreakdown() {
  const scorer = scorers[Number($("breakdown-scorer").value)];
  const by = Number($("breakdown-by").value);
  const shownColumns = [
    { label: "clips", get: (row) => row.count, show: (row) => String(row.count) },
    ...shownSystems().map((system) => ({
      label: named(system),
      get: (row) => (row.cells[system] ? row.cells[system][0] : null),
      show: (row) => valueCell(row.cells[system], bestOf(row.cells.map((cell) => cell && cell[0]), scorer.higher).has(system)),
    })),
  ];
  const first = { label: by ? columns[by - 1].name : "group", get: (row) => row.name, show: (row) => row.name, start: 1 };
  const all = [first, ...shownColumns];
  if (breakdownSort.column >= all.length) Object.assign(breakdownSort, { column: 0, direction: 1 });
  let rows = breakdownRows();
  if (!breakdownSort.isGiven || by) rows = sorted(rows, all[breakdownSort.column], breakdownSort.direction);
  fillTable($("breakdown-table"), {
    first,
    columns: shownColumns,
    rows,
    sort: breakdownSort.isGiven && !by ? { column: -1, direction: 1 } : breakdownSort,
    onSort: (sort) => {
      Object.assign(breakdownSort, sort, { isGiven: false });
      showBreakdown();
    },
  });
  $("breakdown-note").textContent = by
    ? "Means over the clips of each value, without intervals."
    : "In brackets the 95% interval of the mean, from five clips on.";
}

function valueCell(cell, isBest) {
  if (!cell) return element("td", { className: "none" }, "–");
  const made = element("td", { className: isBest ? "best" : "" }, element("b", {}, shown(cell[0])));
  if (isNumber(cell[2]) && isNumber(cell[3])) made.append(element("small", {}, `[${shown(cell[2], 3)}, ${shown(cell[3], 3)}]`));
  return made;
}

// Clips: filtered, sorted, in pages.
let found = clips.map((_, number) => number);
let page = 0;
const clipSort = { column: 0, direction: 1 };
const haystacks = clips.map(() => null);

const textOf = (plan) => Object.values(plan || {}).join("\n");

function haystack(number) {
  if (haystacks[number] === null) {
    const clip = clips[number];
    const own = sources.map((source) => textOf(source.clips[number] && source.clips[number].plan));
    const classes = columns.map((column, place) => column.values[clip.classes[place]]);
    haystacks[number] = [clip.id, clip.caption || "", textOf(clip.plan), ...own, ...classes].join("\n").toLowerCase();
  }
  return haystacks[number];
}

function viewOptions(select, isSystemsToo) {
  const before = select.value;
  const made = [];
  if (isSystemsToo) {
    made.push(
      element("optgroup", { label: "one score, all systems" }, ...scorers.map((scorer, number) => element("option", { value: `k${number}` }, titled(scorer)))),
      element("optgroup", { label: "one system, all scores" }, ...shownSystems().map((number) => element("option", { value: `s${number}` }, systems[number].name)))
    );
  } else {
    made.push(element("option", { value: "" }, "any"));
    for (const system of shownSystems()) {
      made.push(
        element("optgroup", { label: systems[system].name }, ...scorers.map((scorer, number) => element("option", { value: `${system} ${number}` }, `${titled(scorer)} · ${systems[system].name}`)))
      );
    }
  }
  select.replaceChildren(...made);
  if (before && select.querySelector(`option[value="${before}"]`)) select.value = before;
}

function fillViews() {
  viewOptions($("view"), true);
  viewOptions($("range-of"), false);
}

const idColumn = {
  label: "clip",
  start: 1,
  get: (clip) => clips[clip].id,
  show: (clip) => element("button", { type: "button", className: "link", title: clips[clip].id, onclick: () => openClip(clip) }, clips[clip].id),
};

function clipColumns() {
  const view = $("view").value;
  const number = Number(view.slice(1));
  const made = columns.slice(0, 2).map((column, place) => ({
    label: column.name,
    isText: true,
    start: 1,
    get: (clip) => column.values[clips[clip].classes[place]],
    show: (clip) => element("td", { className: "text" }, column.values[clips[clip].classes[place]]),
  }));
  const add = (label, system, scorer) =>
    made.push({
      label,
      higher: scorers[scorer].higher,
      start: scorers[scorer].higher === false ? -1 : 1, // the worst first
      get: (clip) => values[system][scorer][clip],
      show: (clip) => {
        const best = view[0] === "k" && bestOf(systems.map((_, one) => values[one][scorer][clip]), scorers[scorer].higher).has(system);
        return valueCell(isNumber(values[system][scorer][clip]) ? [values[system][scorer][clip]] : null, best);
      },
    });
  if (view[0] === "s") scorers.forEach((scorer, place) => add(titled(scorer), number, place));
  else {
    for (const system of shownSystems()) add(named(system), system, number);
    for (const system of shownSystems().filter((one) => one !== base)) {
      made.push({
        label: named(system, `Δ ${systems[system].name}`),
        higher: scorers[number].higher,
        start: scorers[number].higher === false ? -1 : 1,
        get: (clip) => difference(system, number, clip),
        show: (clip) => element("td", { className: isNumber(difference(system, number, clip)) ? "" : "none" }, shownDifference(difference(system, number, clip))),
      });
    }
  }
  return made;
}

function filter() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const inGroup = Number($("in-group").value);
  const inClass = $("in-class").value.split(" ").map(Number);
  const [system, scorer] = $("range-of").value.split(" ").map(Number);
  const from = $("from").value === "" ? -Infinity : Number($("from").value);
  const to = $("to").value === "" ? Infinity : Number($("to").value);
  const isRanged = $("range-of").value !== "" && (from !== -Infinity || to !== Infinity);
  found = [];
  clips.forEach((clip, number) => {
    if (inGroup && !clip.groups.includes(inGroup)) return;
    if (inClass.length === 2 && clip.classes[inClass[0]] !== inClass[1]) return;
    if (isRanged) {
      const value = values[system][scorer][number];
      if (!isNumber(value) || value < from || value > to) return;
    }
    if (words.every((word) => haystack(number).includes(word))) found.push(number);
  });
  page = 0;
  showClips();
  drawScatter();
}

function showClips() {
  const made = clipColumns();
  const all = [idColumn, ...made];
  if (clipSort.column >= all.length) Object.assign(clipSort, { column: 0, direction: 1 });
  found = sorted(found, all[clipSort.column], clipSort.direction);
  const count = Math.max(1, Math.ceil(found.length / PER_PAGE));
  page = Math.min(Math.max(page, 0), count - 1);
  fillTable($("clips-table"), {
    first: idColumn,
    columns: made,
    rows: found.slice(page * PER_PAGE, (page + 1) * PER_PAGE),
    sort: clipSort,
    onSort: (sort) => {
      Object.assign(clipSort, sort);
      page = 0;
      showClips();
    },
    onRow: openClip,
    number: (clip) => clip,
  });
  $("found").textContent = found.length === clips.length ? plural(clips.length, "clip") : `${found.length} of ${plural(clips.length, "clip")}`;
  $("page-at").textContent = `Page ${page + 1} of ${count}`;
  $("page-before").disabled = page === 0;
  $("page-after").disabled = page >= count - 1;
}

// Sort by the sorted column, or the first score, so that the worst or the best are on top.
function order(isBest) {
  const made = clipColumns();
  const firstScore = made.findIndex((column) => column.higher !== undefined) + 1;
  if (!firstScore) return;
  const sortedColumn = made[clipSort.column - 1];
  const column = sortedColumn && sortedColumn.higher !== undefined ? clipSort.column : firstScore;
  const worst = made[column - 1].higher === false ? -1 : 1;
  Object.assign(clipSort, { column, direction: isBest ? -worst : worst });
  page = 0;
  showClips();
}

// Scatter: a point for each clip and system.
const canvas = $("plot");
let points = [];
let picked = -1;

function drawScatter() {
  if (!scorers.length) return;
  const [x, y] = [Number($("scatter-x").value), Number($("scatter-y").value)];
  points = [];
  for (const system of shownSystems()) {
    for (const clip of found) {
      const [one, other] = [values[system][x][clip], values[system][y][clip]];
      if (isNumber(one) && isNumber(other)) points.push({ system, clip, x: one, y: other });
    }
  }
  picked = -1;
  $("tip").hidden = true;
  const count = new Set(points.map((point) => point.clip)).size;
  $("scatter-note").textContent = points.length
    ? `${plural(count, "clip")}; a point is a clip of a system and opens it. With the keyboard: arrows move between points, Enter opens.`
    : "No clip has both scores.";
  canvas.setAttribute("aria-label", `${scorers[y].name} against ${scorers[x].name}, ${plural(points.length, "point")}`);
  paint();
}

function extent(list) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of list) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low === Infinity) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.04;
  return [low - room, high + room];
}

function niceTicks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const made = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) made.push(Number(tick.toPrecision(12)));
  return made;
}

function paint() {
  const box = canvas.getBoundingClientRect();
  if (!box.width || !scorers.length) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const token = (name) => style.getPropertyValue(name).trim();
  const [left, right, top, bottom] = [SIDE * 2.4, box.width - SIDE * 0.8, SIDE * 0.8, box.height - SIDE * 1.8];
  const [lowX, highX] = extent(points.map((point) => point.x));
  const [lowY, highY] = extent(points.map((point) => point.y));
  const toX = (value) => left + ((value - lowX) / (highX - lowX)) * (right - left);
  const toY = (value) => bottom - ((value - lowY) / (highY - lowY)) * (bottom - top);
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  pen.strokeStyle = token("--line");
  pen.fillStyle = token("--faint");
  pen.lineWidth = 1;
  pen.textAlign = "center";
  for (const tick of niceTicks(lowX, highX, box.width / 90)) {
    line(pen, toX(tick), top, toX(tick), bottom);
    pen.fillText(shown(tick), toX(tick), bottom + 16);
  }
  pen.textAlign = "right";
  for (const tick of niceTicks(lowY, highY, box.height / 60)) {
    line(pen, left, toY(tick), right, toY(tick));
    pen.fillText(shown(tick), left - 8, toY(tick) + 4);
  }
  pen.fillStyle = token("--ink");
  pen.textAlign = "center";
  pen.fillText(titled(scorers[Number($("scatter-x").value)]), (left + right) / 2, box.height - 8);
  pen.save();
  pen.translate(14, (top + bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText(titled(scorers[Number($("scatter-y").value)]), 0, 0);
  pen.restore();
  const radius = points.length > 2000 ? 2.5 : points.length > 300 ? 3.5 : 5;
  pen.globalAlpha = points.length > 2000 ? 0.5 : 0.75;
  points.forEach((point) => {
    [point.left, point.top] = [toX(point.x), toY(point.y)];
    pen.fillStyle = token(`--c${point.system % 8}`);
    pen.beginPath();
    pen.arc(point.left, point.top, radius, 0, 7);
    pen.fill();
  });
  pen.globalAlpha = 1;
  if (points[picked]) {
    pen.strokeStyle = token("--ink");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(points[picked].left, points[picked].top, radius + 3, 0, 7);
    pen.stroke();
  }
}

function line(pen, fromX, fromY, toX, toY) {
  pen.beginPath();
  pen.moveTo(Math.round(fromX) + 0.5, Math.round(fromY) + 0.5);
  pen.lineTo(Math.round(toX) + 0.5, Math.round(toY) + 0.5);
  pen.stroke();
}

function pick(number) {
  if (number === picked) return;
  picked = number;
  const point = points[number];
  $("tip").hidden = !point;
  if (point) {
    $("tip").textContent = `${clips[point.clip].id} · ${systems[point.system].name}: ${shown(point.x)}, ${shown(point.y)}`;
    const tip = $("tip");
    tip.style.left = `${Math.min(point.left + 12, canvas.clientWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${Math.max(point.top - tip.offsetHeight - 8, 4)}px`;
  }
  paint();
}

function nearest(event, reach) {
  const box = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let [best, distance] = [-1, reach];
  points.forEach((point, number) => {
    const apart = Math.hypot(point.left - x, point.top - y);
    if (apart < distance) [best, distance] = [number, apart];
  });
  return best;
}

// The next point to the left or the right; up and down go through the systems of the same clip.
function movePick(key) {
  if (!points.length) return;
  if (!points[picked]) return pick(0);
  const isAcross = key === "ArrowLeft" || key === "ArrowRight";
  const ring = points.map((_, number) => number).filter((number) => isAcross || points[number].clip === points[picked].clip);
  const axis = isAcross ? "x" : "y";
  ring.sort((one, other) => points[one][axis] - points[other][axis] || one - other);
  const step = key === "ArrowRight" || key === "ArrowUp" ? 1 : -1;
  pick(ring[Math.min(Math.max(ring.indexOf(picked) + step, 0), ring.length - 1)]);
}

// A clip: its video, the audio of all systems, spectrograms, plans and scores.
let player = null;
let current = -1;
let lastSource = ""; // the name of what is heard, kept from clip to clip
const urls = new Map();

// The address of a file: the file itself, or what the page has inside.
function addressOf(url) {
  if (!data.media) return url;
  if (!has(data.media, url)) return null;
  if (!urls.has(url)) {
    const [type, text] = data.media[url];
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    urls.set(url, URL.createObjectURL(new Blob([bytes], { type })));
  }
  return urls.get(url);
}

function quoted(id) {
  try {
    return id.split("/").map(encodeURIComponent).join("/");
  } catch {
    return id; // half of a pair of surrogates
  }
}

// A file within a folder; relative addresses begin with "./"
function within(folder, file) {
  return `${folder}/${file}`;
}

function audioOf(source, clip) {
  const facts = source.clips[clip];
  if (!facts || facts.lost) return null;
  return addressOf(within(source.folder, facts.file || `${quoted(clips[clip].id)}.wav`));
}

function openClip(number) {
  if (player) player.close();
  current = number;
  const clip = clips[number];
  $("clip-id").textContent = clip.id;
  $("clip-groups").textContent = columns.map((column, place) => `${column.name}: ${column.values[clip.classes[place]]}`).join(" · ");
  const place = found.indexOf(number);
  $("clip-before").disabled = place <= 0;
  $("clip-after").disabled = place < 0 || place === found.length - 1;
  $("problems").replaceChildren();
  const heard = sources.map((source, index) => ({ source, index })).filter(({ source }) => source.clips[number] && (source.system === null || visible[source.system]));
  showMedia(number, heard);
  showLanes(number, heard);
  showPlans(number, heard);
  showScores(number);
  if (!$("clip").open) $("clip").showModal();
  $("clip").scrollTop = 0;
  history.replaceState(null, "", `#clip=${quoted(clip.id)}`);
  onTime();
}

function problem(text) {
  $("problems").append(element("li", {}, text));
}

function showMedia(number, heard) {
  const clip = clips[number];
  const address = clip.video && !clip.lost ? addressOf(clip.video) : null;
  let video = null;
  if (address) {
    video = element("video", { playsInline: true, preload: "auto", muted: true, onclick: () => player.toggle() });
    video.addEventListener("error", () => problem("The video cannot be played here; it may have been moved."));
    video.addEventListener("loadedmetadata", onTime);
    video.src = address;
  } else if (!clip.video) problem("The clip has no video.");
  const lost = clip.video && !address ? ["the video"] : [];
  const tracks = heard.map(({ source }) => {
    const url = audioOf(source, number);
    if (url === null) {
      lost.push(`the audio of ${source.name}`);
      return null;
    }
    const track = element("audio", { preload: "auto" });
    track.addEventListener("error", () => problem(`The audio of ${source.name} cannot be played here; it may have been moved.`));
    track.addEventListener("loadedmetadata", onTime);
    track.src = url;
    return track;
  });
  if (lost.length) problem(`Not where it was: ${lost.join(", ")}. After moving files, prismaudio evaluate report writes this page anew.`);
  for (const system of shownSystems()) {
    if (!heard.some(({ source }) => source.system === system)) problem(`${systems[system].name} has no audio of this clip.`);
  }
  $("media").replaceChildren(...(video ? [video] : []), ...tracks.filter(Boolean));
  player = new Player(video, tracks, onTime);
  player.isLooping = $("loop").checked;
  const wanted = heard.findIndex(({ source }) => source.name === lastSource);
  if (wanted >= 0) player.choose(wanted);
  $("sources").replaceChildren(
    ...heard.map(({ source }, place) => {
      const button = element("button", { type: "button", role: "radio", onclick: () => choose(place) }, dot(source.system), source.name);
      if (place < 9) button.append(element("kbd", { "aria-hidden": "true" }, String(place + 1)));
      button.disabled = !tracks[place];
      button.dataset.name = source.name;
      return button;
    })
  );
}

function choose(place) {
  const button = $("sources").children[place];
  if (!button || button.disabled) return;
  lastSource = button.dataset.name;
  player.choose(place);
}

const lengthOf = (number, heard) => Math.max(0.1, ...heard.map(({ source }) => source.clips[number].s || 0));
let lanesLength = 1;

function showLanes(number, heard) {
  lanesLength = lengthOf(number, heard);
  let detected = 0;
  const isDrawn = heard.some(({ source }) => source.clips[number].s);
  const lanes = heard.map(({ source }, place) => {
    const facts = source.clips[number];
    if (facts.lost) return element("div", { hidden: true });
    const picture = element("div", { className: "spectrum" });
    if (facts.s) {
      const url = addressOf(within(source.images, `${quoted(clips[number].id)}${data.image}`));
      if (url) {
        const image = element("img", { alt: `Spectrogram of ${source.name}, left channel above right`, draggable: false });
        image.addEventListener("error", () => image.remove());
        image.src = url;
        image.style.width = `${(100 * facts.s) / lanesLength}%`;
        picture.append(image);
      }
      const channels = ["left", "right"].map((text, channel) => {
        const label = element("span", { className: "channel", "aria-hidden": "true" }, text);
        label.style[channel ? "bottom" : "top"] = "3px";
        return label;
      });
      picture.append(element("span", { className: "middle" }), ...channels);
    }
    const events = facts.events || clips[number].events || [];
    for (const event of events) picture.append(...eventMarks(event));
    for (const time of facts.on || []) {
      detected++;
      picture.append(at(element("span", { className: "detected", title: `onset at ${shownTime(time)}` }), time, lanesLength));
    }
    picture.append(element("span", { className: "head-line" }));
    picture.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const box = picture.getBoundingClientRect();
      choose(place);
      player.seek(((event.clientX - box.left) / box.width) * lanesLength);
    });
    const told = facts.problem ? `no spectrogram: ${facts.problem}` : facts.s ? shownTime(facts.s) : "";
    const head = element("p", {}, dot(source.system), element("span", { className: "label" }, source.name), element("span", {}, told));
    return element("div", { className: "lane" }, head, facts.s ? picture : "");
  });
  $("lanes").replaceChildren(...lanes, ...(isDrawn ? [ruler()] : []));
  const isPlanned = heard.some(({ source }) => (source.clips[number].events || clips[number].events || []).length);
  const marks = [isPlanned ? "dotted lines are events of the plan" : "", detected ? "triangles are detected onsets" : ""].filter(Boolean);
  const told = marks.length ? [`${capital(marks.join(", "))}.`] : [];
  $("lanes-note").textContent = isDrawn ? [...told, "Mel scale, 40 Hz to 16 kHz, −90 to 0 dB."].join(" ") : "";
}

function eventMarks([what, onsets, end, azimuth]) {
  const side = shownSide({ azimuth_deg: azimuth });
  return onsets.flatMap((time, place) => {
    const mark = element("span", { className: time > lanesLength * 0.82 ? "planned is-last" : "planned", title: `${what} at ${shownTime(time)}${side ? `, ${side}` : ""}` });
    if (!place) mark.append(element("span", {}, what));
    const made = [at(mark, time, lanesLength)];
    if (end !== null && place === onsets.length - 1) {
      const bar = element("span", { className: "until" });
      bar.style.width = `${(100 * Math.max(Math.min(end, lanesLength) - time, 0)) / lanesLength}%`;
      made.push(at(bar, time, lanesLength));
    }
    return made;
  });
}

function ruler() {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300];
  const every = steps.find((one) => lanesLength / one <= 9) || lanesLength / 8;
  const made = element("div", { className: "ruler", "aria-hidden": "true" });
  for (let time = 0; time <= lanesLength + 1e-6; time += every) {
    const tick = element("span", { className: time > lanesLength - every / 2 ? "is-last" : "" }, `${Number(time.toFixed(2))}${time ? "" : " s"}`);
    made.append(at(tick, time, lanesLength));
  }
  return made;
}

function at(made, seconds, length) {
  made.style.left = `${(100 * Math.min(Math.max(seconds / length, 0), 1)).toFixed(3)}%`;
  return made;
}

function planBlock(title, plan, isOpen) {
  const list = element("dl", {});
  for (const [name, words] of Object.entries(plan)) list.append(element("dt", {}, name), element("dd", {}, words));
  return element("details", { className: "plan", open: isOpen }, element("summary", {}, title), list);
}

function showPlans(number, heard) {
  const clip = clips[number];
  const made = [];
  if (clip.plan) made.push(planBlock("Plan of the clip", clip.plan, true));
  if (clip.caption && !textOf(clip.plan).includes(clip.caption)) made.push(planBlock("Caption", { "": clip.caption }, !clip.plan));
  for (const { source } of heard) {
    const plan = source.clips[number].plan;
    if (plan && textOf(plan) !== textOf(clip.plan)) made.push(planBlock(`Plan of ${source.name}`, plan, !clip.plan));
  }
  $("plans").replaceChildren(...made);
}

function showScores(number) {
  const shownNow = shownSystems();
  const head = element("tr", {}, element("th", { scope: "col" }, "score"), ...shownNow.map((system) => element("th", { scope: "col" }, named(system))));
  const rows = scorers.map((scorer, place) => {
    const best = bestOf(systems.map((_, system) => values[system][place][number]), scorer.higher);
    const cells = shownNow.map((system) => {
      const value = values[system][place][number];
      const cell = valueCell(isNumber(value) ? [value] : null, best.has(system));
      const apart = difference(system, place, number);
      if (system !== base && isNumber(apart)) cell.append(element("small", {}, `Δ ${shownDifference(apart)}`));
      return cell;
    });
    return element("tr", {}, element("th", { scope: "row" }, titled(scorer)), ...cells);
  });
  $("scores").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  $("scores-baseline").textContent = systems[base].name;
}

function onTime() {
  if (!player) return;
  const time = player.time;
  $("play").textContent = player.isPlaying ? "Pause" : "Play";
  $("play").disabled = player.duration === 0;
  $("clock").textContent = `${time.toFixed(2)} / ${player.duration.toFixed(2)} s`;
  for (const head of $("lanes").querySelectorAll(".head-line")) at(head, time, lanesLength);
  [...$("sources").children].forEach((button, place) => {
    const isChosen = place === player.chosen;
    button.setAttribute("aria-checked", String(isChosen));
    button.tabIndex = isChosen ? 0 : -1;
    $("lanes").children[place].classList.toggle("is-chosen", isChosen);
  });
}

function stepClip(by) {
  const place = found.indexOf(current);
  const next = found[place + by];
  if (place < 0 || next === undefined) return;
  page = Math.floor((place + by) / PER_PAGE);
  showClips();
  openClip(next);
}

function closed() {
  if (player) player.close();
  player = null;
  $("media").replaceChildren();
  history.replaceState(null, "", location.pathname + location.search);
  const row = $("clips-table").querySelector(`tr[data-number="${current}"] .link`);
  if (row) row.focus();
}

// Start
function fill() {
  document.body.classList.add("is-scripted");
  for (const part of document.querySelectorAll("main > [hidden], nav[hidden], .script")) part.hidden = false;
  sections.forEach(enhance);
  options($("group"), groups.map((one) => one.name));
  options($("breakdown-scorer"), scorers.map(titled));
  options($("breakdown-by"), ["groups", ...columns.map((column) => column.name)]);
  $("breakdown-by-label").hidden = !columns.length;
  options($("scatter-x"), scorers.map(titled));
  const other = scorers.findIndex((scorer, _, [first]) => scorer.dimension !== first.dimension);
  options($("scatter-y"), scorers.map(titled), other < 0 ? Math.min(1, scorers.length - 1) : other);
  options($("in-group"), ["all", ...groups.slice(1).map((one) => one.name)]);
  $("in-class").replaceChildren(element("option", { value: "" }, "all"));
  columns.forEach((column, place) => {
    if (column.grouped) return;
    const list = column.values.map((text, value) => element("option", { value: `${place} ${value}` }, text));
    $("in-class").append(element("optgroup", { label: column.name }, ...list));
  });
  $("in-class-label").hidden = columns.every((column) => column.grouped);
  if (groups.length < 2) for (const id of ["group", "in-group"]) $(id).parentElement.hidden = true;
  if (!scorers.length) for (const id of ["dimensions", "breakdown", "scatter"]) $(id).hidden = true;
  $("notes").hidden = !$("notes").querySelector("li");
  fillViews();
  showChips();
  showGroup();
  if (scorers.length) showBreakdown();
  filter();
}

let waiting;
function soon(act) {
  clearTimeout(waiting);
  waiting = setTimeout(act, 150);
}

$("group").addEventListener("change", () => {
  group = Number($("group").value);
  showGroup();
});
$("breakdown-scorer").addEventListener("change", showBreakdown);
$("breakdown-by").addEventListener("change", () => {
  Object.assign(breakdownSort, { column: 0, direction: 1, isGiven: true });
  showBreakdown();
});
for (const id of ["scatter-x", "scatter-y"]) $(id).addEventListener("change", drawScatter);
for (const id of ["in-group", "in-class", "range-of"]) $(id).addEventListener("change", filter);
for (const id of ["search", "from", "to"]) $(id).addEventListener("input", () => soon(filter));
$("view").addEventListener("change", () => {
  Object.assign(clipSort, { column: 0, direction: 1 });
  page = 0;
  showClips();
});
$("clear").addEventListener("click", () => {
  for (const id of ["search", "from", "to", "in-class", "range-of"]) $(id).value = "";
  $("in-group").value = "0";
  filter();
});
$("worst").addEventListener("click", () => order(false));
$("best").addEventListener("click", () => order(true));
for (const [id, by] of [["page-before", -1], ["page-after", 1]]) {
  $(id).addEventListener("click", () => {
    page += by;
    showClips();
  });
}
canvas.addEventListener("pointermove", (event) => pick(nearest(event, 14)));
canvas.addEventListener("pointerleave", () => pick(-1));
canvas.addEventListener("click", (event) => {
  const number = nearest(event, 14);
  if (number >= 0) openClip(points[number].clip);
});
canvas.addEventListener("keydown", (event) => {
  if (event.key.startsWith("Arrow")) {
    event.preventDefault();
    movePick(event.key);
    if (points[picked]) $("scatter-note").textContent = $("tip").textContent;
  } else if (event.key === "Enter" && points[picked]) {
    event.preventDefault();
    openClip(points[picked].clip);
  }
});
window.addEventListener("resize", () => soon(paint));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

$("play").addEventListener("click", () => player.toggle());
$("loop").addEventListener("change", () => {
  player.isLooping = $("loop").checked;
});
$("clip-before").addEventListener("click", () => stepClip(-1));
$("clip-after").addEventListener("click", () => stepClip(1));
$("clip-close").addEventListener("click", () => $("clip").close());
$("clip").addEventListener("close", closed);
$("clip").addEventListener("click", (event) => {
  if (event.detail && event.target.closest("button, label")) $("clip-id").focus({ preventScroll: true }); // keys go to the player
});
$("clip").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target;
  const isRadio = target.getAttribute("aria-checked") === "true"; // chosen already, so that a key is for the player
  const isPressed = !isRadio && target.matches("button, summary, input") && [" ", "Enter"].includes(event.key);
  const places = [...$("sources").children].map((_, place) => place).filter((place) => !$("sources").children[place].disabled);
  const chosenPlace = places.indexOf(player.chosen);
  const acts = {
    " ": () => player.toggle(),
    ArrowLeft: () => player.seek(player.time - (event.shiftKey ? 1 : 0.1)),
    ArrowRight: () => player.seek(player.time + (event.shiftKey ? 1 : 0.1)),
    j: () => stepClip(1),
    k: () => stepClip(-1),
  };
  if (target.closest("#sources")) {
    for (const [keys, by] of [[["ArrowRight", "ArrowDown"], 1], [["ArrowLeft", "ArrowUp"], -1]]) {
      for (const key of keys) {
        acts[key] = () => {
          const next = places[(chosenPlace + by + places.length) % places.length];
          choose(next);
          $("sources").children[next].focus();
        };
      }
    }
  }
  for (const place of places) if (place < 9) acts[String(place + 1)] = () => choose(place);
  if (isPressed || !has(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
});

fill();
const wanted = /^#clip=(.*)$/.exec(location.hash);
if (wanted) {
  try {
    const number = numbers.get(decodeURIComponent(wanted[1]));
    if (number !== undefined) openClip(number);
  } catch {
    // an address that is not one
  }
}
