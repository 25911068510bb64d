const KEY = `prismaudio-listen-${data.test}`;
const WORDS = ["Bad", "Poor", "Fair", "Good", "Excellent"];
const ASKED = {
  quality: ["How good is the sound?", "By itself, whatever is seen: clear and natural, or noisy and artificial?"],
  consistency: ["How well does the sound fit the video?", "The right things, at the right time, from the right side."],
};
const PAIR = "Which one has the better sound for this video?";
const CHOICES = [["left", "A"], ["none", "No difference"], ["right", "B"]];
const SECONDS = 22; // a trial of a clip of nine seconds

// State: who listens, which form, where, and the answers by number of the trial. It is kept after each change.
let state = load();
let heard = new Set();
let audio = null;

function load() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    if (found && has(data.forms, found.form) && typeof found.rater === "string") return found;
  } catch {
    // nothing was kept, or the browser keeps nothing
  }
  return null;
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    $("hint").textContent = "This browser does not keep answers: do not close the page before you have saved them.";
  }
}

const trials = () => data.forms[state.form];
const url = (name) => `media/${name}.mp4`;

function show(id) {
  for (const name of ["start", "trial", "end"]) $(name).hidden = name !== id;
  $("progress").hidden = id === "start";
  window.scrollTo(0, 0);
}

function minutes(form) {
  return Math.max(1, Math.round((form.reduce((sum, trial) => sum + (trial.stimulus ? 1 : 1.6), 0) * SECONDS) / 60));
}

// The start ----------------------------------------------------------------------------------------------------------
function chosenForm() {
  const given = new URLSearchParams(location.search).get("form");
  const number = given === null ? Number.NaN : Number(given) - 1;
  if (Number.isInteger(number) && has(data.forms, number)) return number;
  return crypto.getRandomValues(new Uint32Array(1))[0] % data.forms.length;
}

function start() {
  show("start");
  const form = data.forms[0];
  $("amount").textContent =
    `You will judge ${plural(form.length, "clip")}, or pairs of them, which takes about ${plural(minutes(form), "minute")}. ` +
    "You are not told where a sound is from. There are no right answers: say what you hear.";
  $("rater").value = new URLSearchParams(location.search).get("rater") || "";
}

function begin() {
  const given = $("rater").value.trim();
  const anonymous = [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  state = { rater: given || `listener-${anonymous}`, form: chosenForm(), at: 0, answers: {}, began: new Date().toISOString() };
  keep();
  showTrial();
}

function beep(side) {
  audio ||= new AudioContext();
  const [tone, gain, pan] = [audio.createOscillator(), audio.createGain(), audio.createStereoPanner()];
  pan.pan.value = side;
  tone.frequency.value = 440;
  const now = audio.currentTime;
  gain.gain.setValueAtTime(0, now);
  gain.gain.linearRampToValueAtTime(0.2, now + 0.05);
  gain.gain.setValueAtTime(0.2, now + 0.7);
  gain.gain.linearRampToValueAtTime(0, now + 0.8);
  tone.connect(gain).connect(pan).connect(audio.destination);
  tone.start(now);
  tone.stop(now + 0.8);
}

// Trials -------------------------------------------------------------------------------------------------------------
function showTrial() {
  const number = state.at;
  if (number >= trials().length) {
    showEnd();
    return;
  }
  const trial = trials()[number];
  const answer = state.answers[number];
  show("trial");
  $("where").textContent = `Trial ${number + 1} of ${trials().length}`;
  $("progress").value = number / trials().length;
  $("question").textContent = trial.stimulus ? "Listen, then judge" : PAIR;
  $("back").disabled = number === 0;
  const names = trial.stimulus ? [trial.stimulus] : [trial.left, trial.right];
  heard = new Set(answer ? names : []);
  const players = names.map((name, index) => player(name, names.length === 1 ? "" : "AB"[index], names));
  $("players").replaceChildren(...players);
  $("answers").replaceChildren(...(trial.stimulus ? data.questions.map((question) => rating(question, answer)) : [choice(answer)]));
  check();
}

function player(name, title, names) {
  const video = element("video", { src: url(name), controls: true, playsInline: true, preload: "auto" });
  const status = element("p", { className: "note" });
  const tell = () => {
    status.textContent = heard.has(name) ? "✓ heard to its end" : "";
    status.className = "heard";
  };
  video.addEventListener("play", () => {
    for (const other of $("players").querySelectorAll("video")) if (other !== video) other.pause();
  });
  // only what was played counts, not where somebody jumped to
  const isWhole = () => {
    let seconds = 0;
    for (let i = 0; i < video.played.length; i += 1) seconds += video.played.end(i) - video.played.start(i);
    return seconds >= 0.9 * video.duration;
  };
  video.addEventListener("ended", () => {
    if (isWhole()) heard.add(name);
    tell();
    check();
  });
  video.addEventListener("error", () => {
    status.textContent = "This clip cannot be played. Its file may be missing beside the page; go on without it.";
    status.className = "problem";
    for (const one of names) heard.add(one);
    $("trial").dataset.broken = String(state.at);
    check();
  });
  tell();
  return element("div", { className: "player" }, ...(title ? [element("p", { className: "name" }, title)] : []), video, status);
}

function scale(name, options, chosen, onChange) {
  return options.map(([value, label, word]) => {
    const input = element("input", { type: "radio", name, value: String(value), checked: value === chosen });
    input.addEventListener("change", () => onChange(value));
    return element("label", {}, input, element("span", { className: "number" }, label),
      ...(word ? [element("span", { className: "word" }, word)] : []));
  });
}

function rating(question, answer) {
  const [title, help] = ASKED[question];
  const options = WORDS.map((word, index) => [index + 1, String(index + 1), word]);
  const group = element("div", { className: "scale" }, ...scale(question, options, answer ? answer[question] : null, (value) => {
    set({ ...state.answers[state.at], stimulus: trials()[state.at].stimulus, [question]: value });
  }));
  return element("fieldset", { disabled: true }, element("legend", {}, title), element("p", { className: "note" }, help), group);
}

function choice(answer) {
  const group = element("div", { className: "scale of-3" }, ...scale("choice", CHOICES, answer ? answer.choice : null, (value) => {
    const { left, right } = trials()[state.at];
    set({ left, right, choice: value });
  }));
  return element("fieldset", { disabled: true }, element("legend", {}, "Your choice"), group);
}

function set(answer) {
  state.answers[state.at] = answer;
  keep();
  check();
}

function isAnswered(number) {
  const answer = state.answers[number];
  if (!answer) return false;
  return has(answer, "choice") || data.questions.every((question) => has(answer, question));
}

function check() {
  const trial = trials()[state.at];
  const names = trial.stimulus ? [trial.stimulus] : [trial.left, trial.right];
  const isHeard = names.every((name) => heard.has(name));
  const isBroken = $("trial").dataset.broken === String(state.at);
  for (const group of $("answers").querySelectorAll("fieldset")) group.disabled = !isHeard || isBroken;
  $("next").disabled = !(isBroken || (isHeard && isAnswered(state.at)));
  $("hint").textContent = isBroken ? "" : isHeard ? "" : names.length > 1 ? "Listen to A and B first." : "Listen to the clip first.";
}

function go(step) {
  for (const video of $("players").querySelectorAll("video")) video.pause();
  state.at = Math.min(Math.max(0, state.at + step), trials().length);
  keep();
  showTrial();
}

// The end ------------------------------------------------------------------------------------------------------------
function showEnd() {
  show("end");
  const number = trials().filter((_, index) => isAnswered(index)).length;
  $("where").textContent = "";
  $("progress").value = 1;
  $("result").textContent =
    `You answered ${number} of ${plural(trials().length, "trial")}. Save the answers and send the file to whoever gave you this page.`;
  if (data.post) send();
}

function answers() {
  return {
    kind: "listening test answers",
    format: data.format,
    test: data.test,
    rater: state.rater,
    form: state.form,
    began: state.began,
    saved: new Date().toISOString(),
    answers: Object.keys(state.answers).map(Number).filter(isAnswered).sort((a, b) => a - b).map((index) => state.answers[index]),
  };
}

function save() {
  const blob = new Blob([JSON.stringify(answers(), null, 1)], { type: "application/json" });
  const name = state.rater.replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 60);
  const link = element("a", { href: URL.createObjectURL(blob), download: `answers-${data.test}-${name}.json` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function send() {
  $("sent").textContent = "Sending…";
  try {
    const reply = await fetch(data.post, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(answers()),
    });
    if (!reply.ok) throw new Error(String(reply.status));
    $("sent").textContent = "The answers were sent. You can close the page.";
  } catch (error) {
    $("sent").textContent = `The answers could not be sent (${error.message}). Please save them and send the file.`;
  }
}

// Keys and buttons ---------------------------------------------------------------------------------------------------
function onKey(event) {
  if ($("trial").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const videos = [...$("players").querySelectorAll("video")];
  if (event.key === " ") {
    event.preventDefault();
    const playing = videos.find((video) => !video.paused);
    const names = videos.map((video) => video.getAttribute("src"));
    const next = videos.find((_, index) => !heard.has(names[index].slice(6, -4))) || videos[0];
    if (playing) playing.pause();
    else next.play();
  } else if (event.key === "Enter" && !$("next").disabled && event.target.tagName !== "BUTTON") {
    go(1);
  } else if (/^[1-5]$/.test(event.key)) {
    const groups = [...$("answers").querySelectorAll("fieldset:enabled")];
    const open = groups.find((group) => group.contains(document.activeElement)) || groups.find((group) => !group.querySelector("input:checked")) || groups[0];
    const inputs = open ? open.querySelectorAll("input") : [];
    const input = inputs[Number(event.key) - 1];
    if (input) {
      input.checked = true;
      input.dispatchEvent(new Event("change"));
      document.activeElement.blur();
    }
  }
}

$("title").textContent = data.title;
$("test-left").addEventListener("click", () => beep(-1));
$("test-right").addEventListener("click", () => beep(1));
$("begin").addEventListener("click", begin);
$("rater").addEventListener("keydown", (event) => {
  if (event.key === "Enter") begin();
});
$("back").addEventListener("click", () => go(-1));
$("next").addEventListener("click", () => go(1));
$("review").addEventListener("click", () => go(-1));
$("save").addEventListener("click", save);
$("anew").addEventListener("click", () => {
  if (!confirm("Begin anew as another listener? Answers that were not saved are lost.")) return;
  localStorage.removeItem(KEY);
  state = null;
  start();
});
document.addEventListener("keydown", onKey);

if (state) showTrial();
else start();
