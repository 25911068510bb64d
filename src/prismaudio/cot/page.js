const rows = data.rows;
const numbers = new Map(rows.map((row, number) => [row.id, number]));
const ROW_HEIGHT = 56; // px, as in the style
const SPARE_ROWS = 6;

function say(text) {
  $("message").textContent = text;
}

// Edits: {sections: Map(name → text), accepted: bool or undefined} by id, kept in localStorage, one entry a row.
const edits = new Map();
const PREFIX = `prismaudio-cot ${location.pathname} `;
let isKept = true; // whether the browser keeps edits

const original = (row, name) => (has(row.sections, name) ? row.sections[name] : "");

function textOf(row, name) {
  const edit = edits.get(row.id);
  return edit && edit.sections.has(name) ? edit.sections.get(name) : original(row, name);
}

function isAccepted(row) {
  const edit = edits.get(row.id);
  return edit && edit.accepted !== undefined ? edit.accepted : row.accepted;
}

const isEdited = (row) => edits.has(row.id) && edits.get(row.id).sections.size > 0;

function change(row, alter) {
  const edit = edits.get(row.id) || { sections: new Map(), accepted: undefined };
  alter(edit);
  if (edit.sections.size || edit.accepted !== undefined) edits.set(row.id, edit);
  else edits.delete(row.id);
  keep(row.id);
  showCounts();
}

function setText(row, name, text) {
  change(row, (edit) => {
    if (text === original(row, name)) edit.sections.delete(name);
    else edit.sections.set(name, text);
  });
}

function plain(id) {
  const edit = edits.get(id);
  const made = {};
  // All sections of a row with an edited one, so that the file says what the row is to be.
  if (edit.sections.size) {
    const row = rows[numbers.get(id)];
    const names = data.sections.filter((name) => has(row.sections, name) || edit.sections.has(name));
    made.sections = Object.fromEntries(names.map((name) => [name, textOf(row, name)]));
  }
  if (edit.accepted !== undefined) made.accepted = edit.accepted;
  return made;
}

function keep(id) {
  try {
    if (edits.has(id)) localStorage.setItem(PREFIX + id, JSON.stringify(plain(id)));
    else localStorage.removeItem(PREFIX + id);
  } catch {
    isKept = false;
    say("This browser cannot keep edits. Save them as a file before the page is closed.");
  }
}

function recall() {
  try {
    for (let index = 0; index < localStorage.length; index++) {
      const key = localStorage.key(index);
      if (key.startsWith(PREFIX)) take(key.slice(PREFIX.length), parsed(localStorage.getItem(key)));
    }
  } catch {
    isKept = false;
    say("This browser keeps no edits of this page. Save them as a file before the page is closed.");
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// Take one correction; returns whether it belongs to a row and is well-formed.
function take(id, value) {
  const row = rows[numbers.get(id)];
  if (row === undefined || !isObject(value)) return false;
  const sections = has(value, "sections") ? value.sections : {};
  const accepted = has(value, "accepted") ? value.accepted : undefined;
  if (!isObject(sections) || ![true, false, undefined].includes(accepted)) return false;
  const edit = { sections: new Map(), accepted };
  for (const [name, text] of Object.entries(sections)) {
    if (typeof text !== "string" || !data.sections.includes(name)) return false;
    if (text !== original(row, name)) edit.sections.set(name, text);
  }
  if (edit.sections.size || accepted !== undefined) edits.set(id, edit);
  else edits.delete(id);
  return true;
}

function save() {
  const ids = rows.map((row) => row.id).filter((id) => edits.has(id));
  const text = `${JSON.stringify(Object.fromEntries(ids.map((id) => [id, plain(id)])), null, 1)}\n`;
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = element("a", { href: url, download: "corrections.json" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  isSaved = true;
  say(`Saved ${plural(ids.length, "changed row")} as corrections.json.`);
}

async function load(file) {
  const found = parsed(await file.text());
  if (!isObject(found)) {
    say(`${file.name} is not a file of corrections; expected {"id": {"sections": {…}, "accepted": true}}.`);
    return;
  }
  const ids = Object.keys(found);
  const taken = ids.filter((id) => take(id, found[id]));
  taken.forEach(keep);
  const others = ids.length - taken.length;
  say(
    `Loaded ${plural(taken.length, "correction")} from ${file.name}` +
      (others ? `; ${others} left out, of rows that are not here or in another form.` : ".")
  );
  showAll();
}

function discard() {
  if (!confirm(`Discard the changes of ${plural(edits.size, "row")}? This cannot be undone.`)) return;
  const ids = [...edits.keys()];
  edits.clear();
  ids.forEach(keep);
  say(`Discarded the changes of ${plural(ids.length, "row")}.`);
  showAll();
}

let isSaved = false;
window.addEventListener("beforeunload", (event) => {
  if (!isKept && edits.size && !isSaved) event.preventDefault();
});
// Another tab with this page
window.addEventListener("storage", (event) => {
  if (event.key === null || !event.key.startsWith(PREFIX)) return;
  const id = event.key.slice(PREFIX.length);
  if (event.newValue === null) edits.delete(id);
  else take(id, parsed(event.newValue));
  if (numbers.get(id) === current) showRow();
  showCounts();
});

// The list: only the rows that are visible have elements.
let shown = rows.map((_, number) => number);
let current = 0;
const haystacks = new Map();

function haystack(number) {
  if (!haystacks.has(number)) {
    const row = rows[number];
    const texts = [row.id, row.caption, row.cot, ...Object.values(row.sections), ...row.warnings];
    texts.push(...Object.values(row.gates).filter((reason) => reason !== null));
    haystacks.set(number, texts.join("\n").toLowerCase());
  }
  const edit = edits.get(rows[number].id);
  return edit ? `${haystacks.get(number)}\n${[...edit.sections.values()].join("\n").toLowerCase()}` : haystacks.get(number);
}

const VERDICTS = {
  all: ["all verdicts", () => true],
  accepted: ["accepted", isAccepted],
  rejected: ["rejected", (row) => !isAccepted(row)],
  changed: ["changed here", (row) => edits.has(row.id)],
  corrected: ["corrected before", (row) => row.corrected],
};

function gateFilters() {
  const found = { all: ["all gates", () => true] };
  for (const name of new Set(rows.flatMap((row) => [...Object.keys(row.gates), ...Object.keys(row.skipped)]))) {
    found[`rejected ${name}`] = [`rejected by ${name}`, (row) => has(row.gates, name) && row.gates[name] !== null];
    found[`passed ${name}`] = [`passed ${name}`, (row) => has(row.gates, name) && row.gates[name] === null];
    found[`skipped ${name}`] = [`${name} not applicable`, (row) => has(row.skipped, name)];
  }
  return new Map(Object.entries(found));
}

const BY_GATE = gateFilters();
const BY_VERDICT = new Map(Object.entries(VERDICTS));

function fillFilter(select, filters) {
  const before = select.value;
  const options = [];
  for (const [key, [label, test]] of filters) {
    const count = rows.reduce((sum, row) => sum + test(row), 0);
    if (count || key === "all") options.push(element("option", { value: key }, `${label} (${count})`));
  }
  select.replaceChildren(...options);
  select.value = options.some((option) => option.value === before) ? before : "all";
}

function filter() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const verdict = BY_VERDICT.get($("by-verdict").value)[1];
  const gate = BY_GATE.get($("by-gate").value)[1];
  shown = [];
  rows.forEach((row, number) => {
    if (verdict(row) && gate(row) && words.every((word) => haystack(number).includes(word))) shown.push(number);
  });
  $("list").scrollTop = 0;
  if (shown.length && !shown.includes(current)) open(shown[0]);
  else showList();
}

function stateOf(row) {
  const edit = edits.get(row.id);
  const verdict = isAccepted(row) ? "accepted" : "rejected";
  if (edit && edit.accepted !== undefined) return `${verdict} by you${edit.sections.size ? ", edited" : ""}`;
  return `${verdict}${edit ? ", edited" : ""}`;
}

function failedGates(row) {
  return Object.keys(row.gates).filter((name) => row.gates[name] !== null);
}

const isLow = (row, name) => has(data.minimums, name) && row.scores[name] < data.minimums[name];

function item(place) {
  const row = rows[shown[place]];
  const failed = [...failedGates(row), ...Object.keys(row.scores).filter((name) => isLow(row, name))];
  const semantic = textOf(row, data.sections[0] || "");
  const button = element(
    "button",
    { type: "button", className: isAccepted(row) ? "is-accepted" : "is-rejected", onclick: (event) => choose(event, place) },
    element("span", { className: "mark", "aria-hidden": "true" }, isAccepted(row) ? "✓" : "✗"),
    element("span", { className: "id" }, row.id),
    element("span", { className: "state" }, edits.has(row.id) ? `${stateOf(row)} · ` : "", failed.length ? failed.join(", ") : semantic)
  );
  button.setAttribute("aria-label", `${row.id}, ${stateOf(row)}${failed.length ? `, rejected by ${failed.join(", ")}` : ""}`);
  if (shown[place] === current) button.setAttribute("aria-current", "true");
  const made = element("li", { "aria-posinset": place + 1, "aria-setsize": shown.length }, button);
  made.style.top = `${place * ROW_HEIGHT}px`;
  return made;
}

function choose(event, place) {
  if (event.detail) event.currentTarget.blur(); // a mouse: keys go to the row, not to the button again
  toggleList(false);
  open(shown[place]);
}

function showList() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + SPARE_ROWS);
  const made = [];
  for (let place = first; place < last; place++) made.push(item(place));
  $("items").style.height = `${shown.length * ROW_HEIGHT}px`;
  $("items").replaceChildren(...made);
  const place = shown.indexOf(current);
  $("found").textContent = shown.length
    ? `${place + 1 || "–"} of ${plural(shown.length, "row")}`
    : "No row matches the filters.";
  $("previous").disabled = place === 0 || !shown.length;
  $("next").disabled = place === shown.length - 1 || !shown.length;
}

function showCounts() {
  const accepted = rows.reduce((sum, row) => sum + isAccepted(row), 0);
  $("counts").textContent = `${plural(rows.length, "row")}, ${accepted} accepted, ${rows.length - accepted} rejected`;
  $("save").textContent = edits.size ? `Save ${plural(edits.size, "changed row")}` : "Save";
  $("save").disabled = $("discard").disabled = !edits.size;
  isSaved = false;
  fillFilter($("by-verdict"), BY_VERDICT);
  showList();
}

function showAll() {
  showCounts();
  showRow();
}

function step(by) {
  const place = shown.indexOf(current);
  const next = Math.min(Math.max(place + by, 0), shown.length - 1);
  if (shown.length && next !== place) open(shown[next]);
}

function open(number) {
  pause();
  current = number;
  const list = $("list");
  const top = shown.indexOf(number) * ROW_HEIGHT;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_HEIGHT - list.clientHeight;
  history.replaceState(null, "", `#${encodeURIComponent(rows[number].id)}`);
  showList();
  showRow();
  loadMedia();
}

function toggleList(visible) {
  document.body.classList.toggle("shows-list", visible);
  $("show-list").setAttribute("aria-expanded", String(visible));
  if (visible) showList();
}

// One row
function showRow() {
  const row = rows[current];
  $("name").textContent = row.id;
  showVerdict();
  $("gates").replaceChildren(...gateItems(row));
  const scores = [];
  for (const [name, score] of Object.entries(row.scores)) {
    const low = isLow(row, name);
    const text = `${Number(score.toPrecision(4))}${low ? `, below the threshold of ${data.minimums[name]}` : ""}`;
    scores.push(element("dt", {}, name), element("dd", { className: low ? "low" : "" }, text));
  }
  for (const [name, why] of Object.entries(row.unscored)) {
    scores.push(element("dt", {}, name), element("dd", { className: "note" }, `not scored: ${why}`));
  }
  show("scores", scores);
  $("sections").replaceChildren(...data.sections.map((name) => editor(row, name)));
  $("sections").querySelectorAll("textarea").forEach(fit);
  show("warnings", row.warnings.map((warning) => element("li", {}, warning)));
  show("caption", row.caption ? [row.caption] : []);
  show("cot", row.cot ? [row.cot] : []);
  $("cot-origin").textContent = has(row.origins, "cot") ? row.origins.cot.join(" · ") : "";
  drawTimeline();
}

function show(id, children) {
  $(id).replaceChildren(...children);
  $(`${id}-part`).hidden = !children.length;
}

function gateItems(row) {
  const failed = failedGates(row);
  const names = [...new Set([...failed, ...Object.keys(row.gates), ...Object.keys(row.skipped)])];
  if (!names.length) return [element("li", {}, "no gates")];
  return names.map((name) => {
    const [mark, kind, word, why] = !has(row.gates, name)
      ? ["–", "skipped", "not applicable", row.skipped[name]]
      : row.gates[name] === null
        ? ["✓", "passed", "passed", ""]
        : ["✗", "failed", "rejected", row.gates[name]];
    return element(
      "li",
      { className: kind },
      element("span", { className: "mark", "aria-hidden": "true" }, mark),
      element("strong", {}, name),
      ` ${word}${why ? ": " : ""}`,
      why
    );
  });
}

function showVerdict() {
  const row = rows[current];
  const edit = edits.get(row.id);
  const decision = edit ? edit.accepted : undefined;
  $("accept").setAttribute("aria-pressed", String(decision === true));
  $("reject").setAttribute("aria-pressed", String(decision === false));
  $("verdict").textContent = `${stateOf(row)}${row.corrected ? ", corrected before" : ""}`;
  $("verdict").className = isAccepted(row) ? "is-accepted" : "is-rejected";
}

function decide(accepted) {
  const row = rows[current];
  change(row, (edit) => {
    edit.accepted = edit.accepted === accepted ? undefined : accepted;
  });
  showVerdict();
}

function editor(row, name) {
  const id = `section-${name}`;
  const area = element("textarea", { id, value: textOf(row, name), rows: 2, spellcheck: true, lang: "en" });
  const note = element("span", { className: "edited" });
  const restore = element("button", { type: "button", className: "small" }, "Restore");
  const origin = element("p", { className: "note" });
  const update = () => {
    const edited = edits.has(row.id) && edits.get(row.id).sections.has(name);
    const count = area.value.split(/\s+/).filter(Boolean).length;
    note.textContent = `${edited ? "edited, " : ""}${plural(count, "word")}`;
    restore.hidden = !edited;
    const said = has(row.origins, name) ? row.origins[name].join(" · ") : "";
    origin.textContent = said && edited ? `${said}, then you` : said;
  };
  area.addEventListener("input", () => {
    setText(row, name, area.value);
    fit(area);
    update();
    showVerdict();
    showTimelineNote();
  });
  restore.addEventListener("click", () => {
    area.value = original(row, name);
    area.dispatchEvent(new Event("input"));
    area.focus();
  });
  update();
  return element(
    "div",
    { className: "section" },
    element("div", { className: "section-head" }, element("label", { htmlFor: id }, capital(name)), note, restore),
    area,
    origin
  );
}

function fit(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

// Playback: the video, or a separate audio file along with it; a clip may be a piece of its files.
const video = $("video");
const audio = $("audio");
let leader = video;

function duration() {
  const row = rows[current];
  if (row.duration_s > 0) return row.duration_s;
  return Number.isFinite(leader.duration) ? Math.max(leader.duration - row.start_s, 0.1) : 1;
}

function loadMedia() {
  const { files, start_s } = rows[current];
  $("problem").hidden = true;
  $("problem").textContent = "";
  for (const [player, file] of [[video, files.video], [audio, files.audio]]) {
    player.hidden = player === audio || !file;
    const url = file ? file.url : "";
    if (player.getAttribute("src") === url) player.currentTime = start_s;
    else if (url) player.src = url;
    else {
      player.removeAttribute("src");
      player.load();
    }
  }
  leader = files.video || !files.audio ? video : audio;
  video.muted = Boolean(files.audio);
  $("play").disabled = !files.video && !files.audio;
  if ($("play").disabled) problem("The row names no video and no audio.");
  showTime();
}

function problem(text) {
  const shownBefore = $("problem").textContent;
  $("problem").textContent = shownBefore && !shownBefore.includes(text) ? `${shownBefore} ${text}` : text;
  $("problem").hidden = false;
}

for (const player of [video, audio]) {
  player.addEventListener("loadedmetadata", () => {
    player.currentTime = rows[current].start_s;
    if (player === leader) drawTimeline();
  });
  player.addEventListener("error", () => {
    if (!player.getAttribute("src")) return;
    const file = rows[current].files[player === video ? "video" : "audio"];
    problem(`The browser cannot play ${file.name}; the file is missing or of another format.`);
    if (player === leader) pause();
  });
}
leader.addEventListener("seeked", showTime);
audio.addEventListener("seeked", showTime);

const time = () => Math.min(Math.max(leader.currentTime - rows[current].start_s, 0), duration());

function seek(seconds) {
  const target = rows[current].start_s + Math.min(Math.max(seconds, 0), duration());
  video.currentTime = target;
  if (audio.getAttribute("src")) audio.currentTime = target;
  showTime(seconds);
}

async function play() {
  if (time() >= duration() - 0.03) seek(0);
  leader.playbackRate = audio.playbackRate = Number($("speed").value);
  try {
    const both = leader === video && audio.getAttribute("src");
    if (both) audio.currentTime = video.currentTime;
    await Promise.all([leader.play(), both ? audio.play() : undefined]);
    requestAnimationFrame(follow);
  } catch (error) {
    if (error.name !== "AbortError") pause(); // the error of the player says why
  }
  showPlaying();
}

function pause() {
  video.pause();
  audio.pause();
  showPlaying();
}

const isPlaying = () => !leader.paused && !leader.ended;

function showPlaying() {
  $("play").textContent = isPlaying() ? "Pause" : "Play";
}

const toggle = () => (isPlaying() ? pause() : play());

function follow() {
  if (!isPlaying()) {
    if (leader.ended) audio.pause();
    if (leader.ended && $("loop").checked) {
      seek(0);
      play();
    }
    showTime();
    showPlaying();
    return;
  }
  if (leader.currentTime - rows[current].start_s >= duration()) {
    if ($("loop").checked) seek(0);
    else {
      pause();
      seek(duration());
      return;
    }
  }
  const both = leader === video && !audio.paused;
  if (both && Math.abs(audio.currentTime - video.currentTime) > 0.06) audio.currentTime = video.currentTime;
  showTime();
  requestAnimationFrame(follow);
}

// The time line: the sound with its detected onsets, and a lane of events for each source of the plan.
function drawTimeline() {
  const row = rows[current];
  const length = duration();
  const ruler = element("div", { className: "track ruler", role: "slider", tabIndex: 0 });
  ruler.setAttribute("aria-label", "Position");
  ruler.setAttribute("aria-valuemin", "0");
  ruler.setAttribute("aria-valuemax", length.toFixed(2));
  for (const tick of ticks(length)) {
    const className = tick > 0.95 * length ? "tick last" : "tick";
    ruler.append(at(element("span", { className }, `${Number(tick.toFixed(2))}`), tick, length));
  }
  const sound = element("div", { className: "track sound" });
  if (row.sound.levels) sound.append(levels(row.sound.levels));
  for (const onset of row.sound.onsets_s || []) {
    const mark = element("button", { type: "button", className: "onset", tabIndex: -1, title: `onset detected at ${shownTime(onset)}` });
    mark.setAttribute("aria-label", mark.title);
    sound.append(at(jumping(mark, onset), onset, length));
  }
  const lanes = [lane("s", ruler), lane("sound", sound)];
  for (const source of row.sources) lanes.push(lane(source.what, sourceTrack(source, length), shownSide(source)));
  const head = element("div", { id: "playhead", "aria-hidden": "true" });
  const overlay = element("div", { className: "overlay" }, head);
  $("timeline").replaceChildren(...lanes, overlay);
  showTimelineNote();
  showTime();
}

function lane(name, track, side = "") {
  const label = element("span", { className: "lane-name", title: side ? `${name}, ${side}` : name }, name);
  if (side) label.append(element("span", { className: "side" }, side));
  return element("div", { className: "lane" }, label, track);
}

function at(made, seconds, length) {
  made.style.left = `${(100 * Math.min(Math.max(seconds / length, 0), 1)).toFixed(3)}%`;
  return made;
}

function jumping(button, seconds) {
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur();
    seek(seconds);
  });
  return button;
}

function ticks(length) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
  const every = steps.find((one) => length / one <= 8) || length / 8;
  return Array.from({ length: Math.floor(length / every + 1e-6) + 1 }, (_, index) => index * every);
}

function sourceTrack(source, length) {
  const track = element("div", { className: "track" });
  const side = shownSide(source);
  source.onsets_s.forEach((onset, index) => {
    const isLast = index === source.onsets_s.length - 1;
    const label = `${source.what} at ${shownTime(onset)}${isLast && source.end_s !== null ? ` until ${shownTime(source.end_s)}` : ""}${side ? `, ${side}` : ""}`;
    const event = element("button", { type: "button", className: onset > length ? "event late" : "event", title: label });
    event.setAttribute("aria-label", label);
    if (isLast && source.end_s !== null) {
      const bar = element("span", { className: "bar", "aria-hidden": "true" });
      bar.style.width = `${(100 * Math.max(Math.min(source.end_s, length) - onset, 0)) / length}%`;
      track.append(at(bar, onset, length));
    }
    track.append(at(jumping(event, onset), onset, length));
  });
  return track;
}

function levels(channels) {
  const size = channels[0].length;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 -1 ${size} 2`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  channels.forEach((digits, channel) => {
    const sign = channel === 0 ? -1 : 1;
    const heights = [...digits].map((digit) => (sign * data.digits.indexOf(digit)) / (data.digits.length - 1));
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", `M0 0${heights.map((height, index) => `L${index} ${height.toFixed(3)}H${index + 1}`).join("")}L${size} 0Z`);
    svg.append(path);
  });
  return svg;
}

function showTimelineNote() {
  const row = rows[current];
  const notes = [];
  if (row.sound.problem) notes.push(`No sound is drawn: ${row.sound.problem}.`);
  else notes.push("Sound: left channel above, right below; lines are detected onsets.");
  const late = row.sources.some((source) => source.onsets_s.some((onset) => onset > duration()));
  if (late) notes.push("An event of the plan lies after the end of the clip.");
  notes.push(isEdited(row) ? "The events are those of the text before your edits." : "Other lanes are events of the sections.");
  $("timeline-note").textContent = notes.join(" ");
}

function showTime(seconds) {
  const now = typeof seconds === "number" ? Math.min(Math.max(seconds, 0), duration()) : time();
  $("clock").textContent = `${now.toFixed(2)} / ${duration().toFixed(2)} s`;
  const head = $("playhead");
  if (!head) return;
  at(head, now, duration());
  const ruler = $("timeline").querySelector(".ruler");
  ruler.setAttribute("aria-valuenow", now.toFixed(2));
  ruler.setAttribute("aria-valuetext", shownTime(now));
}

let isDragging = false;
function seekTo(event) {
  const box = $("timeline").querySelector(".ruler").getBoundingClientRect();
  seek(((event.clientX - box.left) / box.width) * duration());
}
$("timeline").addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || event.target.closest("button") || !event.target.closest(".track")) return;
  isDragging = true;
  $("timeline").setPointerCapture(event.pointerId);
  seekTo(event);
});
$("timeline").addEventListener("pointermove", (event) => {
  if (isDragging) seekTo(event);
});
for (const name of ["pointerup", "pointercancel"]) {
  $("timeline").addEventListener(name, () => {
    isDragging = false;
  });
}

// Controls and keys
function onClick(id, act) {
  $(id).addEventListener("click", (event) => {
    if (event.detail) event.currentTarget.blur();
    act();
  });
}

onClick("save", save);
onClick("load", () => $("file").click());
onClick("discard", discard);
onClick("previous", () => step(-1));
onClick("next", () => step(1));
onClick("accept", () => decide(true));
onClick("reject", () => decide(false));
onClick("play", toggle);
onClick("show-list", () => toggleList(!document.body.classList.contains("shows-list")));
onClick("show-help", () => $("help").showModal());
video.addEventListener("click", toggle);
$("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file) await load(file);
  event.target.value = "";
});
$("speed").addEventListener("change", (event) => {
  video.playbackRate = audio.playbackRate = Number(event.target.value);
  event.target.blur();
});
$("list").addEventListener("scroll", showList, { passive: true });
window.addEventListener("resize", () => {
  showList();
  $("sections").querySelectorAll("textarea").forEach(fit);
});
let searching;
$("search").addEventListener("input", () => {
  clearTimeout(searching);
  searching = setTimeout(filter, 150);
});
for (const id of ["by-verdict", "by-gate"]) $(id).addEventListener("change", filter);

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  ArrowLeft: (event) => seek(time() - (event.shiftKey ? 1 : 0.1)),
  ArrowRight: (event) => seek(time() + (event.shiftKey ? 1 : 0.1)),
  " ": toggle,
  a: () => decide(true),
  r: () => decide(false),
  e: () => $("sections").querySelector("textarea").focus(),
  "/": () => {
    toggleList(true);
    $("search").focus();
  },
  "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("help").open) return;
  const target = event.target;
  if (target.matches("textarea, input[type=search]")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (target.matches("select") || (target.matches("button, summary, input") && [" ", "Enter"].includes(event.key))) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (has(KEYS, key)) {
    event.preventDefault();
    KEYS[key](event);
  } else if (key === "Escape") toggleList(false);
});

// Start
$("title").textContent = data.title;
recall();
fillFilter($("by-gate"), BY_GATE);
showCounts();
const wanted = numbers.get(parsedHash());
open(wanted === undefined ? 0 : wanted);

function parsedHash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}
