const clips = data.clips;
const numbers = new Map(clips.map((clip, number) => [clip.id, number]));
const reasons = Object.entries(data.reasons);
const ITEM_HEIGHT = 56; // px, as in the style
const SPARE_ITEMS = 6;

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const say = (text) => { $("message").textContent = text; };

// Decisions: {keep, reasons: Set, note} by id; those of this browser are in localStorage, one entry a clip.
const decisions = new Map();
const PREFIX = `prismaudio-suite ${location.pathname} `;
let isKept = true; // whether the browser keeps decisions
let isSaved = true;

// A decision from a file or from localStorage; null for none of this form.
function read(value) {
  if (!isObject(value) || typeof value.keep !== "boolean") return null;
  const given = Array.isArray(value.reasons) ? value.reasons : [];
  if (given.some((name) => !has(data.reasons, name))) return null;
  return { keep: value.keep, reasons: new Set(given), note: typeof value.note === "string" ? value.note : "" };
}

function plain(number) {
  const clip = clips[number];
  const one = decisions.get(clip.id);
  const made = { clip: clip.clip, keep: one.keep };
  if (!one.keep && one.reasons.size) made.reasons = reasons.map(([name]) => name).filter((name) => one.reasons.has(name));
  if (one.note) made.note = one.note;
  return made;
}

function store(number) {
  const { id } = clips[number];
  try {
    // "null" is kept too: it undoes a decision of the page
    localStorage.setItem(PREFIX + id, JSON.stringify(decisions.has(id) ? plain(number) : { clip: clips[number].clip }));
  } catch {
    isKept = false;
    say("This browser cannot keep decisions. Save them as a file before the page is closed.");
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// Take a stored decision; returns whether it belongs to a clip and is well-formed.
function take(id, value) {
  const clip = clips[numbers.get(id)];
  if (clip === undefined || !isObject(value) || value.clip !== clip.clip) return false;
  if (!("keep" in value)) return decisions.delete(id);
  const one = read(value);
  if (one === null) return false;
  decisions.set(id, one);
  return true;
}

function recall() {
  for (const clip of clips) {
    const one = read(clip.decision);
    if (one !== null) decisions.set(clip.id, one);
  }
  try {
    for (let index = 0; index < localStorage.length; index++) {
      const key = localStorage.key(index);
      if (key.startsWith(PREFIX)) take(key.slice(PREFIX.length), parsed(localStorage.getItem(key)));
    }
  } catch {
    isKept = false;
    say("This browser keeps no decisions of this page. Save them as a file before the page is closed.");
  }
}

function save() {
  const made = {};
  clips.forEach((clip, number) => {
    if (decisions.has(clip.id)) made[clip.id] = plain(number);
  });
  const text = `${JSON.stringify({ decisions: made }, null, 1)}\n`;
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = element("a", { href: url, download: "decisions.json" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  isSaved = true;
  say(`Saved ${plural(Object.keys(made).length, "decision")} as decisions.json.`);
}

async function load(file) {
  const found = parsed(await file.text());
  const given = isObject(found) && isObject(found.decisions) ? Object.entries(found.decisions) : null;
  if (given === null) {
    say(`${file.name} has no decisions; expected a file that this page has saved.`);
    return;
  }
  const taken = given.filter(([id, value]) => take(id, value));
  taken.forEach(([id]) => store(numbers.get(id)));
  const others = given.length - taken.length;
  say(`Loaded ${plural(taken.length, "decision")} from ${file.name}${others ? `; ${others} left out, about clips that are not here.` : "."}`);
  showCounts();
  showClip();
}

window.addEventListener("beforeunload", (event) => {
  if (!isKept && decisions.size && !isSaved) event.preventDefault();
});

// The list: only the clips that are visible have elements.
let shown = clips.map((_, number) => number);
let current = 0;
const haystacks = clips.map((clip) => [clip.id, clip.name, ...clip.classes, ...clip.captions].join("\n").toLowerCase());
const stateOf = (clip) => (!decisions.has(clip.id) ? "open" : decisions.get(clip.id).keep ? "kept" : "dropped");
const placeOf = (clip) => (clip.name ? clip.name : "spare");

const BY_STATE = new Map([
  ["suite", ["in the suite", (clip) => clip.name]],
  ["open", ["in the suite, no decision", (clip) => clip.name && stateOf(clip) === "open"]],
  ["spare", ["spare", (clip) => !clip.name]],
  ["kept", ["kept", (clip) => stateOf(clip) === "kept"]],
  ["dropped", ["dropped", (clip) => stateOf(clip) === "dropped"]],
  ["multi", ["several events", (clip) => clip.events === "multi"]],
  ["all", ["all clips", () => true]],
]);
const BY_CLASS = new Map([["", ["all classes", () => true]]]);
for (const name of [...new Set(clips.flatMap((clip) => clip.classes))].sort()) {
  BY_CLASS.set(name, [name, (clip) => clip.classes.includes(name)]);
}

function fill(select, filters) {
  const before = select.value;
  const made = [];
  for (const [key, [label, test]] of filters) {
    const count = clips.reduce((sum, clip) => sum + Boolean(test(clip)), 0);
    made.push(element("option", { value: key }, `${label} (${count})`));
  }
  select.replaceChildren(...made);
  if (filters.has(before)) select.value = before;
}

function filter() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [, state] = BY_STATE.get($("by-state").value);
  const [, ofClass] = BY_CLASS.get($("by-class").value);
  shown = [];
  clips.forEach((clip, number) => {
    if (state(clip) && ofClass(clip) && words.every((word) => haystacks[number].includes(word))) shown.push(number);
  });
  $("list").scrollTop = 0;
  if (shown.length && !shown.includes(current)) open(shown[0]);
  else showList();
}

const MARKS = { open: "·", kept: "✓", dropped: "✗" };

function item(place) {
  const clip = clips[shown[place]];
  const state = stateOf(clip);
  const button = element(
    "button",
    { type: "button", className: `is-${state}`, onclick: (event) => choose(event, place) },
    element("span", { className: "mark", "aria-hidden": "true" }, MARKS[state]),
    element("span", { className: "id" }, clip.id),
    element("span", { className: "state" }, `${placeOf(clip)} · ${clip.classes.join(", ")}`)
  );
  button.setAttribute("aria-label", `${clip.id}, ${placeOf(clip)}, ${state === "open" ? "no decision" : state}`);
  if (shown[place] === current) button.setAttribute("aria-current", "true");
  const made = element("li", { "aria-posinset": place + 1, "aria-setsize": shown.length }, button);
  made.style.top = `${place * ITEM_HEIGHT}px`;
  return made;
}

function choose(event, place) {
  if (event.detail) event.currentTarget.blur(); // a mouse: keys go to the clip, not to the button again
  toggleList(false);
  open(shown[place]);
}

function showList() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ITEM_HEIGHT) - SPARE_ITEMS);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ITEM_HEIGHT) + SPARE_ITEMS);
  const made = [];
  for (let place = first; place < last; place++) made.push(item(place));
  $("items").style.height = `${shown.length * ITEM_HEIGHT}px`;
  $("items").replaceChildren(...made);
  const place = shown.indexOf(current);
  $("found").textContent = shown.length ? `${place + 1 || "–"} of ${plural(shown.length, "clip")}` : "No clip matches the filters.";
  $("previous").disabled = place === 0 || !shown.length;
  $("next").disabled = place === shown.length - 1 || !shown.length;
}

function showCounts() {
  const counts = { open: 0, kept: 0, dropped: 0 };
  const inSuite = clips.filter((clip) => clip.name);
  inSuite.forEach((clip) => { counts[stateOf(clip)]++; });
  $("counts").textContent =
    `${plural(inSuite.length, "clip")}: ${counts.kept} kept, ${counts.dropped} dropped, ${counts.open} without a decision`;
  $("save").textContent = decisions.size ? `Save ${plural(decisions.size, "decision")}` : "Save";
  $("save").disabled = !decisions.size;
  fill($("by-state"), BY_STATE);
  showList();
}

function step(by) {
  const place = shown.indexOf(current);
  const next = Math.min(Math.max(place + by, 0), shown.length - 1);
  if (shown.length && next !== place) open(shown[next]);
}

// The next clip of the list without a decision, after this one or from the start.
function stepToOpen() {
  const place = shown.indexOf(current);
  const others = [...shown.slice(place + 1), ...shown.slice(0, place + 1)];
  const next = others.find((number) => stateOf(clips[number]) === "open");
  if (next === undefined) say("Every clip of the list has a decision.");
  else open(next);
}

function open(number) {
  current = number;
  const list = $("list");
  const top = shown.indexOf(number) * ITEM_HEIGHT;
  if (top >= 0 && top < list.scrollTop) list.scrollTop = top;
  else if (top + ITEM_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ITEM_HEIGHT - list.clientHeight;
  history.replaceState(null, "", `#${encodeURIComponent(clips[number].id)}`);
  showList();
  showClip();
  loadMedia();
}

function toggleList(visible) {
  document.body.classList.toggle("shows-list", visible);
  $("show-list").setAttribute("aria-expanded", String(visible));
  if (visible) showList();
}

// One clip
function change(alter) {
  const { id } = clips[current];
  const one = alter(decisions.get(id));
  if (one === undefined) decisions.delete(id);
  else decisions.set(id, one);
  isSaved = false;
  store(current);
  showCounts();
  showClip();
}

const decide = (keep) => change((one) => (one && one.keep === keep ? undefined : { keep, reasons: new Set(), note: one ? one.note : "" }));

function toggleReason(name) {
  change((one) => {
    const given = new Set(one && !one.keep ? one.reasons : []);
    if (!given.delete(name)) given.add(name);
    return { keep: false, reasons: given, note: one ? one.note : "" };
  });
}

function keepClip() {
  decide(true);
  if (stateOf(clips[current]) === "kept") stepToOpen();
}

function showClip() {
  const clip = clips[current];
  const one = decisions.get(clip.id);
  $("name").textContent = clip.id;
  $("place").textContent = clip.name ? `in the suite as ${clip.name}` : "spare: takes the place of a dropped clip";
  $("keep").setAttribute("aria-pressed", String(Boolean(one && one.keep)));
  $("drop").setAttribute("aria-pressed", String(Boolean(one && !one.keep)));
  for (const box of $("reasons").querySelectorAll("input")) box.checked = Boolean(one && one.reasons.has(box.value));
  $("note").value = one ? one.note : "";
  $("note").disabled = !one;
  const facts = [["Class", clip.classes.join(", ")], ["Events", clip.events]];
  clip.captions.forEach((caption) => facts.push(["Caption", caption]));
  const [start_s, end_s] = clip.link_s;
  const times = start_s === null && end_s === null ? "" : `, ${start_s ?? 0} to ${end_s === null ? "the end" : `${end_s} s`}`;
  const anchor = element("a", { href: clip.link, target: "_blank", rel: "noopener noreferrer" }, clip.link);
  const made = facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]);
  made.push(element("dt", {}, "Link"), element("dd", {}, anchor, times));
  for (const [name, value] of Object.entries(clip.scores)) made.push(element("dt", {}, name), element("dd", {}, String(value)));
  $("facts").replaceChildren(...made);
  const same = clips.filter((other) => other !== clip && other.classes.join() === clip.classes.join());
  $("same").replaceChildren(
    ...same.slice(0, 40).map((other) =>
      element("li", {}, element("button", { type: "button", className: `is-${stateOf(other)}`, onclick: () => open(numbers.get(other.id)) }, other.id))
    )
  );
  $("same-part").hidden = !same.length;
}

// Media are loaded when their clip is opened.
function loadMedia() {
  const { files } = clips[current];
  $("problem").hidden = true;
  for (const kind of ["video", "audio"]) {
    const player = $(kind);
    player.hidden = !files[kind];
    if (files[kind]) player.src = files[kind];
    else player.removeAttribute("src");
    player.load();
  }
  $("video").muted = Boolean(files.audio);
}

function toggle() {
  const { files } = clips[current];
  const player = files.video ? $("video") : $("audio");
  if (player.paused) player.play().catch(() => undefined);
  else player.pause();
}

// A video with a sound file of its own plays both.
$("video").addEventListener("play", () => {
  if (!clips[current].files.audio) return;
  $("audio").currentTime = $("video").currentTime;
  $("audio").play().catch(() => undefined);
});
for (const event of ["pause", "ended"]) $("video").addEventListener(event, () => $("audio").pause());
$("video").addEventListener("seeked", () => { if (clips[current].files.audio) $("audio").currentTime = $("video").currentTime; });
for (const kind of ["video", "audio"]) {
  $(kind).addEventListener("error", () => {
    if (!$(kind).hasAttribute("src")) return;
    $("problem").textContent = `This browser cannot play the ${kind}: ${decodeURIComponent(clips[current].files[kind])}`;
    $("problem").hidden = false;
  });
}

function onKey(event) {
  const { target, key } = event;
  const isField = target.matches("input[type=text], input[type=search], select");
  if (key === "Escape" && isField) target.blur();
  if (isField || event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const isButton = target.matches("button, input, a, video, audio");
  const reason = reasons[Number(key) - 1];
  const action = {
    k: keepClip, d: () => decide(false), ArrowDown: () => step(1), ArrowUp: () => step(-1), n: () => $("note").focus(),
    "/": () => $("search").focus(), "?": () => $("help").showModal(),
    ...(isButton ? {} : { " ": toggle, Enter: stepToOpen }),
  }[key.length === 1 ? key.toLowerCase() : key];
  if (action === undefined && reason === undefined) return;
  event.preventDefault();
  if (reason !== undefined) toggleReason(reason[0]);
  else action();
}

$("title").textContent = data.title;
$("reasons").append(
  ...reasons.map(([name, text], at) =>
    element("label", {}, element("input", { type: "checkbox", value: name, onchange: () => toggleReason(name) }), `${at + 1} ${text}`)
  )
);
$("keep").addEventListener("click", keepClip);
$("drop").addEventListener("click", () => decide(false));
$("note").addEventListener("change", () => {
  const note = $("note").value.trim();
  change((one) => one && { ...one, note });
});
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("show-list").addEventListener("click", () => toggleList(!document.body.classList.contains("shows-list")));
$("show-help").addEventListener("click", () => $("help").showModal());
$("save").addEventListener("click", save);
$("load").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  if ($("file").files.length) load($("file").files[0]);
  $("file").value = "";
});
$("search").addEventListener("input", filter);
$("by-state").addEventListener("change", filter);
$("by-class").addEventListener("change", filter);
$("list").addEventListener("scroll", showList, { passive: true });
window.addEventListener("resize", showList);
document.addEventListener("keydown", onKey);

recall();
fill($("by-class"), BY_CLASS);
showCounts();
const wanted = numbers.get(decodeURIComponent(location.hash.slice(1)));
filter();
if (wanted !== undefined) open(wanted);
else if (shown.length) open(shown[0]);
